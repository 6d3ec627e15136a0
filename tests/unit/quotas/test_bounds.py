"""`status.overrunBound`: what each choice promises, in words and numbers."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate_dataplane.snapshot.entries import (
    Accuracy,
    CalendarPeriod,
    FailureMode,
    LimitEntry,
    OnExceed,
    QuotaEntry,
    QuotaScope,
    Source,
    Unit,
    WindowEntry,
)
from tidegate_operator.quotas.bounds import overrun_bound

MONTH = WindowEntry(calendar=CalendarPeriod.MONTH)
REQUESTS = LimitEntry(Unit.REQUESTS, 1000, MONTH)
COST = LimitEntry(Unit.COST, 10_500_000, MONTH)


def quota(*limits: LimitEntry, **more: Any) -> QuotaEntry:
    return QuotaEntry(Source("team-a", "monthly", 1), (), QuotaScope.CONSUMER, limits or (REQUESTS,), **more)


LOCAL, EXACT, LEASED = ({"accuracy": accuracy} for accuracy in Accuracy)
CLOSED = "0 (failureMode: Closed); more only if the store and a data plane's journal are lost together"
OPEN, SAFE = {"failure_mode": FailureMode.OPEN}, {"failure_mode": FailureMode.LOCAL}


@pytest.mark.parametrize(
    ("entry", "data_planes", "bound"),
    [
        (quota(), 0, "(data planes - 1) x amount: each counts by itself"),
        (quota(), 1, "0 with 1 data plane; 1 x amount = 1000 Requests per Month each time it restarts"),
        (
            quota(),
            3,
            "(3 - 1) x amount = 2000 Requests per Month: each of 3 data planes counts by itself; once more each time"
            " one restarts",
        ),
        (quota(share=60), 1, "0 with 1 data plane; 1 x amount = 600 Requests per Month each time it restarts"),
        (
            quota(**EXACT),
            6,
            "0 (failureMode: Closed); more only if the store and a data plane's journal are lost together",
        ),
        (
            quota(**LEASED),
            6,
            "0 (failureMode: Closed); more only if the store and a data plane's journal are lost together",
        ),
        (
            quota(**LEASED, **OPEN),
            6,
            "0 while the store can be reached; unbounded while it cannot (failureMode: Open)",
        ),
        (
            quota(COST, **EXACT, **SAFE, safe_share=50),
            6,
            "0 while the store can be reached; at most 50 % of the amount = 5.25 Cost per Month while it cannot"
            " (failureMode: Local), and one data plane's part again for each that starts meanwhile without its journal;"
            " plus what calls under way use beyond what they reserved",
        ),
        (
            quota(LimitEntry(Unit.TOKENS, 5, MONTH, OnExceed.ALERT)),
            2,
            "unbounded for Tokens per Month (onExceed: Alert)",
        ),
        (
            quota(LimitEntry(Unit.REQUESTS, 5, MONTH, OnExceed.FALLBACK), **EXACT),
            2,
            f"{CLOSED}; calls that go to fallback targets are counted beyond it",
        ),
        (
            quota(LimitEntry(Unit.REQUESTS, 5, MONTH, tier_amounts={"free": 1}), **LOCAL),
            2,
            "(2 - 1) x amount: each of 2 data planes counts by itself; once more each time one restarts",
        ),
    ],
)
def test_what_each_choice_promises(entry: QuotaEntry, data_planes: int, bound: str) -> None:
    assert overrun_bound(entry, data_planes) == bound


def test_a_limit_that_blocks_keeps_its_bound_beside_one_that_does_not() -> None:
    bound = overrun_bound(quota(REQUESTS, LimitEntry(Unit.COST, 1, MONTH, OnExceed.CHARGE), **EXACT), 2)
    assert bound.startswith("0 (failureMode: Closed)")
    assert bound.endswith("unbounded for Cost per Month (onExceed: Charge)")


def test_a_bound_fits_into_a_status() -> None:
    many = tuple(
        LimitEntry(unit, 9 * 10**15, WindowEntry(sliding_ms=ms), OnExceed.ALERT if ms % 2 else OnExceed.BLOCK)
        for unit in (Unit.TOKENS, Unit.EXPRESSION)
        for ms in range(1_234_567, 1_234_575)
    )
    assert len(overrun_bound(quota(*many), 100)) <= 1024
