"""An explanation as text: the same words in the terminal, from `/-/explain` and, in one line, in the audit log."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from tidegate_dataplane.engine.decision import Denial, Step, Verdict
from tidegate_dataplane.engine.explain import Explanation
from tidegate_dataplane.engine.limits import Limit
from tidegate_dataplane.snapshot.entries import Priority

Places = Callable[[str, str], str]
"""From an object (`AIPolicy team-a/chat`) and a rule, section or field (`spec.limits[1]`) of it to where it stands
(`policies.yaml:12`); "" when that is not known."""

MAX_LINE: Final = 512
_WORDS: Final = {
    Verdict.ACCEPTED: "ok",
    Verdict.DENIED: "DENIED",
    Verdict.NO_MATCH: "no match",
    Verdict.ERROR: "error",
    Verdict.LEFT_OUT: "left out",
}


def render(explanation: Explanation, places: Places | None = None) -> str:
    """The whole explanation, lines without an end of line at the end. `places` adds file and line to each object."""
    find = places or _nowhere
    blocks = [
        [_headline(explanation), *_context(explanation)],
        _titled("steps, in the order evaluated:", _steps(explanation.steps, find)),
        _titled("limits that count this call:", (_limit(one, find) for one in explanation.limits)),
        _titled("targets, in the order of their tiers:", explanation.targets if explanation.admitted else ()),
        _titled("shadow policies that would refuse it:", explanation.shadow),
        _titled("to allow this call:", (f"- {one}" for one in explanation.remedies)),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def deciding(steps: Sequence[Step], denial: Denial | None = None) -> str:
    """The step that decided, in one line of at most MAX_LINE characters: `why` in the audit log."""
    step = _decisive(steps)
    if step is None:
        return "" if denial is None else _cut(f"{denial.status} {denial.code}: {denial.message}")
    return _cut(": ".join(part for part in (step.stage, _name(step), step.saw + _rules_of(step, steps)) if part))


def _name(step: Step) -> str:
    """E.g. `AIPolicy team-a/chat rule no-nights`; what a consumer calls by are its credentials."""
    if not (step.object and step.rule):
        return step.object or step.rule
    return f"{step.object} {'credential' if step.object.startswith('AIConsumer ') else 'rule'} {step.rule}"


def _rules_of(step: Step, steps: Sequence[Step]) -> str:
    """Where a whole object refused because no rule of it matched: what each of them saw."""
    if step.rule:
        return ""
    missed = (Verdict.NO_MATCH, Verdict.ERROR)
    # Deny rules that do not match are no reason for a refusal, but they say "is false" of themselves.
    seen = [
        f"{one.rule}: {one.saw}"
        for one in steps
        if one.rule
        and one.verdict in missed
        and (one.object, one.stage, one.shadow) == (step.object, step.stage, False)
    ]
    return f" ({'; '.join(seen)})" if seen else ""


def _decisive(steps: Sequence[Step]) -> Step | None:
    """The last step that refused, else the last that let in."""
    obeyed = [step for step in steps if not step.shadow]
    for wanted in (Verdict.DENIED, Verdict.ERROR, Verdict.ACCEPTED):
        for step in reversed(obeyed):
            if step.verdict is wanted:
                return step
    return None


def _headline(explanation: Explanation) -> str:
    denial = explanation.denial
    if denial is None:
        return f"ALLOWED by {explanation.allowed_by}" if explanation.allowed_by else "ALLOWED: nothing refuses it"
    why = deciding(explanation.steps, denial)
    return f"DENIED {denial.status} {denial.code}: {why}"


def _context(explanation: Explanation) -> Iterator[str]:
    who = explanation.consumer or "nobody in particular"
    how = f" by {explanation.method}" if explanation.method else ""
    urgency = f", priority {explanation.priority}" if explanation.priority is not Priority.NORMAL else ""
    yield f"  caller    {who}{how}{urgency}"
    if explanation.route:
        yield f"  route     {explanation.route}"
    if explanation.subscription:
        yield f"  plan      {explanation.plan} by {explanation.subscription}"
    if explanation.denial is not None:
        yield f"  told      {explanation.denial.message}"
    yield f"  revision  {explanation.revision}"


def _steps(steps: Sequence[Step], find: Places) -> Iterator[str]:
    width = max((len(step.stage) for step in steps), default=0)
    for number, step in enumerate(steps, start=1):
        name = _name(step)
        generation = f" (generation {step.generation})" if step.generation else ""
        shadow = " [shadow: not obeyed]" if step.shadow else ""
        head = f"{number:>2}. {step.stage:<{width}}  {_WORDS[step.verdict]:<8}"
        yield f"{head}  {name}{generation}{shadow}".rstrip()
        yield f"{' ' * (width + 6)}{step.saw}{_at(find(step.object, step.rule or step.stage))}"


def _limit(limit: Limit, find: Places) -> str:
    return f"{limit}{_at(find(limit.object, limit.field or limit.name))}"


def _titled(title: str, lines: Iterable[str]) -> list[str]:
    body = [f"  {line}" for line in lines]
    return [title, *body] if body else []


def _at(place: str) -> str:
    return f"  ({place})" if place else ""


def _nowhere(object: str, rule: str) -> str:
    return ""


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 1]}…"
