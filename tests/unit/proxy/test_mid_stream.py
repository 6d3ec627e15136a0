"""A quota with midStream: End ends the streams of a provider that goes on and on, whatever the caller asked for."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from dataplane.factory import KEY, bundle_of, http_backend, route, shard, source, target
from dataplane.planes import running
from dataplane.raw_http import chat, exchange, request
from dataplane.upstream import Asked, chunk, delta, event, events_head, upstream
from dataplane.waiting import until
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.entries import (
    CalendarPeriod,
    LimitEntry,
    MidStream,
    QuotaEntry,
    QuotaScope,
    TargetKind,
    TargetRef,
    Unit,
    WindowEntry,
)


def world(endpoint: str, unit: Unit, amount: int) -> Bundle:
    window = WindowEntry(calendar=CalendarPeriod.YEAR)
    quota = QuotaEntry(
        source=source("budget"),
        target_refs=(TargetRef(kind=TargetKind.NAMESPACE),),
        per=QuotaScope.CONSUMER,
        limits=(LimitEntry(unit=unit, amount=amount, window=window, mid_stream=MidStream.END),),
    )
    routes = [route(targets=(target("one", model="gpt-4o"),), quotas=("budget",), retry_attempts=0)]
    return bundle_of(shard(backends=[http_backend("one", endpoint)], routes=routes, quotas=[quota]))


async def endless(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(events_head())
    while True:
        writer.write(chunk(event(delta(" word"))))
        await writer.drain()
        await asyncio.sleep(0.002)


@pytest.mark.parametrize(
    ("unit", "amount", "fields"),
    [
        (Unit.TOKENS, 1_500, {}),
        (Unit.TOKENS, 500, {"max_tokens": 10}),  # which this provider does not heed
        (Unit.COMPUTE_SECONDS, 1_500, {}),
        (Unit.COMPUTE_SECONDS, 1_500, {"max_tokens": 100_000}),
    ],
)
async def test_it_ends(unit: Unit, amount: int, fields: dict[str, Any]) -> None:
    begun = time.monotonic()
    async with upstream(endless, watch=True) as provider, running(world(provider.url, unit, amount)) as plane:
        found = await exchange(plane, request(chat(stream=True, **fields), key=KEY))
        await until(lambda: plane.metrics.in_flight == 0)
    last = json.loads(found.body.rstrip().split(b"data: ")[-1])
    assert last["error"]["code"] == "quota_exceeded"
    if unit is Unit.TOKENS:
        assert found.body.count(b" word") <= amount
    else:
        assert time.monotonic() - begun < 6
