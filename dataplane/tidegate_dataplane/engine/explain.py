"""The explanation of a decision: the very decision that the proxy would obey, and every step that led to it."""

from msgspec import Struct
from msgspec.structs import replace

from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.decide import decide, decide_for
from tidegate_dataplane.engine.decision import Decision, Denial, Step, methods_of
from tidegate_dataplane.engine.identify import identify
from tidegate_dataplane.engine.limits import Limit, limits_of
from tidegate_dataplane.engine.remedies import MAX_EVALUATIONS, Remedy, Situation, find_remedies
from tidegate_dataplane.engine.risk import UNSEEN, Observed
from tidegate_dataplane.runtime.build import Runtime
from tidegate_dataplane.runtime.objects import NOBODY, Credential, Identity, Tier
from tidegate_dataplane.snapshot.entries import Priority


class Explanation(Struct, frozen=True, rename="camel"):
    """A decision for people and programs to read (JSON by `msgspec.json.encode`).

    Objects are written `Kind namespace/name`; keys of callers never appear. `remedies` are the smallest changes that
    would let a refused call in, when they were asked for. `plan` and `subscription` are "" where none is needed.
    `priority` says who goes first where not all can be served at once.
    """

    revision: int
    admitted: bool
    denial: Denial | None
    route: str
    consumer: str
    method: str
    allowed_by: str
    shadow: tuple[str, ...]
    targets: tuple[str, ...]
    limits: tuple[Limit, ...]
    steps: tuple[Step, ...]
    remedies: tuple[Remedy, ...] = ()
    plan: str = ""
    subscription: str = ""
    priority: Priority = Priority.NORMAL


def explain_with_remedies(
    runtime: Runtime,
    call: Call,
    now: float,
    identity: Identity | None = None,
    observed: Observed = UNSEEN,
    *,
    evaluations: int = MAX_EVALUATIONS,
) -> Explanation:
    """The same as `explain`, and for a refused call the smallest changes that would let it in.

    `evaluations` bounds how many changes are tried: each costs as much as a decision or two.
    """
    explanation = explain(runtime, call, now, identity, observed)
    if identity is None:
        found = identify(runtime, call.keys, now)
        if isinstance(found, Denial):
            return explanation  # whose key it may be is not told
        identity = found.identity if isinstance(found, Credential) else NOBODY
    remedies = find_remedies(runtime, Situation(call, identity, now), evaluations, observed)
    return replace(explanation, remedies=tuple(one.remedy for one in remedies))


def explain(
    runtime: Runtime, call: Call, now: float, identity: Identity | None = None, observed: Observed = UNSEEN
) -> Explanation:
    """What the proxy would answer, and why. Without an `identity` the call's own keys say who calls."""
    steps: list[Step] = []
    if identity is None:
        found = identify(runtime, call.keys, now)
        if not isinstance(found, Denial):
            identity = NOBODY if found is None else found.identity
    decision = (
        decide(runtime, call, now, steps)
        if identity is None
        else decide_for(runtime, call, identity, now, steps, observed)
    )
    consumer = decision.consumer
    return Explanation(
        revision=runtime.revision,
        admitted=decision.denial is None,
        denial=decision.denial,
        route=str(decision.route.ref) if decision.route else "",
        consumer=f"AIConsumer {consumer.key}" if consumer and consumer.key else "",
        method=methods_of(decision.identity),
        allowed_by=str(decision.rule) if decision.rule else "",
        shadow=tuple(str(ref) for ref in decision.shadow),
        targets=_targets(decision),
        limits=limits_of(decision, now),
        steps=tuple(steps),
        plan=decision.plan,
        subscription=f"AISubscription {decision.subscription}" if decision.subscription else "",
        priority=consumer.entry.priority if consumer else Priority.NORMAL,
    )


def _targets(decision: Decision) -> tuple[str, ...]:
    route = decision.route
    if route is None:
        return ()
    reached = route.tiers if decision.tiers is None else decision.tiers
    return (*_listed(reached), *(f"{target} fallback" for target in _listed(route.fallbacks)))


def _listed(tiers: tuple[Tier, ...]) -> tuple[str, ...]:
    return tuple(
        f"AIBackend {target.backend.key} model '{target.model or '(as asked)'}' priority {target.priority} "
        f"weight {target.weight}"
        for tier in tiers
        for target in (order[0] for order in tier.orders)
    )
