"""What a Quota's status tells, from what several data planes say."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tidegate_dataplane.snapshot.entries import (
    Accuracy,
    CalendarPeriod,
    LimitEntry,
    QuotaEntry,
    QuotaScope,
    Source,
    Unit,
    WindowEntry,
)
from tidegate_operator.conditions import ObjectStatus, parse_status, status_body
from tidegate_operator.quotas.amounts import shown_amount
from tidegate_operator.quotas.figures import FullCounter, QuotaFigures, Told, quota_figures
from tidegate_operator.quotas.pages import LimitPage, Row, StorePage

RESETS = 1_800_000_000
LABEL = "Tokens per Month"


def quota(accuracy: Accuracy = Accuracy.LEASED, unit: Unit = Unit.TOKENS) -> QuotaEntry:
    limit = LimitEntry(unit, 1000, WindowEntry(calendar=CalendarPeriod.MONTH))
    return QuotaEntry(Source("team-a", "monthly", 1), (), QuotaScope.CONSUMER, (limit,), accuracy=accuracy)


def limit(
    *rows: Row, accuracy: str = "Leased", label: str = LABEL, unit: str = "Tokens", counters: int = 0
) -> LimitPage:
    return LimitPage("team-a/monthly", label, unit, accuracy, counters or len(rows), rows)


def local(*rows: Row) -> LimitPage:
    return limit(*rows, accuracy="Local")


def row(scope: str, used: int, amount: int = 1000, resets: int = RESETS) -> Row:
    return Row(scope, used, amount, resets)


def told(*limits: LimitPage, stores: tuple[StorePage, ...] = (), planes: int = 2) -> Told:
    return Told(limits, stores, planes, len(stores) or planes)


def test_of_a_shared_counter_the_highest_total_is_the_newest() -> None:
    figures = quota_figures(quota(), told(limit(row("a", 700)), limit(row("a", 650), row("b", 1))))
    assert [(counter.scope, counter.used, counter.percent) for counter in figures.top] == [
        ("a", "700", 70),
        ("b", "1", 0),
    ]
    assert figures.top[0].resets == "2027-01-15T08:00:00Z"
    assert figures.counters == 2


def test_what_each_counts_by_itself_adds_up() -> None:
    figures = quota_figures(quota(Accuracy.LOCAL), told(local(row("a", 700)), local(row("a", 650))))
    assert (figures.top[0].used, figures.top[0].percent, figures.store) == ("1350", 135, "NotUsed")


def test_a_data_plane_that_is_still_in_the_last_window_adds_nothing_to_this_one() -> None:
    former = row("a", 999, resets=RESETS - 86_400)
    figures = quota_figures(quota(Accuracy.LOCAL), told(local(former), local(row("a", 5))))
    assert figures.top[0].used == "5"


def test_sliding_windows_add_up_although_they_end_at_other_times() -> None:
    parts = [limit(row("a", 5, resets=RESETS + n), accuracy="Local", label="Tokens in 1h") for n in range(2)]
    assert quota_figures(quota(Accuracy.LOCAL), told(*parts)).top[0].used == "10"


def test_the_fullest_of_all_limits_comes_first_and_there_are_not_too_many() -> None:
    tokens = limit(*(row(f"app-{n}", 10 * n) for n in range(20)))
    cost = limit(row("app-1", 9_990_000, 10_000_000), label="Cost per Day", unit="Cost")
    figures = quota_figures(quota(), told(tokens, cost))
    assert figures.top[0] == FullCounter("Cost per Day", "app-1", "9.99", "10", 99, "2027-01-15T08:00:00Z")
    assert len(figures.top) == 5


def test_nothing_used_is_told_as_nothing_once_somebody_has_answered() -> None:
    assert quota_figures(quota(), told()).top == (FullCounter(LABEL, "", "0", "1000", 0),)
    assert quota_figures(quota(), Told(data_planes=2)).top == ()


def test_the_store_is_told_by_those_who_know() -> None:
    connected, lost = StorePage(True), StorePage(False, "timeout")
    starting = StorePage(False, "starting")

    def state(*stores: StorePage) -> str:
        return quota_figures(quota(), told(stores=stores)).store

    assert state(connected, starting) == "Connected"
    assert state(connected, lost, starting) == "Unavailable: timeout on 1/2 data planes"
    assert state(starting) == "Unknown"
    missing = quota_figures(quota(), Told((), (connected,), 2, 2)).store
    assert missing == "Missing: 1/2 data planes were started without --store, so failureMode holds there"
    assert quota_figures(quota(), Told(data_planes=2)).store == "Unknown"


def test_a_call_more_is_no_news_and_a_percent_more_is() -> None:
    def figures(used: int, resets: int = RESETS, label: str = LABEL) -> QuotaFigures:
        return quota_figures(quota(), told(limit(row("a", used, resets=resets), label=label)))

    assert figures(700).looks_like(figures(701))
    assert not figures(700).looks_like(figures(710))
    assert not figures(700).looks_like(figures(700, resets=RESETS + 1))
    assert figures(700, label="Tokens in 1h").looks_like(figures(701, RESETS + 1, "Tokens in 1h"))


@given(st.integers(0, 9 * 10**15))
def test_amounts_are_written_as_in_a_quota(amount: int) -> None:
    text = shown_amount(amount, "Cost")
    assert "e" not in text.lower()
    assert round(float(text) * 1_000_000) == amount or amount > 2**50
    assert shown_amount(amount, "Tokens") == str(amount)


def test_money_and_time_are_written_without_idle_zeros() -> None:
    assert [shown_amount(amount, "Cost") for amount in (0, 1, 10_500_000, 100_000_000)] == [
        "0",
        "0.000001",
        "10.5",
        "100",
    ]
    assert shown_amount(1_500, "ComputeSeconds") == "1.5"


counters = st.builds(
    FullCounter,
    st.just(LABEL),
    st.text("ab", max_size=3),
    st.just("1"),
    st.just("2"),
    st.integers(0, 300),
    st.sampled_from(["", "2027-01-15T08:00:00Z"]),
)
tops = st.lists(counters, max_size=5).map(tuple)


@given(st.builds(QuotaFigures, st.integers(0, 9), tops, st.text("xy"), st.text("xy")))
def test_a_status_is_read_back_as_it_was_written(figures: QuotaFigures) -> None:
    status = ObjectStatus(observed_generation=1, quota=figures)
    body: dict[str, Any] = status_body(status)
    assert parse_status(body) == status
    if figures.top:
        assert (body["used"], body["limit"], body["percent"]) == ("1", "2", figures.top[0].percent)


def test_other_kinds_have_no_figures() -> None:
    assert "counters" not in status_body(ObjectStatus(observed_generation=1))
    assert parse_status({"observedGeneration": 1}).quota is None
