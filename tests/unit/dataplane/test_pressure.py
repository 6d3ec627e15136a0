"""More is asked than can be served: a real data plane in front of a provider with few places."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from msgspec.structs import replace

from dataplane.factory import bundle_of, consumer, http_backend, mock_backend, route, shard, source, target
from dataplane.planes import running, url
from dataplane.raw_http import RawAnswer, admin, chat, connect, exchange, read_chunk, read_head, request
from dataplane.upstream import Asked, Script, Upstream, answer, chunk, completion, delta, event, events_head, upstream
from dataplane.waiting import until
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.pressure.turns import Turns
from tidegate_dataplane.settings import Pressure
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.entries import (
    BackendEntry,
    ConcurrencyEntry,
    ConcurrencyMode,
    ConsumerEntry,
    LimitEntry,
    OnExceed,
    Priority,
    QuotaEntry,
    QuotaScope,
    RetryOn,
    TargetEntry,
    TargetKind,
    TargetRef,
    Unit,
)

PATIENT = Pressure(wait_seconds=30)


def key_of(name: str) -> str:
    return f"sk-{hashlib.sha256(name.encode()).hexdigest()[:40]}"


def caller(name: str, priority: Priority = Priority.NORMAL) -> ConsumerEntry:
    return replace(consumer(name, key=key_of(name)), priority=priority)


CALLERS = [caller(priority.value.lower(), priority) for priority in Priority] + [caller("other"), caller("flood")]


def limited(entry: BackendEntry, limit: int) -> BackendEntry:
    return replace(entry, concurrency=ConcurrencyEntry(ConcurrencyMode.FIXED, limit, limit, limit))


def world(*backends: BackendEntry, targets: tuple[TargetEntry, ...] = (), revision: int = 1, **more: Any) -> Bundle:
    targets = targets or (target(backends[0].source.name),)
    return bundle_of(
        shard(
            backends=backends,
            routes=[route(targets=targets, timeout_ms=60_000, **more)],
            consumers=CALLERS,
        ),
        revision=revision,
    )


class Held:
    """A provider that answers only when it is let; the caller's name is in the body's `user`."""

    def __init__(self) -> None:
        self.let = asyncio.Semaphore(0)
        self.order: list[str] = []
        self.now = self.most = 0

    async def script(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self.order.append(asked.json.get("user", ""))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.let.acquire()
        finally:
            self.now -= 1
        await answer(completion())(asked, writer)


@asynccontextmanager
async def one_place(script: Script, *, watch: bool = False) -> AsyncIterator[DataPlane]:
    """A data plane before a backend that takes one call at a time."""
    async with (
        upstream(script, watch=watch) as provider,
        running(world(limited(http_backend("one", provider.url), 1)), pressure=PATIENT) as plane,
    ):
        yield plane


def ask(plane: DataPlane, name: str = "normal", **fields: Any) -> asyncio.Task[RawAnswer]:
    data = request(chat(user=name, **fields), key=key_of(name))
    return asyncio.create_task(exchange(plane, data, deadline=30))


def gate(plane: DataPlane, name: str = "one") -> Any:
    return dict(plane.gates.all())[f"team-a/{name}"]


async def fill(plane: DataPlane, held: Held, name: str = "normal") -> asyncio.Task[RawAnswer]:
    """Take the only place."""
    first = ask(plane, name)
    await until(lambda: held.now == 1)
    return first


async def wait_in_line(plane: DataPlane, *names: str) -> list[asyncio.Task[RawAnswer]]:
    tasks = []
    for name in names:
        before = gate(plane).waiting
        tasks.append(ask(plane, name))
        await until(lambda before=before: gate(plane).waiting == before + 1)  # type: ignore[misc]  # bound at once
    return tasks


async def shed_counts(plane: DataPlane) -> dict[str, float]:
    lines = (await admin(plane, "/metrics")).text.splitlines()
    found = (line.rpartition(" ") for line in lines if line.startswith("tidegate_shed_total{"))
    return {name.removeprefix("tidegate_shed_total"): float(value) for name, _, value in found}


async def test_a_backend_never_gets_more_calls_at_once_than_its_limit() -> None:
    held = Held()
    async with upstream(held.script) as provider:
        bundle = world(limited(http_backend("one", provider.url), 3))
        async with running(bundle, pressure=PATIENT) as plane:
            calls = [ask(plane) for _ in range(12)]
            await until(lambda: gate(plane).waiting == 9)
            status = (await admin(plane, "/-/status")).json()["pressure"]["backends"]
            assert status == [{"backend": "team-a/one", "mode": "Fixed", "running": 3, "limit": 3, "waiting": 9}]
            for _ in calls:
                held.let.release()
            assert {(await call).status for call in calls} == {200}
            await until(lambda: gate(plane).running == 0)
    assert held.most == 3


async def test_who_waits_goes_on_by_priority() -> None:
    held = Held()
    async with one_place(held.script) as plane:
        first = await fill(plane, held)
        rest = await wait_in_line(plane, "low", "normal", "high", "critical")
        for _ in range(5):
            held.let.release()
        await asyncio.gather(first, *rest)
    assert held.order == ["normal", "critical", "high", "normal", "low"]


async def test_one_consumers_calls_do_not_keep_another_waiting_behind_them() -> None:
    held = Held()
    async with one_place(held.script) as plane:
        first = await fill(plane, held, "flood")
        rest = await wait_in_line(plane, *["flood"] * 20, "other")
        for _ in range(22):
            held.let.release()
        await asyncio.gather(first, *rest)
    assert held.order.index("other") <= 2


async def test_a_full_line_turns_away_the_lowest_priority_and_says_when_to_come_again(tmp_path: Path) -> None:
    held, log = Held(), tmp_path / "audit.jsonl"
    options = Pressure(wait_seconds=30, backend_queue=2)
    async with upstream(held.script) as provider:
        bundle = world(limited(http_backend("one", provider.url), 1))
        async with running(bundle, pressure=options, audit=log) as plane:
            first = await fill(plane, held)
            low, normal = await wait_in_line(plane, "low", "normal")
            high = ask(plane, "high")
            refused = await low
            lowest = await ask(plane, "low")
            assert await shed_counts(plane) == {
                '{priority="Low",reason="backend_pushed_out"}': 1,
                '{priority="Low",reason="backend_queue_full"}': 1,
            }
            for _ in range(3):
                held.let.release()
            assert [(await call).status for call in (first, normal, high)] == [200, 200, 200]
    for found in (refused, lowest):
        assert found.status == 503
        assert found.json()["error"]["code"] == "overloaded"
        assert found.json()["error"]["type"] == "api_error"
        assert 4 <= int(found.headers["retry-after"]) <= 8
    assert held.order == ["normal", "high", "normal"]
    records = [line for line in map(json.loads, log.read_text().splitlines()) if "event" not in line]
    turned_away = [line for line in records if line["status"] == 503]
    assert [(line["code"], line["outcome"], line["consumer"]) for line in turned_away] == [
        ("overloaded", "Rejected", "team-a/low")
    ] * 2
    assert all("tokens" not in line and not line.get("attempts") for line in turned_away)


async def test_nobody_waits_longer_than_its_priority_may() -> None:
    held = Held()
    async with upstream(held.script) as provider:
        bundle = world(limited(http_backend("one", provider.url), 1))
        async with running(bundle, pressure=Pressure(wait_seconds=0.05)) as plane:
            first = await fill(plane, held)
            calls = await wait_in_line(plane, "critical", "normal", "low")
            ended = []
            for done in asyncio.as_completed(calls):
                ended.append((await done).status)
            assert ended == [503, 503, 503]
            assert await shed_counts(plane) == {
                f'{{priority="{name}",reason="backend_timeout"}}': 1 for name in ("Low", "Normal", "Critical")
            }
            held.let.release()
            assert (await first).status == 200


async def test_callers_that_go_away_leave_the_line_and_give_their_place_back() -> None:
    held = Held()
    async with one_place(held.script, watch=True) as plane:
        running_call = await fill(plane, held)
        waiting, stays = await wait_in_line(plane, "low", "other")
        waiting.cancel()
        await until(lambda: gate(plane).waiting == 1)
        running_call.cancel()
        await until(lambda: held.order == ["normal", "other"])
        held.let.release()
        assert (await stays).status == 200
        await until(lambda: gate(plane).running == 0)


async def test_a_stream_holds_its_place_until_it_is_over() -> None:
    go_on = asyncio.Event()

    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if not asked.json.get("stream"):
            await answer(completion())(asked, writer)
            return
        writer.write(events_head() + chunk(event(delta("Hel"))))
        await go_on.wait()
        writer.write(chunk(event(delta("lo.", finish="stop"))) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()

    async with one_place(script) as plane:
        reader, writer = await connect(plane)
        writer.write(request(chat(stream=True), key=key_of("normal")))
        assert (await read_head(reader))[0] == 200
        await read_chunk(reader)
        (second,) = await wait_in_line(plane, "other")
        assert not second.done()
        go_on.set()
        assert (await second).status == 200
        writer.close()


async def test_a_reload_with_a_higher_limit_lets_in_who_waits() -> None:
    held = Held()
    async with upstream(held.script) as provider:
        backend = http_backend("one", provider.url)
        async with running(world(limited(backend, 1)), pressure=PATIENT) as plane:
            first = await fill(plane, held)
            rest = await wait_in_line(plane, "normal", "normal", "normal")
            await plane.reloader.offer(world(limited(backend, 3), revision=2))
            await until(lambda: held.now == 3)
            assert gate(plane).waiting == 1
            await plane.reloader.offer(world(backend, revision=3))
            await until(lambda: held.now == 4)
            for _ in range(4):
                held.let.release()
            assert {(await call).status for call in (first, *rest)} == {200}


async def test_another_target_with_room_is_taken_before_anybody_waits() -> None:
    full, free = Held(), Held()
    async with upstream(full.script) as one, upstream(free.script) as two:
        bundle = world(
            limited(http_backend("one", one.url), 1),
            http_backend("two", two.url),
            targets=(target("one", weight=1_000_000), target("two", weight=1)),
            retry_attempts=0,
            retry_on=(),
        )
        async with running(bundle, pressure=PATIENT) as plane:
            first = await fill(plane, full)
            second = ask(plane, "other")
            await until(lambda: free.now == 1)
            full.let.release()
            free.let.release()
            assert [(await call).status for call in (first, second)] == [200, 200]


async def test_a_lower_tier_is_taken_only_when_the_first_turned_the_call_away() -> None:
    held = Held()
    async with upstream(held.script) as provider:
        bundle = world(
            limited(http_backend("one", provider.url), 1),
            mock_backend("two"),
            targets=(target("one"), target("two", priority=1)),
            retry_attempts=0,
            retry_on=(RetryOn.CONNECT,),
        )
        options = Pressure(wait_seconds=30, backend_queue=1)
        async with running(bundle, pressure=options) as plane:
            first = await fill(plane, held)
            (waits,) = await wait_in_line(plane, "other")
            spilled = await ask(plane, "normal")
            assert spilled.status == 200
            assert "mock" in spilled.text
            assert await shed_counts(plane) == {}
            assert not waits.done()
            held.let.release()
            held.let.release()
            assert [(await call).status for call in (first, waits)] == [200, 200]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_provider_that_refuses_gets_fewer_calls_at_once(status: int) -> None:
    adaptive = ConcurrencyEntry(ConcurrencyMode.ADAPTIVE, max=100, min=1, initial=20)
    async with upstream(answer(completion(), status=status)) as provider:
        bundle = world(replace(http_backend("one", provider.url), concurrency=adaptive), retry_attempts=0)
        async with running(bundle) as plane:
            assert (await ask(plane)).status == status
            assert gate(plane).limit == 18


class Slow:
    """A provider that works on `places` calls at once, 20 ms each; the others queue inside it."""

    def __init__(self, places: int) -> None:
        self.places = asyncio.Semaphore(places)

    async def script(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        async with self.places:
            await asyncio.sleep(0.02)
        await answer(completion())(asked, writer)


async def keep_asking(plane: DataPlane, stop: asyncio.Event) -> None:
    reader, writer = await connect(plane)
    body = request(chat(), key=key_of("normal"))
    while not stop.is_set():
        writer.write(body)
        _, headers = await read_head(reader)
        await reader.readexactly(int(headers["content-length"]))
    writer.close()


async def test_an_adaptive_limit_follows_a_provider_that_slows_down_and_recovers() -> None:
    slow = Slow(10)
    adaptive = ConcurrencyEntry(ConcurrencyMode.ADAPTIVE, max=64, min=2, initial=40)
    async with upstream(slow.script) as provider:
        bundle = world(replace(http_backend("one", provider.url), concurrency=adaptive))
        async with running(bundle, pressure=PATIENT) as plane:
            stop = asyncio.Event()
            callers = [asyncio.create_task(keep_asking(plane, stop)) for _ in range(64)]
            await until(lambda: gate(plane).limit <= 15, seconds=30)
            for _ in range(200):
                slow.places.release()
            await until(lambda: gate(plane).limit >= 25, seconds=60)
            stop.set()
            await asyncio.gather(*callers)


async def test_a_burst_beyond_a_turn_is_served_whole_and_known() -> None:
    async with running(world(mock_backend("one")), pressure=Pressure(calls_per_turn=1)) as plane:
        found = await asyncio.gather(*(ask(plane, "flood") for _ in range(60)), ask(plane, "other"))
        assert {each.status for each in found} == {200}
        pressure = (await admin(plane, "/-/status")).json()["pressure"]
        assert pressure["heldBack"] > 0
        assert (pressure["waitingTurn"], pressure["shed"]) == (0, 0)
        assert "tidegate_turn_held_back_total" in (await admin(plane, "/metrics")).text


async def test_who_is_revoked_while_waiting_for_a_turn_does_not_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, go_on = asyncio.Event(), asyncio.Event()

    async def wait(turns: Turns, name: str, priority: Priority) -> None:
        assert (name, priority) == ("team-a/high", Priority.HIGH)
        waits.set()
        await go_on.wait()

    monkeypatch.setattr(Turns, "begin", lambda turns: False)
    monkeypatch.setattr(Turns, "wait", wait)
    async with running(world(mock_backend("one"))) as plane:
        call = ask(plane, "high")
        await waits.wait()
        await plane.reloader.offer(
            bundle_of(
                shard(
                    backends=[mock_backend("one")],
                    routes=[route(targets=(target("one"),))],
                    consumers=[replace(caller("high", Priority.HIGH), suspended=True)],
                ),
                revision=2,
            )
        )
        go_on.set()
        assert (await call).status in {401, 403}


def one_at_a_time() -> QuotaEntry:
    limit = LimitEntry(Unit.CONCURRENT, 1, on_exceed=OnExceed.QUEUE, queue_ms=30_000)
    return QuotaEntry(source("slots"), (TargetRef(TargetKind.NAMESPACE),), QuotaScope.ROUTE, (limit,))


def queued(provider: Upstream, *, consumers: list[ConsumerEntry], revision: int = 1) -> Bundle:
    return bundle_of(
        shard(
            backends=[http_backend("one", provider.url)],
            routes=[route(targets=(target("one"),), quotas=("slots",), timeout_ms=60_000)],
            quotas=[one_at_a_time()],
            consumers=consumers,
        ),
        revision=revision,
    )


async def test_calls_wait_for_a_quota_by_priority() -> None:
    held = Held()
    async with upstream(held.script) as provider, running(queued(provider, consumers=CALLERS)) as plane:
        first = await fill(plane, held)
        rest = []
        for number, name in enumerate(("low", "normal", "critical"), 1):
            rest.append(ask(plane, name))
            await until(lambda number=number: plane.quota_lines.waiting == number)  # type: ignore[misc]  # bound at once
        for _ in range(4):
            held.let.release()
        assert [(await call).status for call in (first, *rest)] == [200] * 4
    assert held.order == ["normal", "critical", "normal", "low"]


async def test_who_is_revoked_while_waiting_for_a_quota_does_not_come_in() -> None:
    held = Held()
    async with upstream(held.script) as provider, running(queued(provider, consumers=CALLERS)) as plane:
        first = await fill(plane, held)
        revoked, stays = ask(plane, "high"), ask(plane, "other")
        await until(lambda: plane.quota_lines.waiting == 2)
        consumers = [replace(one, suspended=one.source.name == "high") for one in CALLERS]
        await plane.reloader.offer(queued(provider, consumers=consumers, revision=2))
        held.let.release()
        assert (await revoked).status in {401, 403}
        held.let.release()
        assert [(await call).status for call in (first, stays)] == [200, 200]
    assert held.order == ["normal", "other"], "and its slot went to the next"


async def test_clients_of_openai_read_the_refusal_and_come_again() -> None:
    held = Held()
    async with upstream(held.script) as provider:
        bundle = world(limited(http_backend("one", provider.url), 1))
        async with running(bundle, pressure=Pressure(wait_seconds=0.01)) as plane:
            first = await fill(plane, held)
            client = openai.AsyncOpenAI(base_url=f"{url(plane)}/v1", api_key=key_of("other"), max_retries=0)
            with pytest.raises(openai.InternalServerError) as refused:
                await client.chat.completions.create(
                    model="chat-fast", messages=[{"role": "user", "content": "Hello!"}]
                )
            await client.close()
            assert refused.value.status_code == 503
            assert refused.value.code == "overloaded"
            assert int(refused.value.response.headers["retry-after"]) >= 1
            held.let.release()
            await first


async def test_a_backend_without_a_limit_is_only_counted() -> None:
    held = Held()
    async with upstream(held.script) as provider, running(world(http_backend("one", provider.url))) as plane:
        calls = [ask(plane) for _ in range(30)]
        await until(lambda: held.now == 30)
        metrics = (await admin(plane, "/metrics")).text
        assert 'tidegate_backend_concurrency{backend="team-a/one"} 30.0' in metrics
        assert "tidegate_backend_concurrency_limit{" not in metrics
        for _ in calls:
            held.let.release()
        assert {(await call).status for call in calls} == {200}
