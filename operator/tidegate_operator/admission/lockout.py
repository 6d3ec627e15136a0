"""Whether a change leaves a route without anybody who could call it.

Every benefit of the doubt is given: expressions, addresses, times of day, risk and limits might let a caller in, so
only methods, roles, models, operations, namespaces, subscriptions and the state of keys count. What is said here of the
state after a change is certain: not one consumer could call. The engine itself is asked.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import msgspec

from tidegate_dataplane.engine.authorize import subject_of
from tidegate_dataplane.engine.decide import judge
from tidegate_dataplane.runtime import Runtime, build
from tidegate_dataplane.runtime.objects import NOBODY, Consumer, Identity, Route
from tidegate_dataplane.snapshot.entries import (
    SCHEMA_VERSION,
    BackendEntry,
    ClusterFacts,
    ConsumerEntry,
    Effect,
    Index,
    Mode,
    PolicyEntry,
    Provider,
    RouteEntry,
    Section,
    Shard,
    ShardRef,
    Source,
    TargetEntry,
)
from tidegate_operator.admission.reachable import reachable
from tidegate_operator.compile.compiled import AnyEntry
from tidegate_operator.inquiry.calls import calls_on, identities
from tidegate_operator.world import Kind, ObjectKey

Entries = Mapping[ObjectKey, AnyEntry]

MOST_ROUTES = 200
"""So many routes are tried for one change; a policy of the whole gateway touches all, and these speak for the rest."""
# Whether a backend is there is another matter, and soon mended.
_BACKEND = BackendEntry(source=Source("-", "-", 1, "", 0), provider=Provider.MOCK)
_TARGETS = (TargetEntry(backend=_BACKEND.source.key),)
_SECTIONS = frozenset({Section.AUTHENTICATION, Section.AUTHORIZATION})
_CAUSES = (Kind.POLICY, Kind.ROUTE, Kind.CONSUMER, Kind.SUBSCRIPTION, Kind.APPROVAL)


def locked_out(key: ObjectKey, before: Entries, after: Entries, now: float) -> tuple[ObjectKey, ...]:
    """The routes that somebody could call before a change of the object `key`, and nobody after it."""
    touched = list(_touched(key, before, after))[:MOST_ROUTES]
    closed = [route for route in touched if not _known_open(_route(after, route), after)]
    if not closed:
        return ()
    # First the state after: nearly always somebody is let in, and that is the end of it.
    shut = list(_without_callers(closed, after, now))
    if not shut:
        return ()
    never = set(_without_callers(shut, before, now))
    return tuple(route for route in shut if route not in never or _known_open(_route(before, route), before))


def _touched(key: ObjectKey, before: Entries, after: Entries) -> Iterator[ObjectKey]:
    """Routes that are there before and after, and that the change may close."""
    if key.kind not in _CAUSES:
        return
    if key.kind is Kind.ROUTE:
        if key in before and key in after:
            yield key
        return
    name = f"{key.namespace}/{key.name}"
    old, new = before.get(key), after.get(key)
    for other, entry in after.items():
        if other.kind is not Kind.ROUTE or not isinstance(entry, RouteEntry):
            continue
        former = before.get(other)
        if not isinstance(former, RouteEntry):
            continue
        if key.kind is Kind.POLICY:
            attached = (*entry.policies, *former.policies)
            if (entry is not former and entry != former) or any(one.policy == name for one in attached):
                yield other
        elif key.kind is Kind.CONSUMER:
            # What a consumer gains closes nothing; its last equal may be what is lost.
            if isinstance(old, ConsumerEntry) and old != new and _admits(entry, key.namespace):
                yield other
        elif entry != former:
            yield other


def _admits(route: RouteEntry, namespace: str) -> bool:
    allowed = route.allowed_namespaces
    return namespace == route.source.namespace or namespace in allowed or "*" in allowed


def _route(entries: Entries, key: ObjectKey) -> RouteEntry:
    return cast(RouteEntry, entries[key])


def _policies(route: RouteEntry, entries: Entries) -> Iterator[tuple[PolicyEntry, tuple[Section, ...]]]:
    """The attached policies that are enforced, with their sections in force."""
    for attachment in route.policies:
        entry = entries.get(ObjectKey(Kind.POLICY, *attachment.policy.split("/", 1)))
        if isinstance(entry, PolicyEntry) and entry.mode is Mode.ENFORCE:
            yield entry, attachment.sections


def _known_open(route: RouteEntry, entries: Entries) -> bool:
    """Whether callers may come in that no AIConsumer tells of: tokens may name them, or give them roles."""
    return any(
        provider.mapping is not None and bool(provider.mapping.name or provider.mapping.roles)
        for policy, sections in _policies(route, entries)
        if policy.authentication is not None and Section.AUTHENTICATION in sections
        for provider in policy.authentication.providers
    )


def _without_callers(routes: Iterable[ObjectKey], entries: Entries, now: float) -> Iterator[ObjectKey]:
    wanted = [_route(entries, key) for key in routes]
    consumers = _candidates(wanted, entries, now)
    runtime = _runtime(wanted, consumers, entries)
    known = [runtime.consumers[one.source.key] for one in consumers]
    for entry in wanted:
        route = runtime.routes[entry.source.key]
        networks = [
            policy.network
            for policy, sections in _policies(entry, entries)
            if policy.network is not None and Section.NETWORK in sections
        ]
        if not reachable(networks) or not _anybody(runtime, route, known, now):
            yield ObjectKey(Kind.ROUTE, entry.source.namespace, entry.source.name)


def _anybody(runtime: Runtime, route: Route, consumers: Iterable[Consumer], now: float) -> bool:
    calls = [
        call
        for model in route.entry.models
        for operation in route.entry.operations
        for call in calls_on(route, model.replace("*", "any"), operation, "")
    ]

    def let_in(identity: Identity) -> bool:
        return any(judge(subject_of(runtime, call, route, identity, now))[0] is None for call in calls)

    if let_in(NOBODY):
        return True
    return any(
        let_in(identity)
        for consumer in consumers
        if route.admits is None or consumer.namespace in route.admits
        for identity in identities(runtime, consumer)
    )


def _candidates(routes: Iterable[RouteEntry], entries: Entries, now: float) -> list[ConsumerEntry]:
    """Consumers of the admitted namespaces: of those that no rule could tell apart, one; and all subscribers."""
    wanted = list(routes)
    subscribers = {one.consumer for route in wanted for one in route.subscribers}
    everywhere = any("*" in route.allowed_namespaces for route in wanted)
    admitted = {name for route in wanted for name in (route.source.namespace, *route.allowed_namespaces)}
    found: dict[object, ConsumerEntry] = {}
    for key, entry in entries.items():
        if key.kind is not Kind.CONSUMER or not (everywhere or key.namespace in admitted):
            continue
        entry = cast(ConsumerEntry, entry)
        name = f"{key.namespace}/{key.name}" if subscribers else ""
        if name not in subscribers and _alike(key.namespace, entry) in found:
            # Thousands are like one that was found: nothing more is asked about them.
            continue
        usable = _usable(entry, now)
        if usable is not None:
            alike: object = name if name in subscribers else _alike(key.namespace, usable)
            found.setdefault(alike, usable)
    return list(found.values())


def _usable(consumer: ConsumerEntry, now: float) -> ConsumerEntry | None:
    """The consumer with the keys that work now; None where it cannot come in by anything."""
    keys = tuple(key for key in consumer.keys if not key.revoked and (key.not_after is None or now < key.not_after))
    if consumer.suspended or not (keys or consumer.tokens or consumer.certificates):
        return None
    return consumer if keys == consumer.keys else msgspec.structs.replace(consumer, keys=keys)


def _alike(namespace: str, consumer: ConsumerEntry) -> tuple[object, ...]:
    """What rules that hold for certain can tell of it."""
    tokens = consumer.tokens
    issuers = frozenset([one.issuer for one in tokens]) if tokens else None
    return namespace, consumer.roles, bool(consumer.keys), bool(consumer.certificates), issuers


def _runtime(routes: Iterable[RouteEntry], consumers: Iterable[ConsumerEntry], entries: Entries) -> Runtime:
    """A runtime of these routes alone, with what of their policies no circumstance can change."""
    wanted = list(routes)
    policies = {policy.source.key: _certain(policy) for route in wanted for policy, _ in _policies(route, entries)}
    shard = Shard(
        schema_version=SCHEMA_VERSION,
        backends=(_BACKEND,),
        routes=tuple(_bare(route, policies) for route in wanted),
        policies=tuple(policies.values()),
        consumers=tuple(consumers),
    )
    index = Index(SCHEMA_VERSION, 1, "review", ClusterFacts(), (ShardRef("00", "0" * 64, 0),))
    return build(index, {"00": shard})


def _bare(route: RouteEntry, policies: Mapping[str, PolicyEntry]) -> RouteEntry:
    attached = tuple(
        msgspec.structs.replace(one, sections=tuple(section for section in one.sections if section in _SECTIONS))
        for one in route.policies
        if one.policy in policies
    )
    return msgspec.structs.replace(route, policies=attached, quotas=(), grants=(), targets=_TARGETS)


def _certain(policy: PolicyEntry) -> PolicyEntry:
    """Without what depends on the call: a conditional Deny may not hold, a conditional Allow may."""
    rules = policy.rules
    if rules is not None:
        rules = tuple(
            msgspec.structs.replace(rule, when="", versions=())
            for rule in rules
            if rule.effect is Effect.ALLOW or not (rule.when or rule.versions)
        )
    authentication = policy.authentication
    if authentication is not None and authentication.leaked:
        authentication = msgspec.structs.replace(authentication, leaked=())
    return msgspec.structs.replace(
        policy, rules=rules, authentication=authentication, rate_limits=None, network=None, risk=None
    )
