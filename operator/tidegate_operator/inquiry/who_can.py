"""Which consumers may ask for a model: each is tried on the engine, by every method that it has a credential for."""

from msgspec import Struct

from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.decision import methods_of
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import NOBODY
from tidegate_dataplane.snapshot.entries import Operation
from tidegate_operator.inquiry.calls import calls_on, identities, let_in, serves


class Grant(Struct, frozen=True, rename="camel"):
    """A consumer that is let in: how it proves itself, on which route, and the Allow rule that it needs, if any."""

    consumer: str
    methods: tuple[str, ...]
    route: str
    host: str
    rule: str


class WhoCan(Struct, frozen=True, rename="camel"):
    """`anonymous`: callers without any credential are let in too. `refused` counts consumers that are not let in."""

    model: str
    operation: Operation
    routes: int
    anonymous: bool
    granted: tuple[Grant, ...]
    refused: int


def who_can(
    runtime: Runtime, model: str, operation: Operation, *, now: float, address: str = "", host: str = ""
) -> WhoCan:
    """Try every consumer on every route that serves the model and operation (on `host` alone, when given)."""
    routes = [route for _, route in sorted(runtime.routes.items()) if serves(route, model, operation)]
    possible = (call for route in routes for call in calls_on(route, model, operation, address, host))
    # Routes that are called alike are one call: the table says which of them takes it.
    calls = list({(call.host, call.base, *sorted(call.headers.items())): call for call in possible}.values())
    admitting = [(call, _admits(runtime, call)) for call in calls]
    # A route that does not know the consumer's namespace refuses it in any case: those are most, among tenants.
    known_to = {
        namespace: [call for call, admits in admitting if admits is None or namespace in admits]
        for namespace in {consumer.namespace for consumer in runtime.consumers.values()}
    }
    granted: list[Grant] = []
    names = 0
    for key in sorted(runtime.consumers):
        consumer = runtime.consumers[key]
        found: dict[tuple[str, str], Grant] = {}
        mine = known_to[consumer.namespace]
        for call, identity, decision in let_in(runtime, mine, identities(runtime, consumer), now):
            if decision.route is None:
                continue
            place = (decision.route.key, call.host)
            known = found[place].methods if place in found else ()
            rule = str(decision.rule) if decision.rule is not None else ""
            found[place] = Grant(key, (*known, methods_of(identity)), decision.route.key, call.host, rule)
        granted += found.values()
        names += bool(found)
    return WhoCan(
        model=model,
        operation=operation,
        routes=len(routes),
        anonymous=any(True for _ in let_in(runtime, calls, (NOBODY,), now)),
        granted=tuple(granted),
        refused=len(runtime.consumers) - names,
    )


def _admits(runtime: Runtime, call: Call) -> frozenset[str] | None:
    """The namespaces that the route of a call knows; None: all."""
    claim = runtime.table.find(call.host, call.base, call.operation, call.model, call.headers)
    return frozenset() if claim is None else runtime.routes[claim[0]].admits
