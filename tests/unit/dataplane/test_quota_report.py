"""`/-/quotas`: what counters stand at, and which thresholds were crossed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from dataplane.factory import KEY, bundle_of, route, shard, source
from dataplane.planes import running
from dataplane.raw_http import admin, chat, exchange, request
from dataplane.waiting import until
from tidegate_dataplane.alerts.alerts import Alerts
from tidegate_dataplane.alerts.claims import ProcessClaims
from tidegate_dataplane.alerts.delivery import Deliveries
from tidegate_dataplane.alerts.rule import AlertRule
from tidegate_dataplane.alerts.webhook import Webhook
from tidegate_dataplane.credentials import Credentials
from tidegate_dataplane.ledger.report import CounterReport, Tally
from tidegate_dataplane.quota_report import Question, QuotaReport, read_question
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.entries import (
    Accuracy,
    CalendarPeriod,
    LimitEntry,
    QuotaEntry,
    QuotaScope,
    TargetKind,
    TargetRef,
    Unit,
    WindowEntry,
)
from tidegate_dataplane.upstream import UpstreamClient

RULE = AlertRule("team-a/monthly Tokens", "team-a/monthly", "Tokens per Month", "Tokens", (80, 100))


def counter(
    scope: str, used: int, amount: int = 100, *, quota: str = "team-a/monthly", limit: str = "Tokens per Month"
) -> CounterReport:
    return CounterReport(quota, limit, Unit.TOKENS, Accuracy.LOCAL, scope, used, 0, amount, 1_800_000_000.0)


def _alerts() -> Alerts:
    webhook = Webhook(UpstreamClient(), Credentials(), now=lambda: 0.0)
    return Alerts(gateway="default", cluster=lambda: "", claims=ProcessClaims(), deliveries=Deliveries(webhook))


def _report(counters: Callable[[], Iterator[CounterReport]]) -> QuotaReport:
    return QuotaReport(counters, _alerts(), lambda: None)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 200)), max_size=60), st.integers(1, 10))
def test_the_fullest_are_shown_and_all_are_added_up(figures: list[tuple[int, int]], top: int) -> None:
    tally = Tally(top)
    for number, (used, amount) in enumerate(figures):
        tally.add(counter(f"team-a/app-{number}", used, amount))
    reports = tally.reports()
    if not figures:
        assert reports == ()
        return
    (report,) = reports
    assert (report.counters, report.used) == (len(figures), sum(used for used, _ in figures))
    expected = sorted((used * 1000 // amount / 10 for used, amount in figures), reverse=True)[:top]
    assert [row.percent for row in report.top] == expected


def test_100_percent_means_all_of_it() -> None:
    assert counter("a", 999_999, 1_000_000).percent == 99.9
    assert counter("a", 1_000_000, 1_000_000).percent == 100.0
    assert (counter("a", 0, 0).percent, counter("a", 1, 0).percent) == (0.0, 100.0)


async def test_limits_are_told_apart_and_can_be_asked_for_one_by_one() -> None:
    found = [
        counter("team-a/x", 50),
        counter("team-a/y", 90),
        counter("", 7, quota="team-b/all", limit="Requests per Day"),
        counter("team-a/x", 1, limit="Tokens per Day"),
    ]
    report = _report(lambda: iter(found))
    page = await report.page(Question())
    assert [(each.quota, each.limit, each.counters, each.used) for each in page.limits] == [
        ("team-a/monthly", "Tokens per Day", 1, 1),
        ("team-a/monthly", "Tokens per Month", 2, 140),
        ("team-b/all", "Requests per Day", 1, 7),
    ]
    one = await report.page(Question(top=1, quota="team-a/monthly"))
    assert [[row.scope for row in each.top] for each in one.limits] == [["team-a/x"], ["team-a/y"]]


async def test_many_counters_do_not_hold_up_calls() -> None:
    report = _report(lambda: (counter(f"team-a/app-{number}", number % 100) for number in range(50_000)))
    loop = asyncio.get_running_loop()
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = loop.time()
            await asyncio.sleep(0)
            longest = max(longest, loop.time() - began)

    watching = asyncio.create_task(watch())
    page = await report.page(Question())
    watching.cancel()
    assert page.limits[0].counters == 50_000
    assert longest < 0.1, "50,000 counters at once take longer than that"


async def test_whoever_asks_at_once_does_not_make_it_read_again() -> None:
    readings = 0

    def read() -> Iterator[CounterReport]:
        nonlocal readings
        readings += 1
        return iter([counter(f"team-a/app-{number}", 1) for number in range(3_000)])

    report = _report(read)
    await asyncio.gather(*(report.page(Question()) for _ in range(10)))
    assert readings == 1


@pytest.mark.parametrize(
    "query",
    ["top=many", "top=-1", "top=101", "after=x", "timeoutSeconds=soon", "timeoutSeconds=-1", "timeoutSeconds=nan"],
)
def test_questions_that_make_no_sense_are_refused(query: str) -> None:
    with pytest.raises(ValueError, match=r"top|after|timeoutSeconds"):
        read_question(QueryParams(query))


async def test_the_admin_port_tells_of_alerts_as_they_happen() -> None:
    async with running(bundle_of(shard())) as plane:

        async def get(path: str) -> Any:
            answer = await admin(plane, path)
            assert answer.status == 200, answer.text
            return json.loads(answer.body)

        empty = await get("/-/quotas")
        assert (empty["seq"], empty["alerts"], empty["store"]) == (0, [], None)
        waiting = asyncio.create_task(get("/-/quotas?after=0&timeoutSeconds=30"))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        plane.alerts.note(RULE, "team-a/search", 0, 2e9, 85, 100)
        page = await asyncio.wait_for(waiting, 2)
        (row,) = page["alerts"]
        assert (row["seq"], row["alert"]["threshold"], row["alert"]["cluster"]) == (1, 80, "test")
        assert (await get("/-/quotas?after=1"))["alerts"] == []
        await until(lambda: plane.alerts.fired.values)
        status = await get("/-/status")
        assert [alert["told"] for alert in status["alerts"]] == ["Here"]
        metrics = (await admin(plane, "/metrics")).text
        assert 'tidegate_quota_alerts_total{quota="team-a/monthly",threshold="80"} 1.0' in metrics
        assert (await admin(plane, "/-/quotas?top=x")).status == 400


async def test_an_amount_that_was_edited_is_the_one_that_is_shown() -> None:
    async with running(_with_quota(10, revision=1)) as plane:
        for _ in range(3):
            assert (await exchange(plane, request(chat(), key=KEY))).status == 200
        before = (await admin(plane, "/-/quotas")).json()["limits"][0]
        assert (before["limit"], before["accuracy"], before["counters"]) == ("Requests per Day", "Local", 1)
        assert before["top"][0]["scope"] == "team-a/search"
        assert (before["top"][0]["used"], before["top"][0]["amount"], before["top"][0]["percent"]) == (3, 10, 30.0)
        await plane.reloader.offer(_with_quota(20, revision=2))
        assert (await exchange(plane, request(chat(), key=KEY))).status == 200
        after = (await admin(plane, "/-/quotas")).json()["limits"][0]["top"][0]
        assert (after["used"], after["amount"], after["percent"]) == (4, 20, 20.0)


def _with_quota(amount: int, *, revision: int) -> Bundle:
    limit = LimitEntry(Unit.REQUESTS, amount, WindowEntry(calendar=CalendarPeriod.DAY))
    quota = QuotaEntry(
        source("daily", generation=revision), (TargetRef(kind=TargetKind.NAMESPACE),), QuotaScope.CONSUMER, (limit,)
    )
    return bundle_of(shard(routes=[route(quotas=("daily",))], quotas=[quota]), revision=revision)
