"""Who a caller is on one route: which of the consumers it may be, and what its token adds.

Only the providers attached to the route count. They may tell different things of one token: one takes it and another
does not, or their mappings read different roles. Each of that is a *view* of the caller. A Deny rule refuses when it
matches in any view, an Allow rule lets in only when it matches in all of them: so attaching one more provider or
mapping, which adds a view and takes none away, never opens anything. For counters and records the caller is what all
views agree on.
"""

from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from tidegate_dataplane.engine.gates import token_counts, token_taken
from tidegate_dataplane.runtime.objects import NO_TOKEN, Claims, Consumer, Identity, Route


def _mapped_by(identity: Identity, providers: frozenset[str]) -> Consumer:
    """The consumer with what all of these providers' mappings agree on."""
    if not providers:
        return identity.consumer
    known = identity.resolved.get(providers)
    if known is None:
        claims = [identity.claims[key] for key in sorted(providers)]
        known = identity.resolved[providers] = _enriched(identity.consumer, claims)
    return known


def _enriched(consumer: Consumer, claims: list[Claims]) -> Consumer:
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
    mappings = guard.mappings.intersection(identity.claims)
    agreed = _mapped_by(identity, mappings)
    if counts and len(mappings) <= 1:
        return Standing(identity, agreed)
    views = tuple((identity, _mapped_by(identity, frozenset({key}))) for key in sorted(mappings))
    if counts:
        return Standing(identity, agreed, views)
    bare = replace(identity, claims={}, token=NO_TOKEN, resolved={})
    if not token_taken(guard, identity):
        return Standing(bare, identity.consumer)
    return Standing(bare, identity.consumer, (*(views or ((identity, identity.consumer),)), (bare, identity.consumer)))


def _known_of(route: Route, identity: Identity) -> Identity:
    """Of all consumers that the caller may be, the first that the route may know: of a namespace that it admits, and,
    where it is a token that says so, vouched for by a provider attached to the route."""
    for one in (identity, *identity.alternatives):
        admitted = route.admits is None or one.consumer.namespace in route.admits
        if admitted and (not one.vouchers or token_taken(route.guard, one)):
            return one
    return identity
