"""The decision about a call: pure, the same for the proxy and for `explain`.

The order is the one that tells a caller least: who is it, which route, may its namespace know the route, is the route
in order, is its way of authentication accepted, may calls come from its address, has it subscribed, do the rules let
it in, is there a backend. Whether its key has leaked comes before all that the route says.
"""

from tidegate_dataplane.engine import denials
from tidegate_dataplane.engine.admit import demands
from tidegate_dataplane.engine.authorize import Subject, authorize, subject_of
from tidegate_dataplane.engine.by_target import authorize_targets
from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.decision import Decision, Denial, Step, Verdict
from tidegate_dataplane.engine.gates import first_closed, passes, proven_for
from tidegate_dataplane.engine.identify import identify
from tidegate_dataplane.engine.network import leaked, note_leaks, note_networks, refused
from tidegate_dataplane.engine.risk import UNSEEN, UNWEIGHED, Observed, weigh
from tidegate_dataplane.engine.subscribe import unsubscribed
from tidegate_dataplane.runtime.build import Runtime
from tidegate_dataplane.runtime.objects import NOBODY, Guard, Identity, RuleRef

_NO_SHADOW: tuple[RuleRef, ...] = ()


def decide(runtime: Runtime, call: Call, now: float, trace: list[Step] | None = None) -> Decision:
    """Let the call in, or say why not. `now` is in seconds since the epoch; `trace` collects what was looked at.

    Identifies by the API keys of the call alone; a caller that has proved itself otherwise goes to `decide_for`.
    """
    found = identify(runtime, call.keys, now)
    if isinstance(found, Denial):
        _note(trace, "identity", None, found.message, Verdict.DENIED)
        return Decision(found)
    return decide_for(runtime, call, NOBODY if found is None else found.identity, now, trace)


def decide_for(
    runtime: Runtime,
    call: Call,
    identity: Identity,
    now: float,
    trace: list[Step] | None = None,
    observed: Observed = UNSEEN,
) -> Decision:
    """The rest of `decide`, for a caller that is identified (or NOBODY); the proxy asks that before it reads the
    body. `observed` is what was seen of callers before, for policies that weigh risk."""
    consumer = identity.consumer
    if trace is not None:
        _note_identity(trace, identity)
    if consumer.entry.suspended:
        _note(trace, "identity", None, "the consumer is suspended", Verdict.DENIED)
        return Decision(denials.SUSPENDED, None, consumer, identity)
    claim = runtime.table.find(call.host, call.base, call.operation, call.model, call.headers)
    if claim is None:
        saw = f"no route claims {call.operation} of '{call.model}' on host '{call.host}' under '{call.base}'"
        _note(trace, "route", None, saw, Verdict.DENIED)
        missing = denials.NO_KEY if identity is NOBODY else denials.model_not_found(call.model)
        return Decision(missing, None, consumer, identity)
    route = runtime.routes[claim[0]]
    if trace is not None:
        saw = f"claims {call.operation} of '{call.model}' as '{claim[1]}'"
        _note(trace, "route", route.ref, saw, Verdict.ACCEPTED)
    subject = subject_of(runtime, call, route, identity, now)
    identity, consumer = subject.identity, subject.consumer
    denial, allowed = judge(subject, trace)
    if denial is not None:
        return Decision(denial, route, consumer, identity, subscribed=subject.subscription)
    weighed = weigh(subject, observed, trace) if route.guard.risks else UNWEIGHED
    if weighed.denial is not None:
        return Decision(weighed.denial, route, consumer, identity, risk=weighed.risk, subscribed=subject.subscription)
    shadow = _NO_SHADOW if route.shadow is None else _shadow(route.shadow, subject, observed, trace)
    subscribed = subject.subscription
    wanted = demands(runtime, subject, None if subscribed is None else subscribed.plan)
    risk, grant = weighed.risk, weighed.grant
    return Decision(None, route, consumer, identity, allowed, shadow, wanted, risk, grant, subscribed, subject.tiers)


