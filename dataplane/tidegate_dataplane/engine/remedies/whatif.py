"""Deciding about a call in a world that differs in some objects: for remedies, which try out changes. Pure."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.decide import decide_for
from tidegate_dataplane.engine.decision import Decision, Step
from tidegate_dataplane.engine.risk import Observed
from tidegate_dataplane.runtime.build import Runtime, build
from tidegate_dataplane.runtime.lower import lower_consumer
from tidegate_dataplane.runtime.objects import NOBODY, Identity, Route
from tidegate_dataplane.snapshot.entries import (
    SCHEMA_VERSION,
    ConsumerEntry,
    Index,
    PolicyEntry,
    QuotaEntry,
    RouteEntry,
    Shard,
    ShardRef,
)

Changed = RouteEntry | PolicyEntry | ConsumerEntry
Name = tuple[type, str]

_OBJECTS: Final = "00"


class Situation(Struct, frozen=True):
    """A call by somebody at some time, in a world where `objects` stand in the place of those of their key."""

    call: Call
    identity: Identity
    now: float
    objects: Mapping[Name, Changed] = {}


class _Slice(Struct, frozen=True):
    """What one route rests on, as a Runtime of its own."""

    runtime: Runtime
    objects: Shard


class WhatIf:
    """Decides in worlds that differ from that of `runtime`. One serves one question.

    `evaluations` counts the decisions; `weeks` is how often all times of a week may still be tried.
    """

    def __init__(self, runtime: Runtime, observed: Observed) -> None:
        self.runtime = runtime
        self._observed = observed
        self.evaluations = 0
        self.weeks = 1
        self._slices: dict[str, _Slice] = {}
        self._policies: dict[str, PolicyEntry] | None = None
        # The same changes are often tried at many times of day, one after the other.
        self._last: tuple[str, Mapping[Name, Changed], Runtime] | None = None

    def decide(self, situation: Situation, trace: list[Step] | None = None) -> Decision:
        """What the data plane would decide."""
        self.evaluations += 1
        runtime, identity = self.runtime, situation.identity
        if situation.objects:
            runtime = self._changed(situation)
            identity = _renewed(identity, situation)
        return decide_for(runtime, situation.call, identity, situation.now, trace, self._observed)

    def route_of(self, situation: Situation) -> Route | None:
        """The route that claims the call; its policies are those before any change."""
        call = situation.call
        claim = self.runtime.table.find(call.host, call.base, call.operation, call.model, call.headers)
        return None if claim is None else self.runtime.routes[claim[0]]

    def policies_of(self, route: Route, situation: Situation) -> list[PolicyEntry]:
        """The attached policies, changed ones as they are now."""
        known = self._policy_entries()
        entry = situation.objects.get((RouteEntry, route.key), route.entry)
        attached = entry.policies if isinstance(entry, RouteEntry) else ()
        found = (situation.objects.get((PolicyEntry, one.policy)) or known.get(one.policy) for one in attached)
        return [policy for policy in found if isinstance(policy, PolicyEntry)]

    def _policy_entries(self) -> dict[str, PolicyEntry]:
        if self._policies is None:
            shards = self.runtime.shards.values()
            self._policies = {entry.source.key: entry for shard in shards for entry in shard.policies}
        return self._policies

    def _changed(self, situation: Situation) -> Runtime:
        route = self.route_of(situation)
        if route is None:
            return self.runtime
        last = self._last
        if last is not None and last[0] == route.key and last[1] is situation.objects:
            return last[2]
        base = self._slices.get(route.key)
        if base is None:
            base = self._slices[route.key] = self._slice(route)
        objects = _with(base.objects, situation.objects)
        changed = build(_index(base.runtime.index, self.evaluations), {_OBJECTS: objects}, base.runtime)
        # Everything that no object of ours touches is the true world's: the table of routes before all.
        runtime = replace(
            self.runtime,
            policies=changed.policies,
            consumers=changed.consumers,
            routes={**self.runtime.routes, **changed.routes},
            plans={},
            listings={},
        )
        self._last = (route.key, situation.objects, runtime)
        return runtime

    def _slice(self, route: Route) -> _Slice:
        entry = route.entry
        policies = self._policy_entries()
        names = [one.policy for one in entry.policies]
        backends = {target.backend for target in entry.targets}
        objects = Shard(
            SCHEMA_VERSION,
            backends=tuple(one.entry for key, one in self.runtime.backends.items() if key in backends),
            routes=(entry,),
            policies=tuple(policies[name] for name in names if name in policies),
            quotas=self._quotas(entry.quotas),
        )
        index = Index(
            SCHEMA_VERSION,
            self.runtime.revision,
            self.runtime.gateway,
            self.runtime.cluster,
            (ShardRef(_OBJECTS, "", 0),),
        )
        return _Slice(build(index, {_OBJECTS: objects}), objects)

    def _quotas(self, keys: tuple[str, ...]) -> tuple[QuotaEntry, ...]:
        wanted = set(keys)
        shards = self.runtime.shards.values()
        return tuple(entry for shard in shards for entry in shard.quotas if entry.source.key in wanted)


def _index(index: Index, number: int) -> Index:
    return replace(index, shards=(ShardRef(_OBJECTS, str(number), 0),))


def _with(shard: Shard, objects: Mapping[Name, Changed]) -> Shard:
    routes = tuple(objects.get((RouteEntry, one.source.key), one) for one in shard.routes)
    policies = {one.source.key: one for one in shard.policies}
    policies |= {key: one for (_, key), one in objects.items() if isinstance(one, PolicyEntry)}
    consumers = tuple(one for one in objects.values() if isinstance(one, ConsumerEntry))
    return replace(
        shard,
        routes=tuple(one for one in routes if isinstance(one, RouteEntry)),
        policies=tuple(policies.values()),
        consumers=consumers,
    )


def _renewed(identity: Identity, situation: Situation) -> Identity:
    """The identity with its consumer as it would be."""
    if identity is NOBODY:
        return identity
    entry = situation.objects.get((ConsumerEntry, identity.consumer.key))
    if not isinstance(entry, ConsumerEntry):
        return identity
    return replace(identity, consumer=lower_consumer(entry), resolved={})


def put(situation: Situation, *entries: Changed) -> Situation:
    """The situation with these objects in place of those of their key."""
    changed = {(type(entry), entry.source.key): entry for entry in entries}
    return replace(situation, objects={**situation.objects, **changed})
