"""Stopping in order: not ready first, then no new connections, streams to their end, the audit log to the disk."""

import asyncio
import json
from pathlib import Path

import pytest

from dataplane.factory import KEY, bundle_of, mock_backend, shard
from dataplane.planes import running
from dataplane.raw_http import admin, chat, connect, exchange, read_answer, read_chunk, read_head, request
from tidegate_dataplane.reload import Reloader


async def test_a_stream_that_runs_is_finished_and_nothing_new_begins(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    slow = mock_backend(chunk_delay_ms=50, reply=" ".join(["word"] * 20))
    async with running(bundle_of(shard(backends=[slow])), audit=log) as plane:
        reader, writer = await connect(plane)
        writer.write(request(chat(stream=True), key=KEY))
        assert (await read_head(reader))[0] == 200
        stopping = asyncio.create_task(plane.stop())
        received = b""
        while part := await asyncio.wait_for(read_chunk(reader), 5):
            received += part
        assert received.endswith(b"data: [DONE]\n\n")
        await stopping
        writer.close()
        with pytest.raises(OSError, match=r"refused|Connect"):
            await exchange(plane, request(chat(), key=KEY))
    opened, line, stopped = [json.loads(each) for each in log.read_text().splitlines()]
    assert (opened["event"], line["outcome"], stopped["event"]) == ("Opened", "Served", "Stopped")


async def test_while_draining_it_is_not_ready_but_still_serves() -> None:
    async with running(bundle_of(shard()), drain_delay=0.5) as plane:
        stopping = asyncio.create_task(plane.stop())
        await asyncio.sleep(0.05)
        ready = await admin(plane, "/-/ready")
        assert (ready.status, ready.text) == (503, "draining\n")
        assert (await exchange(plane, request(chat(), key=KEY))).status == 200
        await stopping


async def test_while_draining_an_answer_ends_its_connection_so_that_no_later_request_crosses_the_end() -> None:
    async with running(bundle_of(shard()), drain_delay=2) as plane:
        reader, writer = await connect(plane)
        writer.write(request(chat(), key=KEY))
        before = await read_answer(reader)
        stopping = asyncio.create_task(plane.stop())
        while (await admin(plane, "/-/ready")).status == 200:  # noqa: ASYNC110 - as a balancer sees it
            await asyncio.sleep(0)
        writer.write(request(chat(), key=KEY))
        after = await read_answer(reader)
        assert [answer.headers.get("connection") for answer in (before, after)] == [None, "close"]
        assert after.status == 200
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        await stopping


async def test_idle_connections_do_not_hold_it_up() -> None:
    async with running(bundle_of(shard()), grace=30) as plane:
        reader, writer = await connect(plane)
        writer.write(request(chat(), key=KEY))
        assert (await read_answer(reader)).status == 200
        async with asyncio.timeout(2):
            await plane.stop()
        assert await asyncio.wait_for(reader.read(), 1) == b""
        writer.close()


async def test_what_does_not_end_is_cut_after_the_grace() -> None:
    endless = mock_backend(chunk_delay_ms=60_000)
    async with running(bundle_of(shard(backends=[endless])), grace=0.2) as plane:
        reader, writer = await connect(plane)
        writer.write(request(chat(stream=True), key=KEY))
        assert (await read_head(reader))[0] == 200
        async with asyncio.timeout(3):
            await plane.stop()
        assert plane.metrics.in_flight == 0
        assert plane.ledger.outstanding == 0
        writer.close()


async def test_who_waits_for_a_revision_is_answered_without_a_complaint(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(bundle_of(shard())) as plane:
        waits = _announced(monkeypatch, plane.reloader)
        waiting = asyncio.create_task(admin(plane, "/-/status?waitRevision=99&timeoutSeconds=60"))
        async with asyncio.timeout(5):
            await waits.wait()
            await plane.stop()
            assert (await waiting).json()["draining"] is True
    assert "Exception" not in caplog.text


async def test_who_waits_for_a_revision_and_goes_away_leaves_no_complaint(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(bundle_of(shard())) as plane:
        waits = _announced(monkeypatch, plane.reloader)
        waiting = asyncio.create_task(admin(plane, "/-/status?waitRevision=99&timeoutSeconds=60"))
        await asyncio.wait_for(waits.wait(), 5)
        waiting.cancel()  # closes the connection
        assert (await admin(plane, "/-/live")).status == 200
    assert "Exception" not in caplog.text


def _announced(monkeypatch: pytest.MonkeyPatch, reloader: Reloader) -> asyncio.Event:
    """Set when somebody waits for a revision."""
    wait, waits = reloader.wait_for_change, asyncio.Event()

    async def announce() -> None:
        waits.set()
        await wait()

    monkeypatch.setattr(reloader, "wait_for_change", announce)
    return waits
