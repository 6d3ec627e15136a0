"""What one consumer may do: every route, model and operation, tried on the engine."""

from collections.abc import Iterator

from msgspec import Struct

from tidegate_dataplane.engine.decision import methods_of
from tidegate_dataplane.engine.limits import limits_of
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import Consumer, Identity, Route
from tidegate_dataplane.snapshot.entries import Operation
from tidegate_operator.inquiry.calls import ANY, calls_on, identities, let_in, why_not


class Use(Struct, frozen=True, rename="camel"):
    """Models and operations of a route that the consumer may use, by which methods, and the limits that then count."""

    route: str
    operation: Operation
    models: tuple[str, ...]
    methods: tuple[str, ...]
    limits: tuple[str, ...]


class Closed(Struct, frozen=True, rename="camel"):
    """Models of a route that it may not use, and the step that refuses."""

    route: str
    operation: Operation
    models: tuple[str, ...]
    reason: str


class Access(Struct, frozen=True, rename="camel"):
    """All that one consumer may and may not do."""

    consumer: str
    allowed: tuple[Use, ...]
    refused: tuple[Closed, ...]


def access(runtime: Runtime, consumer: Consumer, *, now: float, address: str = "") -> Access:
    """Try the consumer on every route that names its namespace or none; others are as good as not there for it."""
    who = tuple(identities(runtime, consumer))
    allowed: dict[tuple[str, Operation, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    refused: dict[tuple[str, Operation, str], list[str]] = {}
    for _, route in sorted(runtime.routes.items()):
        for operation, model in _asked(route):
            found = _use(runtime, route, operation, model, who, now, address)
            if isinstance(found, str):
                refused.setdefault((route.key, operation, found), []).append(model)
            else:
                allowed.setdefault((route.key, operation, *found), []).append(model)
    return Access(
        consumer.key,
        tuple(
            Use(route, operation, tuple(models), methods, limits)
            for (route, operation, methods, limits), models in allowed.items()
        ),
        tuple(
            Closed(route, operation, tuple(models), reason) for (route, operation, reason), models in refused.items()
        ),
    )


def _asked(route: Route) -> Iterator[tuple[Operation, str]]:
    for operation in route.entry.operations:
        for model in route.entry.models:
            yield operation, model


def _use(
    runtime: Runtime,
    route: Route,
    operation: Operation,
    model: str,
    who: tuple[Identity, ...],
    now: float,
    address: str,
) -> tuple[tuple[str, ...], tuple[str, ...]] | str:
    """Methods and limits when it is let in, else why not."""
    if not who:
        return "it has no credential by which it could call"
    name = f"{model[:-1]}{ANY}" if model.endswith("*") else model
    calls = list(calls_on(route, name, operation, address))
    found = [one for one in let_in(runtime, calls, who, now) if one[2].route is route]
    if found:
        methods = tuple(dict.fromkeys(methods_of(identity) for _, identity, _ in found))
        limits = dict.fromkeys(str(limit) for _, _, decision in found for limit in limits_of(decision, now))
        return methods, tuple(limits)
    claim = runtime.table.find(calls[0].host, calls[0].base, operation, name, calls[0].headers)
    if claim is not None and claim[0] != route.key:
        return f"AIRoute {claim[0]} takes these calls"
    return why_not(runtime, calls[0], who[0], now)
