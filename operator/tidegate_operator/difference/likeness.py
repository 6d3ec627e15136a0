"""Classes of calls and of consumers: within a class, decisions are the same but for names."""

from collections.abc import Hashable
from typing import NamedTuple

from msgspec.structs import replace

from tidegate_dataplane.engine.gates import BY_TOKEN
from tidegate_dataplane.engine.subscribe import live_subscription
from tidegate_dataplane.expressions import Program
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import Consumer, Identity, Route
from tidegate_operator.difference.outcome import identities_of, usable
from tidegate_operator.difference.profile import Profile, answer, profile_of
from tidegate_operator.difference.slots import Slot

NOBODY_KEY = ""
NO_PROFILE = Profile(frozenset(), frozenset(), frozenset(), frozenset(), False, False, False, False)
"""Of calls that no route takes."""


class Caller:
    """Who may call, with all that it can prove. `proofs` is what of that decides; the key of nobody is ""."""

    __slots__ = ("_known", "_now", "_runtime", "consumer", "key", "proofs")

    def __init__(self, runtime: Runtime, key: str, consumer: Consumer | None, now: float) -> None:
        self.key = key
        self.consumer = consumer
        self._runtime, self._now = runtime, now
        self._known: tuple[Identity, ...] | None = None
        self.proofs: Hashable = self._proofs()

    @property
    def namespace(self) -> str:
        return "" if self.consumer is None else self.consumer.namespace

    @property
    def identities(self) -> tuple[Identity, ...]:
        """Worked out when somebody asks: of callers that are alike, one is asked."""
        if self._known is None:
            self._known = identities_of(self._runtime, self.consumer, self._now)
        return self._known

    def _proofs(self) -> Hashable:
        if self.consumer is None:
            return ()
        entry = self.consumer.entry
        if entry.tokens:
            return (entry.suspended, *map(_proof, self.identities))
        by_key = any(usable(key, self._now) for key in entry.keys)
        return entry.suspended, by_key, bool(entry.certificates)


def callers_of(
    runtime: Runtime, now: float, former: Runtime | None = None, known: dict[str, Caller] | None = None
) -> dict[str, Caller]:
    """Every consumer, and nobody. `known` are those of `former`: one that is the same is the very same Caller."""
    same = {} if former is None or former.providers is not runtime.providers else known or {}
    found: dict[str, Caller] = {}
    for key, consumer in runtime.consumers.items():
        before = same.get(key)
        if before is not None and (before.consumer is consumer or _equal(before.consumer, consumer)):
            found[key] = before
        else:
            found[key] = Caller(runtime, key, consumer, now)
    nobody = (known or {}).get(NOBODY_KEY)
    found[NOBODY_KEY] = nobody or Caller(runtime, NOBODY_KEY, None, now)
    return found


def _equal(one: Consumer | None, other: Consumer) -> bool:
    return one is not None and one.entry == replace(other.entry, source=one.entry.source)


def _proof(identity: Identity) -> Hashable:
    if not identity.vouchers and identity.methods.isdisjoint(BY_TOKEN):
        return identity.methods
    return (
        identity.methods,
        tuple(sorted(identity.vouchers)),
        repr(sorted(identity.token.items())),
        repr(sorted(identity.claims.items())),
        tuple(one.consumer.key for one in identity.alternatives),
    )


def likeness(caller: Caller, profile: Profile) -> Hashable:
    """Equal for callers that routes of this profile treat alike."""
    consumer = caller.consumer
    if consumer is None:
        return NOBODY_KEY
    if profile.whole or (profile.of_consumer and consumer.entry.tokens):
        # To what is known of a consumer, claims of its token add.
        return caller.key, caller.proofs, _all_of(consumer)
    entry = consumer.entry
    attributes = entry.attributes
    return (
        consumer.namespace,
        caller.proofs,
        consumer.roles if profile.roles is None else consumer.roles & profile.roles,
        _attributes(attributes, profile.attributes),
        entry.team if "team" in profile.members or profile.scopes else "",
        entry.tier if "tier" in profile.members else "",
        entry.type if "type" in profile.members else "",
        caller.key if "name" in profile.members or profile.scopes else "",
        tuple(identity.digests for identity in caller.identities) if profile.leaks else (),
        _answers(consumer, profile.of_consumer),
    )


def _answers(consumer: Consumer, programs: tuple[Program, ...]) -> Hashable:
    if not programs:
        return ()
    variables: dict[str, object] = {"consumer": consumer.variables}
    return tuple([answer(program, variables) for program in programs])


def _attributes(attributes: dict[str, str], read: frozenset[str] | None) -> Hashable:
    if read is None:
        return tuple(sorted(attributes.items()))
    return tuple([(name, attributes.get(name)) for name in sorted(read)]) if read else ()


def _all_of(consumer: Consumer) -> Hashable:
    entry = consumer.entry
    return entry.type, entry.team, entry.tier, entry.roles, tuple(sorted(entry.attributes.items()))


def subscribed(caller: Caller, route: Route, now: float) -> Hashable:
    """What the subscription of a caller comes to on a route that asks for one."""
    if route.subscriptions is None or caller.consumer is None:
        return ()
    found = live_subscription(route.subscriptions, caller.key, now)
    return None if found is None else found.plan.name


class RouteLikeness(NamedTuple):
    """Equal for routes that treat a caller alike; `profile` says what of call and caller they look at."""

    profile: Profile
    same: Hashable


def route_likeness(route: Route) -> RouteLikeness:
    """Of a route; a call that no route takes has none."""
    profile = profile_of(route)
    entry = route.entry
    by_name = profile.route or profile.whole or route.subscriptions is not None
    targets = route.guard.by_target or (route.shadow is not None and route.shadow.by_target) or route.per_backend
    return RouteLikeness(
        profile,
        (
            id(route.guard),
            id(route.shadow),
            tuple(map(id, (*route.quotas, *route.per_call, *route.per_backend))),
            route.key if by_name else "",
            None if route.admits is None else tuple(sorted(route.admits)),
            route.unavailable,
            route.too_costly,
            tuple(map(id, route.tiers)) if targets else bool(route.tiers),
            entry.plans,
        ),
    )


def call_likeness(slot: Slot, profile: Profile) -> Hashable:
    """Equal for calls that routes of this profile treat alike."""
    read = profile.request
    if profile.whole:
        return slot
    asked: dict[str, object] = {"request": {"model": slot.model, "operation": slot.operation.value}}
    return (
        slot.model if "model" in read else tuple([names.match(slot.model) for names in profile.models]),
        tuple([answer(program, asked) for program in profile.of_model]),
        slot.operation if read & {"operation", "path"} else "",
        slot.base if "path" in read else "",
        slot.host if "host" in read else "",
        slot.headers if "headers" in read else (),
    )
