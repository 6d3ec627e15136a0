"""Which models a caller may use: the answer to `GET /models`."""

from msgspec.structs import replace

from tidegate_dataplane.engine import denials
from tidegate_dataplane.engine.authorize import Subject
from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.claimed import consumer_on, identity_on
from tidegate_dataplane.engine.decide import judge
from tidegate_dataplane.engine.decision import Denial
from tidegate_dataplane.engine.identify import identify
from tidegate_dataplane.runtime.build import Runtime
from tidegate_dataplane.runtime.objects import NOBODY, Identity, Route
from tidegate_dataplane.snapshot.entries import Method


def visible_models(runtime: Runtime, call: Call, now: float) -> list[str] | Denial:
    """Exact model names (no globs), sorted, that this caller would be let in for, in any operation, at this moment.

    `call` gives host, base, headers, address and keys; its operation and model are not looked at. A Denial when the
    key is refused, or when none was given and nothing is open to everyone.
    """
    found = identify(runtime, call.keys, now)
    if isinstance(found, Denial):
        return found
    return models_for(runtime, call, NOBODY if found is None else found.identity, now)


def models_for(runtime: Runtime, call: Call, identity: Identity, now: float) -> list[str] | Denial:
    """The same for a caller that is identified (or NOBODY)."""
    namespaces = {one.consumer.namespace for one in (identity, *identity.alternatives)}
    visible = {
        model
        for namespace in namespaces
        for route in _candidates(runtime, namespace)
        for model in route.entry.models
        if not model.endswith("*") and _usable(runtime, route, model, call, now, identity)
    }
    if not visible and identity is NOBODY:
        return denials.NO_KEY
    return sorted(visible)


def _candidates(runtime: Runtime, namespace: str) -> tuple[Route, ...]:
    """Routes that might admit callers of a namespace ("" = nobody in particular); worked out once for a Runtime."""
    known = runtime.listings.get(namespace)
    if known is None:
        known = runtime.listings[namespace] = tuple(
            route for route in runtime.routes.values() if _might_admit(route, namespace)
        )
    return known


def _might_admit(route: Route, namespace: str) -> bool:
    if not namespace:
        return route.guard.methods is not None and Method.ANONYMOUS in route.guard.methods
    return route.admits is None or namespace in route.admits


def _usable(runtime: Runtime, route: Route, model: str, call: Call, now: float, identity: Identity) -> bool:
    identity = identity_on(route, identity)
    consumer = consumer_on(route.guard, identity)
    for operation in route.entry.operations:
        claim = runtime.table.find(call.host, call.base, operation, model, call.headers)
        if claim is None or claim[0] != route.key:
            continue
        asked = replace(call, operation=operation, model=model)
        if judge(Subject(asked, route, consumer, identity, now, runtime.lists))[0] is None:
            return True
    return False
