"""When a Quota's status is told anew: at once where a threshold was crossed, else seldom, and never for nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from dataplane.factory import bundle_of, shard
from dataplane.planes import running
from dataplane.waiting import until
from tidegate_dataplane.alerts.rule import AlertRule
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
from tidegate_operator.quotas.pages import AlertPage, LimitPage, NotedAlert, Page, Row, StorePage
from tidegate_operator.quotas.watch import STATUS_SECONDS, QuotaWatch
from tidegate_operator.world import Kind, ObjectKey

KEY = ObjectKey(Kind.QUOTA, "team-a", "monthly")
A, B = "http://a:9090", "http://b:9090"


def quota(name: str = "monthly", accuracy: Accuracy = Accuracy.LEASED) -> QuotaEntry:
    limit = LimitEntry(Unit.TOKENS, 1000, WindowEntry(calendar=CalendarPeriod.MONTH), alert_at=(80,))
    return QuotaEntry(Source("team-a", name, 1), (), QuotaScope.NAMESPACE, (limit,), accuracy=accuracy)


def page(
    used: int, *, alerts: tuple[NotedAlert, ...] = (), store: StorePage | None = None, quota: str = "monthly"
) -> Page:
    limit = LimitPage(f"team-a/{quota}", "Tokens per Month", "Tokens", "Leased", 1, (Row("team-a", used, 1000, 9),))
    return Page(0, 1, len(alerts), store, (limit,), alerts)


def crossed(threshold: int = 80) -> NotedAlert:
    return NotedAlert(
        1, AlertPage("id", "team-a/monthly", "Tokens per Month", "Tokens", "team-a", threshold, 800, 1000, 9, 5)
    )


@dataclass
class Recorder:
    """In place of the writer of statuses and of Events."""

    told: list[ObjectKey] = field(default_factory=list)
    thresholds: list[tuple[ObjectKey, int]] = field(default_factory=list)
    stores: list[tuple[ObjectKey, bool]] = field(default_factory=list)

    def threshold(self, key: ObjectKey, alert: AlertPage) -> None:
        self.thresholds.append((key, alert.threshold))

    def store(self, key: ObjectKey, *, lost: bool, detail: str, since: int) -> None:
        self.stores.append((key, lost))


@dataclass
class Bench:
    """A watch whose clock and data planes are the test's."""

    quotas: list[QuotaEntry] = field(default_factory=lambda: [quota()])
    urls: list[str] = field(default_factory=lambda: [A])
    now: float = 1000.0
    leads: bool = True
    seen: Recorder = field(default_factory=Recorder)

    def __post_init__(self) -> None:
        events: Any = self.seen
        self.watch = QuotaWatch(
            urls=lambda: self.urls,
            leading=lambda: self.leads,
            quotas=lambda: self.quotas,
            events=events,
            on_change=self.seen.told.append,
            clock=lambda: self.now,
        )

    def percent(self, key: ObjectKey = KEY) -> int | None:
        figures = self.watch.of(key, self.quotas[0])
        return None if figures is None else figures.top[0].percent


async def test_nothing_is_told_before_the_data_planes_were_heard() -> None:
    bench = Bench(urls=[A, B])
    bench.watch.take(A, page(100))
    await bench.watch.tick()
    assert (bench.percent(), bench.seen.told) == (None, [])
    bench.watch.take(B, page(150))
    await bench.watch.tick()
    assert (bench.percent(), bench.seen.told) == (15, [KEY])


async def test_a_data_plane_that_never_answers_is_not_waited_for_for_ever() -> None:
    bench = Bench(urls=[A, B])
    bench.watch.take(A, page(100))
    bench.now += 4
    await bench.watch.tick()
    assert bench.seen.told == [KEY]


async def test_a_percent_more_is_told_half_a_minute_later_and_a_token_more_never() -> None:
    bench = Bench()
    bench.watch.take(A, page(100))
    await bench.watch.tick()
    bench.seen.told.clear()
    for used in (101, 105, 109):
        bench.watch.take(A, page(used))
        bench.now += STATUS_SECONDS
        await bench.watch.tick()
    assert bench.seen.told == []
    bench.watch.take(A, page(210))
    bench.now += 1
    await bench.watch.tick()
    assert (bench.seen.told, bench.percent()) == ([KEY], 21)
    bench.watch.take(A, page(310))
    bench.now += STATUS_SECONDS - 1
    await bench.watch.tick()
    assert (bench.seen.told, bench.percent()) == ([KEY], 21)
    bench.now += 1
    await bench.watch.tick()
    assert (bench.seen.told, bench.percent()) == ([KEY, KEY], 31)


