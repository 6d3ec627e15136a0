"""Thresholds over several data planes and one real Redis: told exactly once, and soon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle
from pathlib import Path

import pytest

from dataplane.factory import KEY, bundle_of, route, shard, source
from dataplane.planes import running
from dataplane.raw_http import admin, chat, exchange, request
from dataplane.receiver import Receiver, receiver, verified
from dataplane.waiting import until
from store_parts.script import ScriptServer
from tidegate_dataplane.alerts.recent import Teller
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.entries import (
    Accuracy,
    CalendarPeriod,
    LimitEntry,
    NotifyEntry,
    QuotaEntry,
    QuotaScope,
    TargetKind,
    TargetRef,
    Unit,
    WindowEntry,
)
from tidegate_dataplane.store.settings import Mode, StoreSettings

SECRET = b"a-webhook-secret-of-this-test"
AMOUNT = 50


def _bundle(hook: Receiver, accuracy: Accuracy) -> Bundle:
    limit = LimitEntry(Unit.REQUESTS, AMOUNT, WindowEntry(calendar=CalendarPeriod.YEAR), alert_at=(80, 100))
    quota = QuotaEntry(
        source("yearly"),
        (TargetRef(kind=TargetKind.NAMESPACE),),
        QuotaScope.CONSUMER,
        (limit,),
        accuracy=accuracy,
        notify=NotifyEntry(url=hook.url, credential="hook"),
    )
    return bundle_of(shard(routes=[route(quotas=("yearly",))], quotas=[quota]))


@asynccontextmanager
async def _planes(count: int, bundle: Bundle, port: int, directory: Path) -> AsyncIterator[list[DataPlane]]:
    store = StoreSettings(mode=Mode.SINGLE, addresses=(("127.0.0.1", port),))
    async with AsyncExitStack() as stack:
        planes = [
            await stack.enter_async_context(
                running(bundle, credentials={"hook": SECRET}, store=store, journal=directory / f"journal-{number}")
            )
            for number in range(count)
        ]
        await until(lambda: all(plane._store is not None and plane._store.state.connected for plane in planes))
        yield planes


async def _use(planes: list[DataPlane], calls: int) -> None:
    """Call one data plane after the other until so many calls were let pass: a store that was just begun makes
    everybody wait for a moment, and what others have leased comes back after one."""
    turns = cycle(planes)
    admitted = 0
    async with asyncio.timeout(30):
        for plane in turns:
            status = (await exchange(plane, request(chat(), key=KEY))).status
            assert status in (200, 429, 503)
            if status == 200:
                admitted += 1
            else:
                await asyncio.sleep(0.02)
            if admitted == calls:
                return


@pytest.mark.parametrize("accuracy", [Accuracy.EXACT, Accuracy.LEASED])
async def test_six_data_planes_tell_each_threshold_once_within_two_seconds(
    script: ScriptServer, server_port: int, tmp_path: Path, accuracy: Accuracy
) -> None:
    async with receiver() as hook, _planes(6, _bundle(hook, accuracy), server_port, tmp_path) as planes:
        await _use(planes, AMOUNT * 8 // 10)
        await until(lambda: hook.came, seconds=2)
        await _use(planes, AMOUNT - AMOUNT * 8 // 10)
        await until(lambda: len(hook.came) == 2, seconds=2)
        # Long enough for every plane to hear of the total and to claim.
        await asyncio.sleep(1.0)
        assert [event["threshold"] for event in hook.events] == [80, 100]
        assert [event["scope"] for event in hook.events] == ["team-a/search"] * 2
        assert all(verified(asked, SECRET) for asked in hook.came)
        fired = [(await admin(plane, "/metrics")).text for plane in planes]
        for threshold in (80, 100):
            line = f'tidegate_quota_alerts_total{{quota="team-a/yearly",threshold="{threshold}"}} 1.0'
            assert sum(line in text for text in fired) == 1
        told = [noted.told for plane in planes for noted in plane.alerts.recent.after(0)]
        assert told.count(Teller.HERE) == 2
        pages = [(await admin(plane, "/-/quotas")).json() for plane in planes]
        rows = [limit["top"][0] for page in pages for limit in page["limits"]]
        assert max(row["used"] for row in rows) == AMOUNT
        assert {page["store"]["connected"] for page in pages} == {True}


async def test_whoever_waits_for_an_alert_while_a_data_plane_stops_is_answered(
    script: ScriptServer, server_port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with receiver() as hook:
        async with _planes(1, _bundle(hook, Accuracy.EXACT), server_port, tmp_path) as planes:
            await _use(planes, 1)
            waiting = asyncio.create_task(admin(planes[0], "/-/quotas?timeoutSeconds=30"))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            await planes[0].stop()
            answer = await asyncio.wait_for(waiting, 5)
        assert answer.status == 200
    assert not [record for record in caplog.records if record.exc_info]
