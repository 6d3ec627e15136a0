"""What a change would do to the World: compiled before and after, and compared. Pure but for what it remembers."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from tidegate_operator.admission.findings import Change, Finding, Operation, Topic
from tidegate_operator.admission.lockout import locked_out
from tidegate_operator.compile import Compiled, Memo, compile_world
from tidegate_operator.verdicts import Finding as Fault
from tidegate_operator.verdicts import Reason, Verdict
from tidegate_operator.world import Facts, ObjectKey, World

_OWN = {Reason.CONFLICTED: Topic.CONFLICT, Reason.PARENT_CYCLE: Topic.CYCLE}


class Reviewer:
    """Compiles the World as it is, and as it would be. Not thread-safe: one review at a time.

    One memo serves both: each compilation works out only what differs from the one before.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._memo = Memo()
        self._world: World | None = None
        self._compiled: Compiled | None = None

    def follow(self, world: World) -> Compiled:
        """Compile the World as it is. Raises CompileError."""
        if self._compiled is None or self._world is None or not _same(self._world, world):
            served = self._compiled.served if self._compiled is not None else None
            self._compiled = compile_world(world, self._facts, served, self._memo)
            self._world = world
        return self._compiled

    def review(self, world: World, change: Change, now: float) -> tuple[Finding, ...]:
        """What there is to say of `change` to `world`, the gravest first. Raises CompileError.

        `now` is in seconds since the epoch: which keys and subscriptions have ended.
        """
        if change.before is not None and change.after is not None and change.before.spec == change.after.spec:
            return ()
        world = _including(world, change)
        before = self.follow(world)
        after = compile_world(_changed(world, change), self._facts, before.served, self._memo)
        found = [*_own(change, before, after), *_others(change, before, after)]
        found += [
            Finding(Topic.LOCKOUT, _locked(route, change))
            for route in locked_out(change.key, before.served.entries, after.served.entries, now)
        ]
        order = list(Topic)
        return tuple(sorted(found, key=lambda one: (one.old, _RANK.get(one.topic, order.index(one.topic)))))


_RANK = {Topic.LOCKOUT: -1}


def _same(one: World, other: World) -> bool:
    # Unchanged values are the same objects, and so compared without a look inside.
    return (
        one.resources == other.resources
        and one.secrets == other.secrets
        and one.config_maps == other.config_maps
        and one.unissued == other.unissued
    )


def _including(world: World, change: Change) -> World:
    """The World with the object as the API server had it, which may not have come through the watch yet."""
    known = world.resources.get(change.key)
    given = change.before
    if given is None or (known is not None and known.generation >= given.generation):
        return world
    return replace(world, resources={**world.resources, change.key: given})


def _changed(world: World, change: Change) -> World:
    resources = dict(world.resources)
    if change.after is None:
        resources.pop(change.key, None)
    else:
        resources[change.key] = change.after
    return replace(world, resources=resources)


def _own(change: Change, before: Compiled, after: Compiled) -> Iterator[Finding]:
    verdict = after.verdicts.get(change.key)
    if verdict is None:
        return
    known = set(_faults(before.verdicts.get(change.key)))
    told: tuple[tuple[tuple[Fault, ...], Topic], ...] = (
        (verdict.errors, Topic.INVALID),
        (verdict.unresolved, Topic.REFERENCE),
        (verdict.notes, Topic.NOTE),
    )
    for faults, topic in told:
        for fault in faults:
            # The operator makes the key a moment after the consumer is there.
            if fault.reason is not Reason.KEY_NOT_ISSUED:
                message = f"{fault.field}: {fault.message}"
                yield Finding(_OWN.get(fault.reason, topic), message, old=fault in known)


def _others(change: Change, before: Compiled, after: Compiled) -> Iterator[Finding]:
    """What becomes wrong with other objects. Those of other namespaces are counted, never named."""
    strangers: Counter[tuple[Topic, str]] = Counter()
    for key, verdict in after.verdicts.items():
        former = before.verdicts.get(key)
        if verdict is former or key == change.key:
            continue
        known = set(_faults(former))
        for fault in (*verdict.errors, *verdict.unresolved):
            if fault in known or fault.reason is Reason.KEY_NOT_ISSUED:
                continue
            topic = Topic.CONFLICT if fault.reason is Reason.CONFLICTED else Topic.DANGLING
            if key.namespace == change.key.namespace:
                yield Finding(topic, f"{key}: {fault.field}: {fault.message}")
            else:
                strangers[(topic, key.kind)] += 1
    for (topic, kind), count in sorted(strangers.items()):
        yield Finding(topic, _counted(topic, kind, count, change.operation))


def _faults(verdict: Verdict | None) -> tuple[Fault, ...]:
    return () if verdict is None else (*verdict.errors, *verdict.unresolved, *verdict.notes)


def _counted(topic: Topic, kind: str, count: int, operation: Operation) -> str:
    who = f"{count} {kind}{'' if count == 1 else 's'} of other namespaces"
    if topic is Topic.CONFLICT:
        return f"{who} would lose models or operations to this route: ask their owners first"
    what = "is deleted" if operation is Operation.DELETE else "would no longer offer or permit"
    return f"{who} would refer in vain to what {what}: ask their owners first"


def _locked(route: ObjectKey, change: Change) -> str:
    if route == change.key:
        return "nobody could call this route any more, and somebody can now"
    if route.namespace == change.key.namespace:
        return f"nobody could call {route} any more, and somebody can now"
    return "nobody could call a route of another namespace any more, and somebody can now"
