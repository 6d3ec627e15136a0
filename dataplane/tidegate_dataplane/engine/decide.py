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
from tidegate_dataplane.runtime.objects import ANONYMOUS, Credential, Guard, RuleRef
from tidegate_dataplane.snapshot.entries import Method

_NO_SHADOW: tuple[RuleRef, ...] = ()


def decide(runtime: Runtime, call: Call, now: float, trace: list[Step] | None = None) -> Decision:
    """Let the call in, or say why not. `now` is in seconds since the epoch; `trace` collects what was looked at."""
    found = identify(runtime, call.keys, now)
    if isinstance(found, Denial):
        _note(trace, "identity", None, found.message, Verdict.DENIED)
        return Decision(found)
    return decide_for(runtime, call, found, now, trace)


def decide_for(
    runtime: Runtime, call: Call, found: Credential | None, now: float, trace: list[Step] | None = None
) -> Decision:
    """The rest of `decide`, for a caller that `identify` has found (None: nobody); the proxy asks that before it reads
    the body."""
    method, consumer = (Method.ANONYMOUS, ANONYMOUS) if found is None else (Method.API_KEY, found.consumer)
    if trace is not None:
        who = RuleRef("AIConsumer", consumer.key, consumer.entry.source.generation, found.name) if found else None
        _note(trace, "identity", who, "its API key was given" if found else "no API key was given", Verdict.ACCEPTED)
    claim = runtime.table.find(call.host, call.base, call.operation, call.model, call.headers)
    if claim is None:
        saw = f"no route claims {call.operation} of '{call.model}' on host '{call.host}' under '{call.base}'"
        _note(trace, "route", None, saw, Verdict.DENIED)
        missing = denials.NO_KEY if found is None else denials.model_not_found(call.model)
        return Decision(missing, None, consumer, method)
    route = runtime.routes[claim[0]]
    if trace is not None:
        saw = f"claims {call.operation} of '{call.model}' as '{claim[1]}'"
        _note(trace, "route", route.ref, saw, Verdict.ACCEPTED)
    subject = Subject(call, route, consumer, now)
    denial, allowed = judge(subject, method, trace)
    if denial is not None:
        return Decision(denial, route, consumer, method)
    shadow = _NO_SHADOW if route.shadow is None else _shadow(route.shadow, subject, method, trace)
    wanted = demands(runtime, route, consumer, call.address)
    return Decision(None, route, consumer, method, allowed, shadow, wanted)


def judge(subject: Subject, method: Method, trace: list[Step] | None = None) -> tuple[Denial | None, RuleRef | None]:
    """Whether a known caller may use a known route: why not, or the Allow rule that let it in."""
    denial = _entrance(subject, method, trace)
    if denial is not None:
        return denial, None
    route = subject.route
    ruling = authorize(route.guard, subject, trace)
    if ruling.refused is not None:
        return denials.forbidden(ruling.refused), None
    if not route.tiers:
        _note(trace, "targets", route.ref, "no target has a weight and a known backend", Verdict.DENIED)
        return denials.backend_unavailable(route), None
    return None, ruling.allowed


def _entrance(subject: Subject, method: Method, trace: list[Step] | None) -> Denial | None:
    """What must hold before any rule is asked; a caller without a key or of another namespace learns nothing."""
    route = subject.route
    methods = route.guard.methods
    accepted = methods is not None and method in methods
    if method is Method.ANONYMOUS:
        if not accepted:
            _note_gates(trace, route.guard, method)
            return denials.NO_KEY
    elif route.admits is not None and subject.consumer.namespace not in route.admits:
        if trace is not None:
            saw = f"admits consumers of {', '.join(sorted(route.admits))}, not of {subject.consumer.namespace}"
            _note(trace, "namespace", route.ref, saw, Verdict.DENIED)
        return denials.model_not_found(subject.call.model)
    if route.unavailable:
        what = route.unavailable[0]
        _note(trace, "availability", RuleRef(what.kind, what.key, 0), "it was never valid", Verdict.DENIED)
        return denials.policy_unavailable(route)
    _note_gates(trace, route.guard, method)
    if not accepted:
        return denials.method_not_accepted(next((g.ref for g in route.guard.gates if method not in g.methods), None))
    return None


def _shadow(guard: Guard, subject: Subject, method: Method, trace: list[Step] | None) -> tuple[RuleRef, ...]:
    """What the Shadow policies would have refused by, had they been enforced."""
    _note_gates(trace, guard, method, shadow=True)
    refused = authorize(guard, subject, trace, shadow=True).refused
    refusals = [
        RuleRef(gate.ref.kind, gate.ref.key, gate.ref.generation, "authentication")
        for gate in guard.gates
        if method not in gate.methods
    ]
    return tuple(refusals) if refused is None else (*refusals, refused)


def _note_gates(trace: list[Step] | None, guard: Guard, method: Method, *, shadow: bool = False) -> None:
    if trace is None:
        return
    for gate in guard.gates:
        verdict = Verdict.ACCEPTED if method in gate.methods else Verdict.DENIED
        saw = f"{method} is {'' if method in gate.methods else 'not '}among {', '.join(sorted(gate.methods))}"
        _note(trace, "authentication", gate.ref, saw, verdict, shadow=shadow)
    if not guard.gates and not shadow:
        _note(trace, "authentication", None, "no attached policy has an authentication section", Verdict.DENIED)


def _note(
    trace: list[Step] | None, stage: str, ref: RuleRef | None, saw: str, verdict: Verdict, *, shadow: bool = False
) -> None:
    if trace is None:
        return
    if ref is None:
        trace.append(Step(stage, "", 0, "", saw, verdict, shadow))
    else:
        trace.append(Step(stage, f"{ref.kind} {ref.key}", ref.generation, ref.rule, saw, verdict, shadow))
