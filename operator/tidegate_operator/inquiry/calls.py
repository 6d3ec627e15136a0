"""The calls that the routes of a Runtime take, and who may make them: what `who-can` and `access` try out."""

from collections.abc import Iterable, Iterator

from tidegate_dataplane.engine.assume import CannotAssume, assume, methods_of_consumer
from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.decide import decide_for
from tidegate_dataplane.engine.decision import Decision, Step
from tidegate_dataplane.engine.explain_text import deciding
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import Consumer, Identity, Names, Route
from tidegate_dataplane.snapshot.entries import Method, Operation

ANY = "any"
"""What stands in the place of a `*`: a model `gpt-*` is tried as `gpt-any`, a host `*.example.com` as
`any.example.com`."""


def identities(runtime: Runtime, consumer: Consumer) -> Iterator[Identity]:
    """The consumer, once for each method for which it has a credential, and once with all of them together."""
    own = methods_of_consumer(consumer)
    together = [own] if len(own) > 1 and not {Method.JWT, Method.INTROSPECTION} <= set(own) else []
    for methods in [*((method,) for method in own), *together]:
        try:
            yield assume(runtime, consumer, methods)
        except CannotAssume:
            continue


def calls_on(route: Route, model: str, operation: Operation, address: str, host: str = "") -> Iterator[Call]:
    """How a route is called: on each of its hosts (or on `host` alone), under its path, with its headers."""
    entry = route.entry
    base = entry.path_prefix.rstrip("/") or "/"
    hosts = (host,) if host else tuple(one.replace("*", ANY, 1) for one in entry.hostnames) or ("",)
    for one in hosts:
        yield Call(
            host=one,
            path=base,
            base=base,
            operation=operation,
            model=model,
            headers=dict(entry.headers),
            address=address,
            peer=address,
            prompt_tokens=1,
        )


def serves(route: Route, model: str, operation: Operation) -> bool:
    """Whether a route names the model and the operation."""
    entry = route.entry
    return operation in entry.operations and Names(entry.models).match(model)


def why_not(runtime: Runtime, call: Call, identity: Identity, now: float) -> str:
    """The deciding step of a refusal, in one line."""
    steps: list[Step] = []
    decision = decide_for(runtime, call, identity, now, steps)
    return deciding(steps, decision.denial)


def let_in(
    runtime: Runtime, calls: Iterable[Call], identities: Iterable[Identity], now: float
) -> Iterator[tuple[Call, Identity, Decision]]:
    """Those of all combinations that the engine lets in."""
    who = tuple(identities)
    for call in calls:
        for identity in who:
            decision = decide_for(runtime, call, identity, now)
            if decision.denial is None:
                yield call, identity, decision
