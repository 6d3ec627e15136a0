"""Which providers are asked about a token: those of the route that it was sent to, and nobody else's."""

from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.runtime.build import Runtime
from tidegate_dataplane.runtime.objects import Identity
from tidegate_dataplane.snapshot.entries import Method

_NOBODY: frozenset[str] = frozenset()


def asked_about(runtime: Runtime, call: Call) -> frozenset[str]:
    """Keys of the providers attached to the route of a call."""
    claim = runtime.table.find(call.host, call.base, call.operation, call.model, call.headers)
    if claim is None:
        return _NOBODY
    return _NOBODY.union(*runtime.routes[claim[0]].guard.providers.values())


def asked_instead(runtime: Runtime, call: Call, identity: Identity) -> frozenset[str]:
    """The same where a token was proved by keys, but by none of these; else nobody need be asked again."""
    if Method.JWT not in identity.methods:
        return _NOBODY
    providers = asked_about(runtime, call)
    known = any(not providers.isdisjoint(one.vouchers) for one in (identity, *identity.alternatives))
    return _NOBODY if known else providers


def asked_by_all(runtime: Runtime) -> frozenset[str]:
    """For a request that is meant for no route in particular: keys of those who verify signatures, and who learn no
    token by it, and of the gateway's own introspection."""
    return frozenset(
        key
        for key, provider in runtime.providers.by_key.items()
        if provider.method is Method.JWT or provider.everywhere
    )
