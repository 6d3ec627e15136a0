"""Running cases: each is a question to the engine, and its answer is held against what is expected. Pure."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from msgspec import UNSET

from tidegate_dataplane.engine.catalogue import models_for, visible_models
from tidegate_dataplane.engine.explain import Explanation
from tidegate_dataplane.engine.explain_text import deciding
from tidegate_dataplane.proxy.explain import ExplainQuestion, answer, read_question
from tidegate_dataplane.runtime import Runtime
from tidegate_operator.policytests.format import ExpectPart
from tidegate_operator.policytests.reading import Case


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a case: `differences` say what is not as expected; `explanation` is None when it could not be
    asked, and then `differences` say why."""

    case: Case
    differences: tuple[str, ...]
    explanation: Explanation | None
    seconds: float

    @property
    def passed(self) -> bool:
        return not self.differences


def run_case(runtime: Runtime, case: Case) -> Result:
    """Ask, and compare."""
    started = time.perf_counter()
    try:
        explanation = answer(runtime, case.question)
        listed = case.expect.listed is not UNSET and _is_listed(runtime, case.question)
    except ValueError as error:
        return Result(case, (str(error),), None, time.perf_counter() - started)
    differences = (
        *_differences(case.expect, explanation),
        *_same("listed", case.expect.listed, listed),
    )
    return Result(case, differences, explanation, time.perf_counter() - started)


def _is_listed(runtime: Runtime, question: ExplainQuestion) -> bool:
    """Whether the answer to `GET /models` would hold the model."""
    now, call, identity = read_question(runtime, question)
    found = visible_models(runtime, call, now) if identity is None else models_for(runtime, call, identity, now)
    return isinstance(found, list) and question.model in found


def _differences(expect: ExpectPart, found: Explanation) -> Iterator[str]:
    denial = found.denial
    if expect.allowed is not UNSET and expect.allowed is not found.admitted:
        yield f"expected it to be {'allowed' if expect.allowed else 'refused'}, it is {_outcome(found)}"
    yield from _same("status", expect.status, 200 if denial is None else denial.status)
    yield from _same("code", expect.code, "" if denial is None else denial.code)
    rule = found.allowed_by if denial is None else str(denial.rule or "")
    yield from _same("rule", expect.rule, rule)
    yield from _same("route", _named(expect.route, "AIRoute"), found.route)
    yield from _same("consumer", _named(expect.consumer, "AIConsumer"), found.consumer)
    why = deciding(found.steps, denial)
    yield from _within("reason", (expect.reason,), (why if denial is None else f"{denial.message} {why}",))
    yield from _within("remedy", (expect.remedy,), [str(one) for one in found.remedies])
    yield from _within("limits", expect.limits, [str(one) for one in found.limits])
    yield from _within("targets", expect.targets, found.targets)
    yield from _within("shadow", expect.shadow, found.shadow)


def _outcome(found: Explanation) -> str:
    return "allowed" if found.denial is None else f"refused with {found.denial.status} {found.denial.code}"


def _same(what: str, wanted: object, got: object) -> Iterator[str]:
    if wanted is not UNSET and wanted != got:
        yield f"expected {what} {wanted!r}, got {got!r}"


def _named(wanted: object, kind: str) -> object:
    """`team-a/chat` stands for `AIRoute team-a/chat`."""
    return f"{kind} {wanted}" if isinstance(wanted, str) and wanted and " " not in wanted else wanted


def _within(what: str, wanted: object, texts: Iterable[str]) -> Iterator[str]:
    known = list(texts)
    for text in wanted if isinstance(wanted, tuple) else ():
        if text is not UNSET and not any(text in one for one in known):
            yield f"expected {what} with {text!r}, got {'; '.join(known) or 'none'}"
