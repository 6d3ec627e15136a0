"""Rules that look at the backend: they are asked for each target of the route, and leave out those they refuse.

A target may be used if, with its backend in view, no Deny rule matches and of every policy that has Allow rules one
does. So a Deny rule on a backend does what taking its targets from the route would do, and policies only tighten for
each target by itself. The call is refused when no target is left. Rules that do not look at the backend are asked
once.
"""

from functools import lru_cache

from msgspec import Struct

from tidegate_dataplane.engine.authorize import Ruling, Subject, matches
from tidegate_dataplane.engine.decision import Step, Verdict
from tidegate_dataplane.expressions.environment import BACKEND
from tidegate_dataplane.runtime.objects import Guard, Rule, RuleRef, Target, Tier
from tidegate_dataplane.runtime.routes import without

Groups = tuple[tuple[RuleRef, tuple[Rule, ...]], ...]


class _Questions(Struct, frozen=True, gc=False):
    """What is still open for each target: Deny rules, and policies none of whose other Allow rules matches."""

    deny: tuple[Rule, ...]
    allow: Groups


def authorize_targets(
    guard: Guard, subject: Subject, trace: list[Step] | None = None, *, shadow: bool = False
) -> Ruling:
    """The first refusal, or the rule that let in; of several targets the one that comes first in the route counts.

    Enforced rules leave in `subject.tiers` what may be used, None for all. Those of Shadow policies are asked for what
    the enforced ones left, and leave nothing there.
    """
    ruling, questions = _once(guard, subject, trace, shadow=shadow)
    tiers = subject.route.tiers if subject.tiers is None else subject.tiers
    if ruling.refused is not None or not tiers:
        return ruling
    left_out: set[Target] = set()
    refused, allowed = None, None
    for target in targets_of(tiers):
        found = _for_target(questions, subject, target, trace, shadow=shadow)
        if found.refused is not None:
            left_out.add(target)
            refused = refused or found.refused
        elif allowed is None:
            allowed = found.allowed or ruling.allowed
    if not left_out:
        return Ruling(None, allowed)
    left = without(tiers, frozenset(left_out))
    if trace is not None:
        _note_left(trace, subject, left, refused, shadow=shadow)
    if not left:
        return Ruling(refused, None)
    if not shadow:
        subject.tiers = left
    return Ruling(None, allowed)


def forbidden(guard: Guard, subject: Subject) -> bool:
    """Whether the Deny rules alone refuse: one that does not look at the backend, or some for every target."""
    if any(matches(rule, subject, None, False) for rule in guard.deny if not rule.by_target):
        return True
    rules = [rule for rule in guard.deny if rule.by_target]
    targets = targets_of(subject.route.tiers)
    return bool(rules and targets) and all(
        any(matches_with(rule, subject, target) for rule in rules) for target in targets
    )


def matches_with(rule: Rule, subject: Subject, target: Target) -> bool:
    """Whether a rule matches with the backend of a target in view."""
    _look_at(subject, target)
    return matches(rule, subject, None, False)


def _look_at(subject: Subject, target: Target) -> None:
    for view in subject.seen:
        view.variables[BACKEND] = backend_variables(target, subject.call.model)


def _once(guard: Guard, subject: Subject, trace: list[Step] | None, *, shadow: bool) -> tuple[Ruling, _Questions]:
    """What the rules say that do not look at the backend, and what they leave open."""
    nothing = _Questions((), ())
    for rule in guard.deny:
        if not rule.by_target and matches(rule, subject, trace, shadow):
            return Ruling(rule.ref, None), nothing
    allowed: RuleRef | None = None
    undecided: list[tuple[RuleRef, tuple[Rule, ...]]] = []
    for policy, rules in guard.allow:
        found = next((rule for rule in rules if not rule.by_target and matches(rule, subject, trace, shadow)), None)
        rest = tuple(rule for rule in rules if rule.by_target)
        if found is not None:
            allowed = found.ref
        elif rest:
            undecided.append((policy, rest))
        else:
            _note(trace, policy, "none of its Allow rules matches", Verdict.DENIED, shadow=shadow)
            return Ruling(policy, None), nothing
    return Ruling(None, allowed), _Questions(tuple(rule for rule in guard.deny if rule.by_target), tuple(undecided))


def _for_target(
    questions: _Questions, subject: Subject, target: Target, trace: list[Step] | None, *, shadow: bool
) -> Ruling:
    _look_at(subject, target)
    for rule in questions.deny:
        if _matches(rule, subject, target, trace, shadow=shadow):
            return Ruling(rule.ref, None)
    allowed: RuleRef | None = None
    for policy, rules in questions.allow:
        for rule in rules:
            if _matches(rule, subject, target, trace, shadow=shadow):
                allowed = rule.ref
                break
        else:
            saw = f"{_name(target)}: none of its Allow rules matches"
            _note(trace, policy, saw, Verdict.LEFT_OUT, shadow=shadow)
            return Ruling(policy, None)
    return Ruling(None, allowed)


def _matches(rule: Rule, subject: Subject, target: Target, trace: list[Step] | None, *, shadow: bool) -> bool:
    if trace is None:
        return matches(rule, subject, None, shadow)
    steps: list[Step] = []
    found = matches(rule, subject, steps, shadow)
    for step in steps:
        verdict = Verdict.LEFT_OUT if step.verdict is Verdict.DENIED else step.verdict
        saw = f"{_name(target)}: {step.saw}"
        trace.append(Step(step.stage, step.object, step.generation, step.rule, saw, verdict, step.shadow))
    return found


@lru_cache(maxsize=4096)
def backend_variables(target: Target, asked: str) -> dict[str, str]:
    """`backend` as expressions see it, for a call that asks for the model `asked`."""
    entry = target.backend.entry
    model = target.model or asked
    where = entry.location
    return {
        "name": entry.source.name,
        "namespace": entry.source.namespace,
        "provider": entry.provider.value,
        "model": model,
        "version": entry.versions.get(model, ""),
        "cloud": "" if where is None else where.cloud,
        "region": "" if where is None else where.region,
        "jurisdiction": "" if where is None else where.jurisdiction,
    }


def targets_of(tiers: tuple[Tier, ...]) -> tuple[Target, ...]:
    """All of them, tier by tier."""
    return tuple(order[0] for tier in tiers for order in tier.orders)


def _name(target: Target) -> str:
    return f"AIBackend {target.backend.key} model '{target.model or '(as asked)'}'"


def _note_left(
    trace: list[Step], subject: Subject, left: tuple[Tier, ...], refused: RuleRef | None, *, shadow: bool
) -> None:
    if left:
        saw = f"left for this call: {', '.join(map(_name, targets_of(left)))}"
        _note(trace, subject.route.ref, saw, Verdict.ACCEPTED, shadow=shadow, stage="targets")
    else:
        _note(trace, refused or subject.route.ref, "no target is left", Verdict.DENIED, shadow=shadow)


def _note(
    trace: list[Step] | None, ref: RuleRef, saw: str, verdict: Verdict, *, shadow: bool, stage: str = "authorization"
) -> None:
    if trace is not None:
        trace.append(Step(stage, f"{ref.kind} {ref.key}", ref.generation, ref.rule, saw, verdict, shadow))
