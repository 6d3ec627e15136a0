"""Who may call what, before and after: every call tried for every caller on both sides, alike ones once.

Agrees with trying each of them by itself (tests/property/test_diff.py). What is the same on both sides is not tried.
"""

from collections.abc import Callable, Hashable, Iterator
from enum import StrEnum
from typing import NamedTuple

from tidegate_dataplane.engine import denials
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.lists import ListKey
from tidegate_dataplane.runtime.objects import Route
from tidegate_operator.difference.likeness import (
    NO_PROFILE,
    NOBODY_KEY,
    Caller,
    RouteLikeness,
    call_likeness,
    callers_of,
    likeness,
    route_likeness,
    subscribed,
)
from tidegate_operator.difference.outcome import WITHOUT_CREDENTIAL, Outcome, outcome
from tidegate_operator.difference.profile import Profile
from tidegate_operator.difference.sides import Sides
from tidegate_operator.difference.slots import Slot, slots

ABSENT = Outcome(0, "absent")
"""What becomes of the calls of a consumer that is not there."""

Progress = Callable[[int, int], None]
_STEP = 64


class Kind(StrEnum):
    """How the calls of a caller fare otherwise."""

    GAINS = "Gains"
    LOSES = "Loses"
    METHODS = "Methods"
    LIMITS = "Limits"
    TARGETS = "Targets"
    SHADOW = "Shadow"
    REFUSED_OTHERWISE = "RefusedOtherwise"


class Change(NamedTuple):
    """What changes for some callers (keys of consumers; "" is nobody in particular) on one slot.

    `old` and `new` are the keys of the routes that take the calls, "" for none.
    """

    kind: Kind
    slot: Slot
    old: str
    new: str
    before: Outcome
    after: Outcome
    callers: tuple[str, ...]


class Move(NamedTuple):
    """Calls that another route takes."""

    slot: Slot
    old: str
    new: str


class Found(NamedTuple):
    """All that differs; `tried` counts the slots."""

    changes: tuple[Change, ...]
    moves: tuple[Move, ...]
    tried: int


def access_changes(sides: Sides, *, now: float, address: str | None = None, progress: Progress | None = None) -> Found:
    """Try all calls of either side at that time; `address` None: from wherever a route lets in calls."""
    return _Comparison(sides, now, address).run(progress)


def kinds_of(before: Outcome, after: Outcome) -> Iterator[Kind]:
    """In which ways two outcomes differ. That a consumer comes or goes is no change of a refusal."""
    if before == after:
        return
    if before.allowed != after.allowed:
        yield Kind.GAINS if after.allowed else Kind.LOSES
    elif not before.allowed:
        if not _of_caller(before) and not _of_caller(after):
            yield Kind.REFUSED_OTHERWISE
    else:
        for kind, one, other in (
            (Kind.METHODS, before.methods, after.methods),
            (Kind.LIMITS, before.limits, after.limits),
            (Kind.TARGETS, before.targets, after.targets),
            (Kind.SHADOW, before.shadow, after.shadow),
        ):
            if one != other:
                yield kind


def _of_caller(one: Outcome) -> bool:
    """Whether it is refused for what it is: that is said once of the consumer, and not of every route."""
    return one in (ABSENT, WITHOUT_CREDENTIAL) or one.code == denials.SUSPENDED.code


class _Side:
    """One side: its callers, and what is known of its routes."""

    def __init__(self, number: int, runtime: Runtime, callers: dict[str, Caller]) -> None:
        self.number = number
        self.runtime = runtime
        self.callers = callers
        self._likenesses: dict[str, RouteLikeness] = {}

    def likeness(self, route: Route | None) -> RouteLikeness:
        if route is None:
            return _NO_ROUTE
        known = self._likenesses.get(route.key)
        if known is None:
            known = self._likenesses[route.key] = route_likeness(route)
        return known


class _Row(NamedTuple):
    """A Change of any slot and route that are alike."""

    kind: Kind
    before: Outcome
    after: Outcome
    callers: tuple[str, ...]


_NO_ROUTE = RouteLikeness(NO_PROFILE, ())
_Pair = tuple[int | None, int | None]
_Groups = dict[_Pair, tuple[str, ...]]


