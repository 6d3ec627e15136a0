"""Whether what a trial shows is worse than what the others show over the same seconds. Pure.

A difference counts when it is large (a ratio), not rare (a least number of calls), and not chance: the Wilson score
intervals of the two shares (Wilson, JASA 22, 1927) must not overlap at 99.9 % each.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from math import sqrt

from tidegate_dataplane.trial import LATENCY_BOUNDS, NOBODY, OTHERS, Tally

_Z = 3.29
"""Two-sided 99.9 % of the normal distribution: a thousand consumers are compared, again and again."""
MIN_ANSWERS = 30
"""Fewer answers tell nothing of a 99th percentile."""


@dataclass(frozen=True, slots=True)
class Gates:
    """What is allowed. A ratio is of the trial's share to the others'; `min_requests` is for each side."""

    error_ratio: float = 2.0
    deny_ratio: float = 2.0
    latency_ratio: float = 2.0
    min_requests: int = 10


@dataclass(frozen=True, slots=True)
class Side:
    """What was counted on one side. `latency` counts answers by LATENCY_BOUNDS."""

    total: Tally = field(default_factory=Tally)
    consumers: Mapping[str, Tally] = field(default_factory=dict)
    latency: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """A gate that failed, with the figures in words."""

    gate: str
    message: str


def judge_trial(trial: Side, others: Side, gates: Gates) -> Failure | None:
    """The first gate that fails; None while all hold."""
    pairs = [("all callers", trial.total, others.total)]
    pairs += [
        (f"AIConsumer {name}", tally, others.consumers[name])
        for name, tally in sorted(trial.consumers.items())
        if name in others.consumers and name not in (NOBODY, OTHERS)
    ]
    for who, mine, theirs in reversed(pairs):
        # Of one consumer before that of all: it says more.
        for gate, verb, bad in _SHARES:
            ratio = gates.error_ratio if gate == "ErrorRate" else gates.deny_ratio
            one, other = (bad(mine), count(mine)), (bad(theirs), count(theirs))
            if _worse(one, other, ratio, gates.min_requests):
                most = _most(trial, bad, one[0]) if mine is trial.total else ""
                return Failure(
                    gate,
                    f"of {who}, {one[0]} of {one[1]} calls {verb} there{most}, {other[0]} of {other[1]} elsewhere",
                )
    return _slower(trial, others, gates)


def _most(trial: Side, bad: Callable[[Tally], int], all_bad: int) -> str:
    """Whose calls most of the bad ones are: too few to judge by, and enough to know where to look."""
    for name, tally in trial.consumers.items():
        if name not in (NOBODY, OTHERS) and 2 * bad(tally) > all_bad:
            return f" ({bad(tally)} of them of AIConsumer {name})"
    return ""


def count(tally: Tally) -> int:
    """All calls of a tally."""
    return tally.served + tally.denied + tally.limited + tally.failed


def interval(part: int, whole: int) -> tuple[float, float]:
    """The Wilson score interval of a share."""
    if whole == 0:
        return 0.0, 1.0
    share, square = part / whole, _Z * _Z
    middle = share + square / (2 * whole)
    spread = _Z * sqrt(share * (1 - share) / whole + square / (4 * whole * whole))
    width = 1 + square / whole
    return max(0.0, (middle - spread) / width), min(1.0, (middle + spread) / width)


def percentile(latency: Iterable[int], share: float) -> float:
    """The upper bound of the bucket that holds that share of all answers, in seconds; 0 without any."""
    counts = list(latency)
    wanted = share * sum(counts)
    if not wanted:
        return 0.0
    bounds = (*LATENCY_BOUNDS, LATENCY_BOUNDS[-1] * 2)
    return next(bound for bound, total in zip(bounds, accumulate(counts), strict=True) if total >= wanted)


_SHARES: tuple[tuple[str, str, Callable[[Tally], int]], ...] = (
    ("ErrorRate", "failed (5xx)", lambda tally: tally.failed),
    ("DenyRate", "were refused (401, 403)", lambda tally: tally.denied),
    ("LimitRate", "were held to a limit (429)", lambda tally: tally.limited),
)


def _worse(one: tuple[int, int], other: tuple[int, int], ratio: float, least: int) -> bool:
    if one[1] < least or other[1] < least:
        return False
    if one[0] * other[1] < ratio * other[0] * one[1]:
        return False
    return interval(*one)[0] > interval(*other)[1]


def _slower(trial: Side, others: Side, gates: Gates) -> Failure | None:
    """More than one answer in a hundred takes longer than the ratio times the others' 99th percentile."""
    least = max(gates.min_requests, MIN_ANSWERS)
    answers = sum(trial.latency)
    if answers < least or sum(others.latency) < least:
        return None
    slow = percentile(others.latency, 0.99) * gates.latency_ratio
    beyond = sum(
        each for bound, each in zip((*LATENCY_BOUNDS, float("inf")), trial.latency, strict=True) if bound > slow
    )
    if interval(beyond, answers)[0] <= 0.01:
        return None
    message = (
        f"{beyond} of {answers} answers took longer than {slow:.3g} s there; the 99th percentile elsewhere is "
        f"{percentile(others.latency, 0.99):.3g} s"
    )
    return Failure("Latency", message)
