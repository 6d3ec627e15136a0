"""When a trial is stopped: for what is large, not rare, and not chance."""

from __future__ import annotations

import random
from bisect import bisect_left

import pytest

from tidegate_dataplane.trial import LATENCY_BOUNDS, Tally
from tidegate_operator.release.gates import Gates, Side, interval, judge_trial, percentile

GATES = Gates()


def side(denied: dict[str, int] | None = None, *, calls: int = 100, failed: int = 0) -> Side:
    consumers = {name: Tally(served=calls - count, denied=count) for name, count in (denied or {}).items()}
    return Side(Tally(served=calls, failed=failed), consumers, ())


def latencies(seconds: float, count: int, slow: int = 0, slow_seconds: float = 0.0) -> Side:
    buckets = [0] * (len(LATENCY_BOUNDS) + 1)
    for value, many in ((seconds, count), (slow_seconds, slow)):
        buckets[bisect_left(LATENCY_BOUNDS, value)] += many
    return Side(Tally(served=count + slow), {}, tuple(buckets))


def test_one_consumer_that_is_refused_in_a_crowd_is_noticed_and_named() -> None:
    crowd = {f"team/{number}": 0 for number in range(500)}
    failure = judge_trial(
        side(crowd | {"team/victim": 12}, calls=12), side(crowd | {"team/victim": 0}, calls=36), GATES
    )
    assert failure is not None
    assert failure.gate == "DenyRate"
    assert failure.message == (
        "of AIConsumer team/victim, 12 of 12 calls were refused (401, 403) there, 0 of 36 elsewhere"
    )


def test_a_consumer_with_too_few_calls_is_named_where_all_callers_stop_it() -> None:
    trial = Side(Tally(served=9, denied=9), {"team/a": Tally(served=9), "team/victim": Tally(denied=9)}, ())
    others = Side(Tally(served=57), {"team/a": Tally(served=28), "team/victim": Tally(served=29)}, ())
    failure = judge_trial(trial, others, GATES)
    assert failure is not None
    assert failure.message == (
        "of all callers, 9 of 18 calls were refused (401, 403) there (9 of them of AIConsumer team/victim), "
        "0 of 57 elsewhere"
    )


def test_a_consumer_that_is_refused_everywhere_stops_nothing() -> None:
    assert judge_trial(side({"team/a": 90}), side({"team/a": 300}, calls=330), GATES) is None


def test_a_few_calls_prove_nothing() -> None:
    assert judge_trial(side({"team/a": 9}, calls=9), side({"team/a": 0}, calls=900), GATES) is None
    assert judge_trial(side({"team/a": 90}, calls=90), side({"team/a": 0}, calls=9), GATES) is None


@pytest.mark.parametrize(("kind", "gate"), [("failed", "ErrorRate"), ("denied", "DenyRate"), ("limited", "LimitRate")])
def test_each_kind_of_refusal_has_its_gate(kind: str, gate: str) -> None:
    mine, theirs = (Side(Tally(**{"served": 100 - bad, kind: bad})) for bad in (30, 3))
    failure = judge_trial(mine, theirs, GATES)
    assert failure is not None
    assert failure.gate == gate


def test_what_is_only_a_little_worse_passes() -> None:
    many = side(calls=10_000, failed=180)
    assert judge_trial(many, side(calls=30_000, failed=300), GATES) is None
    assert judge_trial(many, side(calls=30_000, failed=300), Gates(error_ratio=1.5)) is not None


def test_a_slow_tail_is_noticed() -> None:
    assert judge_trial(latencies(0.1, 80, 20, 1.0), latencies(0.1, 300), GATES) is not None
    assert judge_trial(latencies(0.15, 100), latencies(0.1, 300), GATES) is None
    assert judge_trial(latencies(0.1, 99, 1, 1.0), latencies(0.1, 300), GATES) is None


def test_alike_sides_are_told_apart_in_no_trial_of_twenty() -> None:
    """Sixty looks a trial at fifty consumers who are refused one call in five, everywhere."""
    draw = random.Random(7)
    stopped = 0
    for _ in range(20):
        mine, theirs = ({f"team/{n}": [0, 0] for n in range(50)} for _ in range(2))
        for _ in range(60):
            for counts, calls in ((mine, 1), (theirs, 3)):
                for pair in counts.values():
                    for _ in range(calls):
                        pair[draw.random() < 0.2] += 1
            sides = [
                Side(Tally(), {name: Tally(served=ok, denied=no) for name, (ok, no) in counts.items()}, ())
                for counts in (mine, theirs)
            ]
            if judge_trial(sides[0], sides[1], GATES) is not None:
                stopped += 1
                break
    assert stopped == 0


def test_intervals_hold_the_share_and_shrink() -> None:
    assert interval(0, 0) == (0.0, 1.0)
    low, high = interval(10, 100)
    assert low < 0.1 < high
    lower, higher = interval(1_000, 10_000)
    assert low < lower < 0.1 < higher < high


def test_percentiles_are_bounds_of_buckets() -> None:
    assert percentile([], 0.99) == 0.0
    counts = latencies(0.1, 98, 2, 5.0).latency
    assert 0.1 <= percentile(counts, 0.5) < 0.14
    assert percentile(counts, 0.99) >= 5.0
