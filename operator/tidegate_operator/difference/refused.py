"""Objects that stop being accepted, or refer to what is no longer there, in the compiler's words."""

from collections.abc import Iterable, Iterator

from tidegate_operator.difference.effect import Refusal
from tidegate_operator.difference.sides import Sides
from tidegate_operator.problems import Problem
from tidegate_operator.verdicts import Finding, Reason, Verdict


def refusals(sides: Sides) -> tuple[Refusal, ...]:
    """What is wrong with NEW and was not with OLD."""
    return tuple(_refusals(sides))


def _refusals(sides: Sides) -> Iterator[Refusal]:
    old = sides.old.compiled.verdicts
    for key, verdict in sorted(sides.new.compiled.verdicts.items()):
        former = old.get(key)
        if former is not None and former.errors == verdict.errors and former.unresolved == verdict.unresolved:
            continue
        for finding in _fresh(verdict.errors, former.errors if former else ()):
            serves = "LastGoodForm" if key in sides.new.compiled.served.entries else "Nothing"
            yield Refusal(str(key), finding.field, str(finding.reason), finding.message, serves)
        for finding in _fresh(verdict.unresolved, former.unresolved if former else ()):
            # The operator makes such keys, once there is one.
            if finding.reason is not Reason.KEY_NOT_ISSUED:
                yield Refusal(str(key), finding.field, str(finding.reason), finding.message, "Rest")


def _fresh(now: Iterable[Finding], before: Iterable[Finding]) -> Iterator[Finding]:
    known = set(before)
    return (finding for finding in now if finding not in known)


def accepted_again(sides: Sides) -> tuple[str, ...]:
    """Objects that OLD has refused and NEW does not, or no longer has."""
    old, new = sides.old.compiled.verdicts, sides.new.compiled.verdicts
    return tuple(str(key) for key, verdict in sorted(old.items()) if verdict.errors and _accepted(new.get(key)))


def _accepted(verdict: Verdict | None) -> bool:
    return verdict is not None and not verdict.errors


def unreadable(old: Iterable[Problem], new: Iterable[Problem]) -> tuple[Refusal, ...]:
    """Files and documents of NEW that cannot be read, as far as the same was not so in OLD. Paths as within a side."""
    known = {_words(problem) for problem in old}
    fresh = (problem for problem in new if _words(problem) not in known)
    return tuple(
        Refusal(f"{problem.file}:{problem.line}", problem.field, problem.reason, problem.text, _instead(problem))
        for problem in fresh
    )


def _instead(problem: Problem) -> str:
    # Of two objects with one identity the first counts.
    return "Rest" if problem.reason == "Duplicate" else "Nothing"


def _words(problem: Problem) -> tuple[str, str, str, str]:
    return problem.file, problem.object, problem.field, problem.text
