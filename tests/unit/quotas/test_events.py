"""Events on Quotas: created once, bounded, and never in the way of anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dataplane.waiting import until
from tidegate_operator.kube import Api, ApiError
from tidegate_operator.quotas import events as events_module
from tidegate_operator.quotas.events import BURST, QuotaEvents
from tidegate_operator.quotas.pages import AlertPage
from tidegate_operator.world import Kind, ObjectKey

NOW = 1_800_000_000
KEY = ObjectKey(Kind.QUOTA, "team-a", "monthly")


class EventsApi(Api):
    """Takes Events; `fail` says what goes wrong with the next ones."""

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []
        self.asked = 0
        self.fail: Callable[[], Exception | None] = lambda: None

    async def create(self, path: str, body: Mapping[str, Any]) -> bytes:
        self.asked += 1
        assert path == f"/api/v1/namespaces/{body['metadata']['namespace']}/events"
        if (error := self.fail()) is not None:
            raise error
        self.created.append(dict(body))
        return b"{}"


def alert(id: str = "0123456789abcdef0123456789abcdef", **more: Any) -> AlertPage:
    fields: dict[str, Any] = {
        "id": id,
        "quota": "team-a/monthly",
        "limit": "Cost per Day",
        "unit": "Cost",
        "scope": "team-a/search",
        "threshold": 80,
        "used": 8_000_000,
        "amount": 10_000_000,
        "window_end": NOW + 3600,
        "at": NOW,
    }
    return AlertPage(**(fields | more))


@asynccontextmanager
async def recording(
    monkeypatch: pytest.MonkeyPatch, uid: str = "uid-1"
) -> AsyncIterator[tuple[QuotaEvents, EventsApi]]:
    monkeypatch.setattr(events_module, "RETRY_SECONDS", (0.01, 0.01))
    monkeypatch.setattr(events_module, "PAUSE_SECONDS", 0.0)
    api = EventsApi()
    events = QuotaEvents(api, uid_of=lambda key: "uid-1" if key == KEY else "", now=lambda: float(NOW))
    task = asyncio.create_task(events.run())
    try:
        yield events, api
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_crossing_is_one_event_however_many_data_planes_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    async with recording(monkeypatch) as (events, api):
        for used in (8_000_000, 8_100_000, 8_200_000):
            events.threshold(KEY, alert(used=used))
        events.threshold(KEY, alert("f" * 32, threshold=100))
        await until(lambda: len(api.created) == 2)
        first = api.created[0]
        assert first["metadata"] == {"name": "monthly.0123456789abcdef0123", "namespace": "team-a"}
        assert first["involvedObject"] == {
            "apiVersion": "tidegate.dev/v1alpha1",
            "kind": "Quota",
            "namespace": "team-a",
            "name": "monthly",
            "uid": "uid-1",
        }
        assert (first["type"], first["reason"]) == ("Warning", "QuotaThresholdCrossed")
        assert first["message"] == ("80 % of Cost per Day used by team-a/search: 8 of 10, until 2027-01-15T09:00:00Z")


async def test_one_that_is_there_already_is_as_good_and_a_failed_one_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures: list[Exception | None] = [
        ApiError(409, "AlreadyExists", ""),
        ApiError(500, "Internal", ""),
        TimeoutError(),
    ]
    async with recording(monkeypatch) as (events, api):
        api.fail = lambda: failures.pop(0) if failures else None
        events.threshold(KEY, alert("a" * 32))
        events.threshold(KEY, alert("b" * 32))
        await until(lambda: [event["metadata"]["name"] for event in api.created] == ["monthly." + "b" * 20])
        assert api.asked == 4


async def test_a_missing_right_is_said_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async with recording(monkeypatch) as (events, api):
        api.fail = lambda: ApiError(403, "Forbidden", "cannot create events")
        for number in range(5):
            events.threshold(KEY, alert(f"{number:032x}"[::-1]))
        await until(lambda: api.asked == 5)
        await asyncio.sleep(0)
    assert len([record for record in caplog.records if "operator.yaml" in record.message]) == 1


async def test_thousands_of_crossings_are_few_events(monkeypatch: pytest.MonkeyPatch) -> None:
    async with recording(monkeypatch) as (events, api):
        for number in range(5_000):
            events.threshold(KEY, alert(f"{number:032x}"[::-1]))
        await until(lambda: len(api.created) == BURST)
        await asyncio.sleep(0.05)
        assert len(api.created) == BURST
        assert events.left_out == 5_000 - BURST


async def test_history_and_strangers_make_no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    async with recording(monkeypatch) as (events, api):
        events.threshold(KEY, alert(at=NOW - 3601))
        events.threshold(KEY._replace(name="other"), alert())
        events.threshold(KEY, alert("c" * 32))
        await until(lambda: len(api.created) == 1)
        assert api.asked == 1


async def test_the_store_goes_and_comes_back_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    async with recording(monkeypatch) as (events, api):
        for _ in range(2):
            events.store(KEY, lost=True, detail="Unavailable: timeout on 1/3 data planes", since=NOW - 5)
        events.store(KEY, lost=False, detail="Connected", since=0)
        await until(lambda: len(api.created) == 2)
        assert [(event["type"], event["reason"]) for event in api.created] == [
            ("Warning", "QuotaStoreUnavailable"),
            ("Normal", "QuotaStoreRecovered"),
        ]
        assert "timeout on 1/3 data planes" in api.created[0]["message"]


async def test_a_scope_cannot_write_lines_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async with recording(monkeypatch) as (events, api):
        events.threshold(KEY, alert(scope="a\nb" + "x" * 5_000))
        await until(lambda: api.created)
        message = api.created[0]["message"]
        assert "\n" not in message
        assert len(message) <= 1024
