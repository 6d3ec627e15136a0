"""Who a caller is on one route: which of the consumers it may be, and what the claims of its token add.

Only the mappings of providers attached to the route count. Where several do, they must agree: the consumer gets the
roles that all of them give, and a team, tier or attribute only when none contradicts. So attaching one more policy
with a mapping never adds anything. Of a token that does not count on the route, rules see nothing at all.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from tidegate_dataplane.engine.gates import token_counts
from tidegate_dataplane.runtime.objects import NO_TOKEN, Claims, Consumer, Guard, Identity, Route


def consumer_on(guard: Guard, identity: Identity) -> Consumer:
    """The consumer as the rules of a route see it."""
    if not identity.claims:
        return identity.consumer
    providers = guard.mappings.intersection(identity.claims)
    if not providers:
        return identity.consumer
    known = identity.resolved.get(providers)
    if known is None:
        known = identity.resolved[providers] = enriched(
            identity.consumer, [identity.claims[key] for key in sorted(providers)]
        )
    return known


def enriched(consumer: Consumer, claims: list[Claims]) -> Consumer:
    """What its AIConsumer says wins over claims; roles add up."""
    entry = consumer.entry
    roles = consumer.roles | frozenset.intersection(*(one.roles for one in claims))
    attributes = {
        name: value
        for name in claims[0].attributes
        if (value := _agreed(one.attributes.get(name, "") for one in claims))
    }
    return Consumer(
        key=consumer.key,
        entry=replace(
            entry,
            roles=tuple(sorted(roles)),
            team=entry.team or _agreed(one.team for one in claims),
            tier=entry.tier or _agreed(one.tier for one in claims),
            attributes={**attributes, **entry.attributes},
        ),
        namespace=consumer.namespace,
        roles=roles,
    )


def _agreed(values: Iterable[str]) -> str:
    found = set(values)
    return found.pop() if len(found) == 1 else ""


def identity_on(route: Route, identity: Identity) -> Identity:
    """Who the caller is on a route, with the token only if it counts there."""
    if identity.alternatives:
        identity = _known_of(route, identity)
    if identity.vouchers and not token_counts(route.guard, identity):
        return replace(identity, claims={}, token=NO_TOKEN, resolved={})
    return identity


def _known_of(route: Route, identity: Identity) -> Identity:
    """Of all consumers that the caller may be, the first that the route may know: of a namespace that it admits, and,
    where it is a token that says so, vouched for by a provider attached to the route."""
    for one in (identity, *identity.alternatives):
        if (route.admits is None or one.consumer.namespace in route.admits) and _known_to(route, one):
            return one
    return identity


def _known_to(route: Route, identity: Identity) -> bool:
    if not identity.vouchers:
        return True
    return any(not keys.isdisjoint(identity.vouchers) for keys in route.guard.providers.values())