class _Comparison:
    def __init__(self, sides: Sides, now: float, address: str | None) -> None:
        old, new = sides.old.runtime, sides.new.runtime
        self._now, self._address = now, address
        former = callers_of(old, now)
        self._old = _Side(0, old, former)
        self._new = _Side(1, new, callers_of(new, now, old, former))
        self._changed_lists = _changed_lists(old, new)
        self._numbers: dict[Hashable, int] = {}
        self._groups: dict[Hashable, _Groups] = {}
        self._outcomes: dict[Hashable, Outcome] = {}
        self._known_rows: dict[Hashable, tuple[_Row, ...]] = {}
        self._representatives: dict[tuple[int, int, Profile], Caller] = {}
        self._everybody = _by_namespace(former, self._new.callers, changed=False)
        self._changed = _by_namespace(former, self._new.callers, changed=True)

    def run(self, progress: Progress | None) -> Found:
        changes: list[Change] = []
        moves: list[Move] = []
        todo = list(slots(self._old.runtime, self._new.runtime))
        for number, slot in enumerate(todo):
            if progress is not None and number % _STEP == 0:
                progress(number, len(todo))
            old, new = slot.taken_by(self._old.runtime), slot.taken_by(self._new.runtime)
            if old is not None and new is not None and old.key != new.key:
                moves.append(Move(slot, old.key, new.key))
            changes += self._slot(slot, old, new)
        if progress is not None:
            progress(len(todo), len(todo))
        return Found(tuple(changes), tuple(moves), len(todo))

    def _slot(self, slot: Slot, old: Route | None, new: Route | None) -> Iterator[Change]:
        same = self._same(old, new)
        callers = self._changed if same else self._everybody
        if not callers:
            return
        for namespace in _visible(callers, old, new):
            for row in self._rows(slot, old, new, namespace, callers, same=same):
                yield Change(row.kind, slot, _name(old), _name(new), row.before, row.after, row.callers)

    def _rows(
        self,
        slot: Slot,
        old: Route | None,
        new: Route | None,
        namespace: str,
        callers: dict[str, tuple[str, ...]],
        *,
        same: bool,
    ) -> tuple[_Row, ...]:
        """What differs for the callers of a namespace: the same on slots and routes that are alike."""
        one, other = self._old.likeness(old), self._new.likeness(new)
        name = (
            *(self._number(alike.same) for alike in (one, other)),
            *(self._number(call_likeness(slot, alike.profile)) for alike in (one, other)),
            namespace,
            same,
        )
        known = self._known_rows.get(name)
        if known is None:
            groups = self._pairs(old, new, namespace, callers, same=same)
            known = self._known_rows[name] = self._compared(slot, old, new, groups, same=same)
        return known

    def _compared(
        self, slot: Slot, old: Route | None, new: Route | None, groups: _Groups, *, same: bool
    ) -> tuple[_Row, ...]:
        found: dict[tuple[Kind, Outcome, Outcome], list[str]] = {}
        for (one, other), keys in groups.items():
            if same and one == other:
                continue
            before = ABSENT if one is None else self._outcome(self._old, slot, old, one)
            after = ABSENT if other is None else self._outcome(self._new, slot, new, other)
            for kind in kinds_of(before, after):
                found.setdefault((kind, before, after), []).extend(keys)
        return tuple(_Row(*differing, tuple(sorted(keys))) for differing, keys in found.items())

    def _same(self, old: Route | None, new: Route | None) -> bool:
        """Whether nothing that the routes look at differs, but for the callers."""
        if old is not new:
            return False
        return old is None or self._changed_lists.isdisjoint(lists_of(old))

    def _pairs(
        self, old: Route | None, new: Route | None, namespace: str, callers: dict[str, tuple[str, ...]], *, same: bool
    ) -> _Groups:
        """The callers of a namespace, by what they are alike in before and after."""
        one, other = self._old.likeness(old).profile, self._new.likeness(new).profile
        asking = tuple(route for route in (old, new) if route is not None and route.subscriptions is not None)
        name = (self._number(one), self._number(other), namespace, same, *map(id, asking))
        known = self._groups.get(name)
        if known is None:
            found: dict[_Pair, list[str]] = {}
            for key in callers[namespace]:
                pair = self._like(self._old, key, old, one), self._like(self._new, key, new, other)
                found.setdefault(pair, []).append(key)
            known = self._groups[name] = {pair: tuple(keys) for pair, keys in found.items()}
        return known

    def _like(self, side: _Side, key: str, route: Route | None, profile: Profile) -> int | None:
        caller = side.callers.get(key)
        if caller is None:
            return None
        plan = () if route is None else subscribed(caller, route, self._now)
        number = self._number((likeness(caller, profile), plan))
        self._representatives.setdefault((side.number, number, profile), caller)
        return number

    def _outcome(self, side: _Side, slot: Slot, route: Route | None, like: int) -> Outcome:
        alike = side.likeness(route)
        name = (side.number, like, self._number(alike.same), self._number(call_likeness(slot, alike.profile)))
        known = self._outcomes.get(name)
        if known is None:
            caller = self._representatives[side.number, like, alike.profile]
            known = outcome(side.runtime, slot, caller.identities, self._now, self._address)
            self._outcomes[name] = known
        return known

    def _number(self, thing: Hashable) -> int:
        """Numbers are quicker to look up than what they stand for."""
        return self._numbers.setdefault(thing, len(self._numbers))


def _name(route: Route | None) -> str:
    return "" if route is None else route.key


def _visible(callers: dict[str, tuple[str, ...]], old: Route | None, new: Route | None) -> Iterator[str]:
    """The namespaces (and "" for nobody) that either route knows; to others both are as good as not there."""
    routes = [route for route in (old, new) if route is not None]
    if any(route.admits is None for route in routes):
        yield from callers
        return
    admitted = frozenset[str]().union(*(route.admits for route in routes if route.admits is not None))
    for namespace in sorted({*admitted, NOBODY_KEY}):
        if namespace in callers:
            yield namespace


def _by_namespace(old: dict[str, Caller], new: dict[str, Caller], *, changed: bool) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for key in sorted({*old, *new}):
        one, other = old.get(key), new.get(key)
        if not changed or one is not other:
            caller = one or other
            found.setdefault("" if caller is None else caller.namespace, []).append(key)
    return {namespace: tuple(keys) for namespace, keys in sorted(found.items())}


def _changed_lists(old: Runtime, new: Runtime) -> frozenset[ListKey]:
    if old.lists is new.lists:
        return frozenset()
    return frozenset(key for key in {*old.lists, *new.lists} if old.lists.get(key) is not new.lists.get(key))


def lists_of(route: Route) -> Iterator[ListKey]:
    """The lists that the policies of a route look into."""
    for guard in (route.guard, route.shadow):
        if guard is not None:
            for network in guard.networks:
                yield from network.lists
            for leaks in guard.leaks:
                yield from leaks.lists
            for risk in guard.risks:
                for signal in risk.signals:
                    yield from signal.lists