async def test_a_threshold_is_told_at_once() -> None:
    bench = Bench()
    bench.watch.take(A, page(700))
    await bench.watch.tick()
    bench.watch.take(A, page(810, alerts=(crossed(),)))
    await bench.watch.tick()
    assert (bench.seen.told, bench.percent()) == ([KEY, KEY], 81)
    assert bench.seen.thresholds == [(KEY, 80)]


async def test_the_store_is_told_at_once_and_once_for_each_change() -> None:
    bench = Bench(quotas=[quota(), quota("local", Accuracy.LOCAL)])
    well, lost = StorePage(True), StorePage(False, "timeout", 7)
    for store in (well, lost, lost, well, well):
        bench.watch.take(A, page(100, store=store))
        await bench.watch.tick()
    assert bench.seen.stores == [(KEY, True), (KEY, False)]
    assert bench.seen.told.count(KEY) == 3
    figures = bench.watch.of(KEY, bench.quotas[0])
    assert figures is not None
    assert figures.store == "Connected"


async def test_a_few_statuses_at_a_time() -> None:
    bench = Bench(quotas=[quota(f"q{number}") for number in range(1_000)])
    bench.watch.take(A, page(100))
    ticks = 0
    while len(bench.seen.told) < 1_000:
        before = len(bench.seen.told)
        await bench.watch.tick()
        ticks += 1
        assert 0 < len(bench.seen.told) - before <= 10
    await bench.watch.tick()
    assert len(set(bench.seen.told)) == len(bench.seen.told) == 1_000


async def test_an_edited_quota_is_judged_by_what_it_says_now() -> None:
    bench = Bench()
    bench.watch.take(A, page(100))
    await bench.watch.tick()
    bench.quotas = [quota(accuracy=Accuracy.LOCAL)]
    figures = bench.watch.of(KEY, bench.quotas[0])
    assert figures is not None
    assert figures.store == "NotUsed"


async def test_it_hears_of_alerts_of_a_real_data_plane_at_once() -> None:
    rule = AlertRule("team-a/monthly Tokens", "team-a/monthly", "Tokens per Month", "Tokens", (80, 100))
    async with running(bundle_of(shard())) as plane:
        bench = Bench(urls=[f"http://{plane.admin_address}"])
        task = asyncio.create_task(bench.watch.run())
        await until(lambda: bench.watch.of(KEY, bench.quotas[0]) is not None)
        loop = asyncio.get_running_loop()
        for number, (used, expected) in enumerate(((800, [80]), (1000, [80, 100]))):
            began = loop.time()
            plane.alerts.note(rule, "team-a", 0, 2e9, used, 1000)
            await until(lambda: len(bench.seen.thresholds) > number)  # noqa: B023 - awaited before the next one
            assert [percent for _, percent in bench.seen.thresholds] == expected
            assert loop.time() - began < 1.5, f"alert {number} waited for the end of a poll"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_only_an_operator_that_leads_asks_and_one_that_takes_over_hears_what_there_was() -> None:
    rule = AlertRule("team-a/monthly Tokens", "team-a/monthly", "Tokens per Month", "Tokens", (80,))
    async with running(bundle_of(shard())) as plane:
        bench = Bench(urls=[f"http://{plane.admin_address}"], leads=False)
        plane.alerts.note(rule, "team-a", 0, 2e9, 800, 1000)
        task = asyncio.create_task(bench.watch.run())
        await asyncio.sleep(0.8)
        assert (bench.seen.thresholds, bench.watch.of(KEY, bench.quotas[0])) == ([], None)
        bench.leads = True
        await until(lambda: bench.seen.thresholds == [(KEY, 80)])
        bench.leads = False
        await until(lambda: bench.watch.of(KEY, bench.quotas[0]) is None)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
