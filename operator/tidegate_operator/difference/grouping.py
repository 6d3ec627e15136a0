"""Single findings joined to what a person reads: the same consumers, the same routes, the same words."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tidegate_dataplane.engine.limits import Limit
from tidegate_operator.difference.access import ABSENT, Change, Kind, Move
from tidegate_operator.difference.effect import AccessChange, LimitChange, RouteCalls, RouteMove
from tidegate_operator.difference.naming import Naming
from tidegate_operator.difference.outcome import Outcome
from tidegate_operator.difference.sides import Sides
from tidegate_operator.difference.slots import Slot

_ORDER = (Kind.LOSES, Kind.GAINS, Kind.REFUSED_OTHERWISE, Kind.METHODS, Kind.TARGETS, Kind.SHADOW)


class _Words(NamedTuple):
    kind: Kind
    before: str
    after: str


class _Calls:
    """Models, operations and hosts of one route, each once and in order."""

    def __init__(self) -> None:
        self.models: dict[str, None] = {}
        self.operations: dict[str, None] = {}
        self.hosts: dict[str, None] = {}

    def add(self, slot: Slot) -> None:
        self.models[slot.model] = None
        self.operations[slot.operation.value] = None
        self.hosts[slot.host] = None

    def calls(self, route: str, hosts: int) -> RouteCalls:
        shown = tuple(self.hosts) if len(self.hosts) < hosts else ()
        return RouteCalls(route, tuple(sorted(self.models)), tuple(self.operations), shown)


def access_groups(changes: Iterable[Change], sides: Sides, naming: Naming) -> tuple[AccessChange, ...]:
    """Losses first, the largest groups first among them."""
    callers = _Callers()
    grouped: dict[tuple[_Words, tuple[int, ...]], dict[str, _Calls]] = {}
    for (words, route, slot), found in _by_slot(changes).items():
        calls = grouped.setdefault((words, callers.name(found)), {}).setdefault(route, _Calls())
        calls.add(slot)
    rows = [
        AccessChange(
            kind=words.kind.value,
            consumers=naming.consumers(callers.keys(name)),
            calls=tuple(calls.calls(route, _hosts(route, sides)) for route, calls in sorted(routes.items())),
            before=words.before,
            after=words.after,
        )
        for (words, name), routes in grouped.items()
    ]
    order = {kind.value: at for at, kind in enumerate(_ORDER)}
    return tuple(sorted(rows, key=lambda row: (order[row.kind], -row.consumers.count, row.consumers.label)))


class _Callers:
    """Sets of callers, named by the identity of their parts: the parts are shared by many findings."""

    def __init__(self) -> None:
        self._parts: dict[int, tuple[str, ...]] = {}
        self._known: dict[tuple[str, ...], int] = {}

    def name(self, parts: Iterable[tuple[str, ...]]) -> tuple[int, ...]:
        return tuple(sorted({self._number(part) for part in parts}))

    def keys(self, name: tuple[int, ...]) -> list[str]:
        return [key for number in name for key in self._parts[number]]

    def _number(self, part: tuple[str, ...]) -> int:
        number = self._known.setdefault(part, len(self._known))
        self._parts[number] = part
        return number


def _by_slot(changes: Iterable[Change]) -> dict[tuple[_Words, str, Slot], list[tuple[str, ...]]]:
    found: dict[tuple[_Words, str, Slot], list[tuple[str, ...]]] = {}
    for change in changes:
        if change.kind is Kind.LIMITS:
            continue
        route = change.old if change.kind is Kind.LOSES else change.new or change.old
        found.setdefault((_words(change), route, change.slot), []).append(change.callers)
    return found


def _words(change: Change) -> _Words:
    before, after = change.before, change.after
    match change.kind:
        case Kind.LOSES:
            return _Words(change.kind, "allowed", _why(after, change.new, change.old))
        case Kind.GAINS:
            return _Words(change.kind, _why(before, change.old, change.new), "allowed")
        case Kind.METHODS:
            return _Words(change.kind, " or ".join(before.methods), " or ".join(after.methods))
        case Kind.TARGETS:
            return _Words(change.kind, _targets(before), _targets(after))
        case Kind.SHADOW:
            return _Words(change.kind, _shadow(before), _shadow(after))
    return _Words(change.kind, _why(before, change.old, change.new), _why(after, change.new, change.old))


def _why(one: Outcome, route: str, other: str) -> str:
    """Why a call is refused; `other` is the route that takes it on the other side."""
    if one == ABSENT:
        return "no such consumer"
    if not route and one.code not in ("consumer_suspended", "no_credential"):
        return f"{one.status}: no route takes these calls"
    where = f" on AIRoute {route}" if other and route != other else ""
    return f"{one}{where}"


def _targets(one: Outcome) -> str:
    return ", ".join(one.targets) if one.targets else "all targets"


def _shadow(one: Outcome) -> str:
    return ", ".join(one.shadow) if one.shadow else "no shadow rule would refuse"


def _hosts(route: str, sides: Sides) -> int:
    found = [side.runtime.routes.get(route) for side in (sides.old, sides.new)]
    return max((max(1, len(one.entry.hostnames)) for one in found if one is not None), default=1)


def limit_groups(changes: Iterable[Change], naming: Naming) -> tuple[LimitChange, ...]:
    """Which limits hold otherwise, for whom and where."""
    callers: dict[tuple[str, str, str, str], dict[tuple[str, ...], None]] = {}
    routes: dict[tuple[str, str, str, str], dict[str, None]] = {}
    for change in changes:
        if change.kind is Kind.LIMITS:
            for row in _limit_rows(change.before.limits, change.after.limits):
                callers.setdefault(row, {})[change.callers] = None
                routes.setdefault(row, {})[change.new] = None
    return tuple(
        LimitChange(*row, naming.consumers(key for part in callers[row] for key in part), tuple(sorted(routes[row])))
        for row in sorted(callers)
    )


def _limit_rows(old: tuple[Limit, ...], new: tuple[Limit, ...]) -> Iterator[tuple[str, str, str, str]]:
    before, after = _named(old), _named(new)
    for name in dict.fromkeys((*before, *after)):
        one, other = before.get(name), after.get(name)
        if one != other:
            yield name[0], name[1], "" if one is None else _text(one), "" if other is None else _text(other)


def _named(limits: tuple[Limit, ...]) -> dict[tuple[str, str, str, int], Limit]:
    """By what a reader takes for the same limit; of several alike by their order."""
    found: dict[tuple[str, str, str, int], Limit] = {}
    for limit in limits:
        at = 0
        while (limit.object, limit.name, limit.window, at) in found:
            at += 1
        found[limit.object, limit.name, limit.window, at] = limit
    return found


def _text(limit: Limit) -> str:
    """The limit without the name of its object."""
    return str(limit).partition(": ")[2]


def move_groups(moves: Iterable[Move], sides: Sides) -> tuple[RouteMove, ...]:
    """Which route takes calls instead of which."""
    grouped: dict[tuple[str, str], _Calls] = {}
    for move in moves:
        grouped.setdefault((move.old, move.new), _Calls()).add(move.slot)
    return tuple(
        RouteMove(
            before=old,
            after=new,
            models=tuple(sorted(calls.models)),
            operations=tuple(calls.operations),
            hosts=tuple(host for host in calls.hosts if host),
            shadowed=old in sides.new.runtime.routes,
        )
        for (old, new), calls in sorted(grouped.items())
    )
