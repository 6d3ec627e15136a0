"""Who a caller is on one route: which of the consumers it may be, and what its token adds.

Only the providers attached to the route count. They may tell different things of one token: one takes it and another
does not, or their mappings read different roles. Each of that is a *view* of the caller. A Deny rule refuses when it
matches in any view, an Allow rule lets in only when it matches in all of them: so attaching one more provider or
mapping, which adds a view and takes none away, never opens anything. For counters and records the caller is what all
views agree on.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from msgspec.structs import replace

from tidegate_dataplane.engine.gates import token_counts, token_taken
from tidegate_dataplane.runtime.objects import NO_TOKEN, Claims, Consumer, Guard, Identity, Route

_SEVERAL: Final = 2


def consumer_on(guard: Guard, identity: Identity) -> Consumer:
    """The consumer as all mappings of a route agree on it."""
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


class Standing(NamedTuple):
    """Who the caller is on a route. `views` are empty when there is only one, that of `identity` and `consumer`."""

    identity: Identity
    consumer: Consumer
    views: tuple[tuple[Identity, Consumer], ...] = ()


def standing_on(route: Route, identity: Identity) -> Standing:
    """What a route makes of a caller; costs next to nothing for one without a token."""
    if identity.alternatives:
        identity = _known_of(route, identity)
    if not identity.vouchers:
        return Standing(identity, identity.consumer)
    guard = route.guard
    counts = token_counts(guard, identity)
    mappings = sorted(guard.mappings.intersection(identity.claims))
    if counts and len(mappings) < _SEVERAL:
        return Standing(identity, consumer_on(guard, identity))
    bare = replace(identity, claims={}, token=NO_TOKEN, resolved={})
    views: list[tuple[Identity, Consumer]] = []
    if token_taken(guard, identity):
        views += [(identity, _mapped_by(identity, key)) for key in mappings] or [(identity, identity.consumer)]
    if counts:
        return Standing(identity, consumer_on(guard, identity), tuple(views))
    return Standing(bare, identity.consumer, (*views, (bare, identity.consumer)) if views else ())


def _mapped_by(identity: Identity, provider: str) -> Consumer:
    """The consumer with what one provider's mapping reads."""
    at = frozenset({provider})
    known = identity.resolved.get(at)
    if known is None:
        known = identity.resolved[at] = enriched(identity.consumer, [identity.claims[provider]])
    return known


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
