"""Which introspection endpoints may see a token: those of the route that it was sent to, and nobody else's."""

from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.runtime.build import Runtime
from tidegate_dataplane.snapshot.entries import Method


def asked_about(runtime: Runtime, call: Call) -> frozenset[str]:
    """Keys of the providers attached to the route of a call."""
    claim = runtime.table.find(call.host, call.base, call.operation, call.model, call.headers)
    if claim is None:
        return frozenset()
    return runtime.routes[claim[0]].guard.providers.get(Method.INTROSPECTION, frozenset())


def asked_by_all(runtime: Runtime) -> frozenset[str]:
    """Keys of the gateway's own providers, for a request that is meant for no route in particular."""
    return frozenset(provider.key for provider in runtime.providers.introspecting if provider.everywhere)
