"""Whether what a caller has proved satisfies the authentication sections of a route.

Every attached section must be satisfied by itself: one of its methods, and each that it demands besides. A token counts
for a section only when a provider that the section names accepts it; a section that names none for the method goes by
the other attached sections that do, all of them, and by nobody else: a tenant's own provider never opens what another
tenant guards.
"""

from typing import Final

from tidegate_dataplane.runtime.objects import Gate, Guard, Identity
from tidegate_dataplane.snapshot.entries import Method

BY_TOKEN: Final = frozenset({Method.JWT, Method.INTROSPECTION})


def first_closed(guard: Guard, identity: Identity) -> Gate | None:
    """The first gate that does not let the caller pass; None when all do (or there is none)."""
    for gate in guard.gates:
        if not passes(gate, guard, identity):
            return gate
    return None


def passes(gate: Gate, guard: Guard, identity: Identity) -> bool:
    """Whether one authentication section is satisfied."""
    proven = proven_for(gate, guard, identity)
    return not gate.methods.isdisjoint(proven) and gate.all_of <= proven


def proven_for(gate: Gate, guard: Guard, identity: Identity) -> frozenset[Method]:
    """The methods of `identity` that count for this gate."""
    methods = identity.methods
    if methods.isdisjoint(BY_TOKEN):
        return methods
    return frozenset(method for method in methods if method not in BY_TOKEN or _vouched(method, gate, guard, identity))


def token_counts(guard: Guard, identity: Identity) -> bool:
    """Whether all attached sections with providers take the caller's token.

    A caller may come in by its key and show a token besides, made by whoever writes policies in its namespace.
    """
    return any(_vouched_by_all(method, guard, identity) for method in identity.methods & BY_TOKEN)


def token_taken(guard: Guard, identity: Identity) -> bool:
    """Whether some attached section with providers takes the token, though perhaps not all."""
    return any(not keys.isdisjoint(identity.vouchers) for keys in guard.providers.values())


def _vouched(method: Method, gate: Gate, guard: Guard, identity: Identity) -> bool:
    own = gate.providers.get(method)
    return not own.isdisjoint(identity.vouchers) if own else _vouched_by_all(method, guard, identity)


def _vouched_by_all(method: Method, guard: Guard, identity: Identity) -> bool:
    # All of them, not one: else a further policy with a provider would let in whom a section has refused.
    found = [one.providers[method] for one in guard.gates if method in one.providers]
    return bool(found) and all(not providers.isdisjoint(identity.vouchers) for providers in found)
