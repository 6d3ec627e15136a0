"""From which use on a counter's thresholds are crossed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tidegate_dataplane.alerts.alert import alert_id, shown_scope
from tidegate_dataplane.alerts.rule import AlertRule, alert_rule, aligned_window, threshold
from tidegate_dataplane.runtime.lower_quota import lower_quota
from tidegate_dataplane.snapshot.entries import (
    Accuracy,
    CalendarPeriod,
    LimitEntry,
    OnExceed,
    QuotaEntry,
    QuotaScope,
    Source,
    Unit,
    WindowEntry,
)
from tidegate_dataplane.snapshot.limit_label import limit_label

MONTH = WindowEntry(calendar=CalendarPeriod.MONTH)


@given(st.integers(0, 9 * 10**15), st.integers(1, 1000), st.integers(0, 9 * 10**16))
def test_a_threshold_is_crossed_exactly_from_that_percent_on(amount: int, percent: int, used: int) -> None:
    assert (used >= threshold(amount, percent)) == (used > 0 and used * 100 >= amount * percent)


@pytest.mark.parametrize(
    ("limit", "label"),
    [
        (LimitEntry(Unit.TOKENS, 1, MONTH), "Tokens per Month"),
        (LimitEntry(Unit.COST, 1, WindowEntry(sliding_ms=86_400_000)), "Cost in 1d"),
        (LimitEntry(Unit.COST, 1, WindowEntry(sliding_ms=5_400_000)), "Cost in 90m"),
        (LimitEntry(Unit.REQUESTS, 1, WindowEntry(sliding_ms=1_500)), "Requests in 1500ms"),
        (LimitEntry(Unit.CONCURRENT, 1), "Concurrent"),
    ],
)
def test_a_limit_is_called_what_people_call_it(limit: LimitEntry, label: str) -> None:
    assert limit_label(replace(_quota(), limits=(limit,)), limit) == label


def test_limits_that_would_be_called_the_same_are_told_apart() -> None:
    """Fall back at one amount, block at another: their counters must not be added up."""
    limits = (
        LimitEntry(Unit.COST, 8, MONTH, OnExceed.FALLBACK),
        LimitEntry(Unit.TOKENS, 8, MONTH),
        LimitEntry(Unit.COST, 10, MONTH),
    )
    quota = replace(_quota(), limits=limits)
    labels = ["Cost per Month (limits[0])", "Tokens per Month", "Cost per Month (limits[2])"]
    assert [limit_label(quota, limit) for limit in limits] == labels
    assert [limit.terms.label for limit in lower_quota(quota).limits] == labels


def _quota(**more: Any) -> QuotaEntry:
    limit = LimitEntry(Unit.TOKENS, 1000, MONTH, alert_at=(80, 100))
    return QuotaEntry(Source("team-a", "monthly", 1), (), QuotaScope.CONSUMER, (limit,), **more)


def _id(rule: AlertRule, *, cluster: str = "eu", scope: str = "team-a/app", start: int = 0, percent: int = 80) -> str:
    return alert_id(rule, scope, start, percent, gateway="default", cluster=cluster)


def test_clusters_that_count_together_alert_together_and_others_by_themselves() -> None:
    def rule(**more: Any) -> AlertRule:
        entry = _quota(**more)
        found = alert_rule(entry, entry.limits[0], "quota team-a/monthly Tokens")
        assert found is not None
        return found

    shared, local, split = rule(accuracy=Accuracy.LEASED), rule(), rule(accuracy=Accuracy.EXACT, share=60)
    assert _id(shared, cluster="eu") == _id(shared, cluster="us")
    for alone in (local, split):
        assert _id(alone, cluster="eu") != _id(alone, cluster="us")
    others = {_id(shared, scope="team-a/b"), _id(shared, start=86400), _id(shared, percent=100), _id(shared)}
    assert len(others) == 4


def test_a_limit_without_thresholds_has_no_rule() -> None:
    entry = _quota()
    assert alert_rule(entry, LimitEntry(Unit.TOKENS, 1, MONTH), "x") is None


@given(st.floats(1.0, 366 * 86400.0), st.floats(0, 4e9))
def test_a_sliding_window_alerts_once_in_each_stretch_of_its_length(seconds: float, now: float) -> None:
    start, end = aligned_window(seconds, now)
    assert start - 1e-3 <= now <= end + 1e-3
    assert end - start == pytest.approx(seconds, abs=1e-3)


def test_a_scope_in_a_line_of_text_cannot_break_it() -> None:
    assert shown_scope("a\nERROR faked\x1b[0m") == "a�ERROR faked�[0m"
    assert len(shown_scope("x" * 10_000)) < 300
