"""Whoever can call from any number of addresses fills no memory with counters."""

from __future__ import annotations

from typing import Any

import pytest

from dataplane.factory import KEY, bundle_of, mock_backend, policy, route, shard, source, target
from dataplane.planes import running
from dataplane.raw_http import chat, exchange, request
from tidegate_dataplane.engine import admit
from tidegate_dataplane.runtime import lower
from tidegate_dataplane.snapshot.entries import (
    CalendarPeriod,
    LimitEntry,
    QuotaEntry,
    QuotaScope,
    RateLimitEntry,
    RateLimitScope,
    TargetKind,
    TargetRef,
    Unit,
    WindowEntry,
)

QUOTA = QuotaEntry(
    source=source("budget"),
    target_refs=(TargetRef(kind=TargetKind.NAMESPACE),),
    per=QuotaScope.ADDRESS,
    limits=(LimitEntry(unit=Unit.REQUESTS, amount=3, window=WindowEntry(calendar=CalendarPeriod.YEAR)),),
)
RATE = RateLimitEntry(name="each", per=RateLimitScope.ADDRESS, requests=3, period_ms=3_600_000, burst=3)


@pytest.mark.parametrize("by", ["quota", "rate limit"])
async def test_addresses_beyond_so_many_share_one_counter(monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    monkeypatch.setitem(lower.MOST_BY_CALL, "Address", 5)
    addresses = iter(f"2001:db8:{number:x}::1" for number in range(1_000))
    monkeypatch.setattr(admit, "address_scope", lambda _: next(addresses))
    more: dict[str, Any] = {"rate_limits": (RATE,)} if by == "rate limit" else {}
    made = shard(
        backends=[mock_backend("one")],
        routes=[route(targets=(target("one"),), quotas=("budget",) if by == "quota" else (), retry_attempts=0)],
        quotas=[QUOTA],
        policies=[policy(**more)],
    )
    async with running(bundle_of(made)) as plane:
        served = [(await exchange(plane, request(chat(), key=KEY))).status for _ in range(30)]
        assert plane.ledger.counters == 6
        assert len(plane._reserver._values) == 1
        await plane.reloader.offer(bundle_of(shard(), revision=2))
        assert len(plane._reserver._values) == 0
    assert served.count(200) == 5 + 3
