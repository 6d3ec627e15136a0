"""Classes of calls and of consumers: within a class, decisions are the same but for names."""

from collections.abc import Hashable
from typing import NamedTuple

from msgspec.structs import replace

from tidegate_dataplane.engine.gates import BY_TOKEN
from tidegate_dataplane.engine.subscribe import live_subscription
from tidegate_dataplane.expressions import Program
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import Consumer, Identity, Route
from tidegate_operator.difference.outcome import identities_of
from tidegate_operator.difference.profile import Profile, answer, profile_of
from tidegate_operator.difference.slots import Slot

NOBODY_KEY = ""
NO_PROFILE = Profile(frozenset(), frozenset(), frozenset(), frozenset(), False, False, False, False)
"""Of calls that no route takes."""


class Caller(NamedTuple):
    """Who may call, with all that it can prove. `proofs` is what of that decides; the key of nobody is ""."""

    key: str
    consumer: Consumer | None
    identities: tuple[Identity, ...]
    proofs: Hashable

    @property
    def namespace(self) -> str:
        return "" if self.consumer is None else self.consumer.namespace


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
            found[key] = _caller(runtime, key, consumer, now)
    nobody = (known or {}).get(NOBODY_KEY)
    found[NOBODY_KEY] = nobody or Caller(NOBODY_KEY, None, identities_of(runtime, None, now), ())
    return found


def _equal(one: Consumer | None, other: Consumer) -> bool:
    return one is not None and one.entry == replace(other.entry, source=one.entry.source)


def _caller(runtime: Runtime, key: str, consumer: Consumer, now: float) -> Caller:
    identities = identities_of(runtime, consumer, now)
    return Caller(key, consumer, identities, (consumer.entry.suspended, *map(_proof, identities)))


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
    if profile.whole or (profile.of_consumer and any(identity.claims for identity in caller.identities)):
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
