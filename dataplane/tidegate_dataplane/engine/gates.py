"""Whether what a caller has proved satisfies the authentication sections of a route.

Every attached section must be satisfied by itself: one of its methods, and each that it demands besides. A token counts
for a section only when a provider that the section names accepts it; a section that names none for the method goes by
the other attached sections that do, all of them, and by nobody else: a tenant's own provider never opens what another
tenant guards.
"""

from typing import Final

from tidegate_dataplane.runtime.objects import Gate, Guard, Identity
from tidegate_dataplane.snapshot.entries import Method

_BY_TOKEN: Final = frozenset({Method.JWT, Method.INTROSPECTION})


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
    if methods.isdisjoint(_BY_TOKEN):
        return methods
    return frozenset(method for method in methods if method not in _BY_TOKEN or _vouched(method, gate, guard, identity))


def _vouched(method: Method, gate: Gate, guard: Guard, identity: Identity) -> bool:
    own = gate.providers.get(method)
    if own:
        return not own.isdisjoint(identity.vouchers)
    # All of them, not one: else a further policy with a provider would let in whom this section has refused.
    others = [one.providers[method] for one in guard.gates if method in one.providers]
    return bool(others) and all(not providers.isdisjoint(identity.vouchers) for providers in others)