def judge(subject: Subject, trace: list[Step] | None = None) -> tuple[Denial | None, RuleRef | None]:
    """Whether a known caller may use a known route: why not, or the Allow rule that let it in."""
    route = subject.route
    denial = _leak(subject, trace) if route.guard.leaks else None
    denial = denial or _entrance(subject, trace)
    if denial is None and route.guard.networks:
        denial = _distance(subject, trace)
    if denial is None and route.subscriptions is not None:
        denial = unsubscribed(subject, route.subscriptions, trace)
    if denial is not None:
        return denial, None
    by_target = route.guard.by_target
    ruling = authorize_targets(route.guard, subject, trace) if by_target else authorize(route.guard, subject, trace)
    if ruling.refused is not None:
        return denials.forbidden(ruling.refused), None
    if not route.tiers:
        _note(trace, "targets", route.ref, "no target has a weight and a known backend", Verdict.DENIED)
        return denials.backend_unavailable(route), None
    return None, ruling.allowed


def _leak(subject: Subject, trace: list[Step] | None) -> Denial | None:
    """A leaked key or token comes no further than an unknown one."""
    leaks = subject.route.guard.leaks
    if trace is not None:
        note_leaks(trace, leaks, subject.identity, subject.lists)
    found = leaked(leaks, subject.identity, subject.lists)
    return None if found is None else denials.leaked_key(found.ref)


def _distance(subject: Subject, trace: list[Step] | None) -> Denial | None:
    """Whether the attached policies let in calls from where the caller is."""
    networks, address = subject.route.guard.networks, subject.call.address
    if trace is not None:
        note_networks(trace, networks, address, subject.lists)
    found = refused(networks, address, subject.lists)
    return None if found is None else denials.address_not_allowed(found.ref)


def _entrance(subject: Subject, trace: list[Step] | None) -> Denial | None:
    """What must hold before any rule is asked; a caller without a key or of another namespace learns nothing."""
    route, identity = subject.route, subject.identity
    guard = route.guard
    closed = first_closed(guard, identity)
    accepted = closed is None and bool(guard.gates)
    if identity is NOBODY:
        if not accepted:
            _note_gates(trace, guard, identity)
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
    if route.too_costly:
        saw = f"the expressions of its policies may cost {route.too_costly} units in all"
        _note(trace, "availability", route.ref, saw, Verdict.DENIED)
        return denials.policy_too_costly(route)
    _note_gates(trace, guard, identity)
    return None if accepted else denials.method_not_accepted(closed)


def _shadow(guard: Guard, subject: Subject, observed: Observed, trace: list[Step] | None) -> tuple[RuleRef, ...]:
    """What the Shadow policies would have refused by, had they been enforced."""
    identity, address, lists = subject.identity, subject.call.address, subject.lists
    if trace is not None:
        note_leaks(trace, guard.leaks, identity, lists, shadow=True)
    _note_gates(trace, guard, identity, shadow=True)
    if trace is not None:
        note_networks(trace, guard.networks, address, lists, shadow=True)
    rule = authorize_targets if guard.by_target else authorize
    ruled_out = rule(guard, subject, trace, shadow=True).refused
    found = (
        leaked(guard.leaks, identity, lists) if guard.leaks else None,
        refused(guard.networks, address, lists) if guard.networks else None,
    )
    refusals = [
        RuleRef(gate.ref.kind, gate.ref.key, gate.ref.generation, "authentication")
        for gate in guard.gates
        if not passes(gate, guard, identity)
    ]
    refusals += [one.ref for one in found if one is not None]
    too_risky = weigh(subject, observed, trace, shadow=True).denial if guard.risks else None
    if too_risky is not None and too_risky.rule is not None:
        refusals.append(too_risky.rule)
    return tuple(refusals) if ruled_out is None else (*refusals, ruled_out)


def _note_identity(trace: list[Step], identity: Identity) -> None:
    consumer = identity.consumer
    if identity is NOBODY:
        _note(trace, "identity", None, "no credential was given", Verdict.ACCEPTED)
        return
    who = RuleRef("AIConsumer", consumer.key, consumer.entry.source.generation, ", ".join(identity.names))
    _note(trace, "identity", who, f"proved by {' and '.join(sorted(identity.methods))}", Verdict.ACCEPTED)


def _note_gates(trace: list[Step] | None, guard: Guard, identity: Identity, *, shadow: bool = False) -> None:
    if trace is None:
        return
    for gate in guard.gates:
        verdict = Verdict.ACCEPTED if passes(gate, guard, identity) else Verdict.DENIED
        proven = " and ".join(sorted(proven_for(gate, guard, identity))) or "nothing that counts here"
        _note(trace, "authentication", gate.ref, f"needs {gate.needs}; proved: {proven}", verdict, shadow=shadow)
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
