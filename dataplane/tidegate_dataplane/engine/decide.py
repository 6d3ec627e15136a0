"""The decision about a call: pure, the same for the proxy and for `explain`.

The order is the one that tells a caller least: who is it, which route, may its namespace know the route, is the route
in order, is its way of authentication accepted, do the rules let it in, is there a backend.
"""

from tidegate_dataplane.engine import denials
from tidegate_dataplane.engine.admit import demands
from tidegate_dataplane.engine.authorize import Subject, authorize
from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.decision import Decision, Denial, Step, Verdict
from tidegate_dataplane.engine.identify import identify
from tidegate_dataplane.runtime.build import Runtime
from tidegate_dataplane.runtime.objects import ANONYMOUS, Consumer, Guard, Route, RuleRef
from tidegate_dataplane.snapshot.entries import Method


def decide(runtime: Runtime, call: Call, now: float, trace: list[Step] | None = None) -> Decision:
    """Let the call in, or say why not. `now` is in seconds since the epoch; `trace` collects what was looked at."""
    found = identify(runtime, call.keys, now)
    if isinstance(found, Denial):
        return _refused(found, None, None, None, trace, "identity")
    method, consumer = (Method.ANONYMOUS, ANONYMOUS) if found is None else (Method.API_KEY, found.consumer)
    if trace is not None:
        trace.append(_who(found.name if found else "", consumer))
    return admit(runtime, call, now, method, consumer, trace)


def admit(
    runtime: Runtime, call: Call, now: float, method: Method, consumer: Consumer, trace: list[Step] | None = None
) -> Decision:
    """`decide` for a caller that is known already."""
    claim = runtime.table.find(call.host, call.base, call.operation, call.model, call.headers)
    if claim is None:
        unknown = denials.model_not_found(call.model) if method is Method.API_KEY else denials.NO_KEY
        return _refused(unknown, None, consumer, method, trace, "route")
    route = runtime.routes[claim[0]]
    if trace is not None:
        saw = f"claims {call.operation} of '{call.model}' as '{claim[1]}'"
        trace.append(Step("route", str(route.ref), route.ref.generation, "", saw, Verdict.ACCEPTED))
    denial = _entrance(route, call, method, consumer)
    if denial is not None:
        return _refused(denial, route, consumer, method, trace, "entrance")
    subject = Subject(call, route, consumer, now)
    ruling = authorize(route.guard, subject, trace)
    if ruling.refused is not None:
        return Decision(denials.forbidden(ruling.refused), route, consumer, method)
    if not route.tiers:
        return _refused(denials.backend_unavailable(route), route, consumer, method, trace, "targets")
    shadow = () if route.shadow is None else _shadow(route.shadow, subject, method, trace)
    wanted = demands(runtime, route, consumer, call.address)
    return Decision(None, route, consumer, method, ruling.allowed, shadow, wanted)


def _entrance(route: Route, call: Call, method: Method, consumer: Consumer) -> Denial | None:
    """What must hold before any rule is asked; a caller without a key or of another namespace learns nothing."""
    methods = route.guard.methods
    if method is Method.ANONYMOUS:
        if methods is None or Method.ANONYMOUS not in methods:
            return denials.NO_KEY
        return denials.policy_unavailable(route) if route.unavailable else None
    if route.admits is not None and consumer.namespace not in route.admits:
        return denials.model_not_found(call.model)
    if route.unavailable:
        return denials.policy_unavailable(route)
    if methods is None or method not in methods:
        return denials.method_not_accepted(_closed_gate(route.guard, method))
    return None


def _closed_gate(guard: Guard, method: Method) -> RuleRef | None:
    return next((gate.ref for gate in guard.gates if method not in gate.methods), None)


def _shadow(guard: Guard, subject: Subject, method: Method, trace: list[Step] | None) -> tuple[RuleRef, ...]:
    """What the Shadow policies would have refused by, had they been enforced."""
    refusals = [
        RuleRef(gate.ref.kind, gate.ref.key, gate.ref.generation, "authentication")
        for gate in guard.gates
        if method not in gate.methods
    ]
    if trace is not None:
        trace.extend(
            Step("authentication", f"{ref.kind} {ref.key}", ref.generation, "", f"{method}", Verdict.DENIED, True)
            for ref in refusals
        )
    refused = authorize(guard, subject, trace, shadow=True).refused
    return tuple(refusals) if refused is None else (*refusals, refused)


def _who(key: str, consumer: Consumer) -> Step:
    if consumer is ANONYMOUS:
        return Step("identity", "", 0, "", "no API key was given", Verdict.ACCEPTED)
    generation = consumer.entry.source.generation
    return Step("identity", f"AIConsumer {consumer.key}", generation, key, "its API key was given", Verdict.ACCEPTED)


def _refused(
    denial: Denial,
    route: Route | None,
    consumer: Consumer | None,
    method: Method | None,
    trace: list[Step] | None,
    stage: str,
) -> Decision:
    if trace is not None:
        rule = denial.rule
        about = f"{rule.kind} {rule.key}" if rule else str(route.ref) if route else ""
        generation = rule.generation if rule else route.ref.generation if route else 0
        trace.append(Step(stage, about, generation, rule.rule if rule else "", denial.message, Verdict.DENIED))
    return Decision(denial, route, consumer, method)
