"""What callers and the operator of a gateway meet when its audit log cannot be written, or is."""

import asyncio
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest

from dataplane.audit_logs import AUDIT_KEY, MemorySink
from dataplane.factory import KEY, OTHER_KEY, bundle_of, http_backend, shard
from dataplane.planes import running
from dataplane.raw_http import admin, chat, exchange, request
from dataplane.upstream import answer, completion, upstream
from dataplane.waiting import until
from tidegate_dataplane.audit.key import AuditKeyError
from tidegate_dataplane.audit.verdict import Expected
from tidegate_dataplane.audit.verify import verify
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.settings import AuditOptions, Settings, WhenFull

DENY = AuditOptions(when_full=WhenFull.DENY)


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> MemorySink:
    """Where a data plane's audit log goes in this test."""
    found = MemorySink()
    monkeypatch.setattr("tidegate_dataplane.audit.opening.make_sink", lambda where, **options: found)
    return found


async def test_no_call_goes_upstream_that_could_not_be_audited(sink: MemorySink) -> None:
    async with upstream(answer(completion())) as provider:
        world = bundle_of(shard(backends=[http_backend("mock", provider.url)]))
        async with running(world, audit=Path("unused"), audit_options=DENY) as plane:
            assert (await exchange(plane, request(chat(), key=KEY))).status == 200
            await until(lambda: sink.line_count == 2)
            sink.room = 0
            await exchange(plane, request(chat(), key=OTHER_KEY))
            await until(lambda: not plane.ready)
            before = len(provider.asked)
            refused = await exchange(plane, request(chat(), key=KEY))
            assert (refused.status, refused.json()["error"]["code"]) == (503, "audit_unavailable")
            assert int(refused.headers["retry-after"]) > 0
            assert plane.ledger.outstanding == 0
            assert len(provider.asked) == before == 1
            ready = await admin(plane, "/-/ready")
            assert (ready.status, "No space left on device" in ready.text) == (503, True)
            assert "No space left on device" in (await admin(plane, "/-/status")).json()["audit"]["failure"]
            assert "tidegate_audit_failing 1.0" in (await admin(plane, "/metrics")).text
            sink.room = None
            await until(lambda: plane.ready)
            assert (await exchange(plane, request(chat(), key=KEY))).status == 200
    codes = [line.get("code", "") for line in sink.lines if "event" not in line]
    assert codes == ["", "invalid_api_key", "audit_unavailable", ""]


async def test_when_not_told_to_deny_calls_go_on(sink: MemorySink) -> None:
    sink.room = 0
    async with running(bundle_of(shard()), audit=Path("unused")) as plane:
        assert (await exchange(plane, request(chat(), key=KEY))).status == 200
        await until(lambda: plane.metrics.render().count(b"tidegate_audit_failing 1.0"))
        assert (await exchange(plane, request(chat(), key=KEY))).status == 200
        assert (await admin(plane, "/-/ready")).status == 200


async def test_status_tells_how_far_the_log_is_written(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    key_file = tmp_path / "key"
    key_file.write_bytes(AUDIT_KEY)
    options = AuditOptions(key_file=key_file, host="pod-1")
    async with running(bundle_of(shard()), audit=log, audit_options=options) as plane:
        await exchange(plane, request(chat(), key=KEY))
        await until(lambda: log.read_text().count("\n") == 2)
        status = await admin(plane, "/-/status")
        metrics = (await admin(plane, "/metrics")).text
        assert AUDIT_KEY.decode() not in status.text + metrics + repr(plane.__dict__)
    found = status.json()["audit"]
    opened, line, _ = [json.loads(each) for each in log.read_text().splitlines()]
    assert (found["log"], found["writer"], found["keyId"]) == (opened["log"], opened["writer"]["id"], opened["keyId"])
    assert opened["writer"]["host"] == "pod-1"
    assert (found["seq"], found["chain"], found["written"]) == (line["seq"], line["chain"], 1)
    assert "tidegate_audit_seq 2.0" in metrics
    head = Expected(found["seq"], bytes.fromhex(found["chain"]))
    assert verify([log], keys=[AUDIT_KEY], expected=[head]).valid


async def test_status_says_when_no_log_is_kept() -> None:
    async with running(bundle_of(shard())) as plane:
        assert (await admin(plane, "/-/status")).json()["audit"] is None


def test_a_key_that_cannot_be_used_is_said_at_the_start(tmp_path: Path) -> None:
    options = AuditOptions(key_file=tmp_path / "nothing")
    with pytest.raises(AuditKeyError, match="cannot read the audit key"):
        DataPlane(Settings(audit=str(tmp_path / "log"), audit_options=options))


async def test_a_pipe_that_is_not_read_stops_calls_and_reading_it_lets_them_go_on(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    read = bytearray()

    async def fill(plane: DataPlane) -> bool:
        for _ in range(10):
            await exchange(plane, request(b"{", key=KEY))
        await admin(plane, "/-/ready")  # as the kubelet does
        return not plane.ready

    async def refused(plane: DataPlane) -> bool:
        await fill(plane)
        return (await exchange(plane, request(chat(), key=KEY))).status == 503

    def drain() -> bool:
        with suppress(BlockingIOError):
            read.extend(os.read(reader, 1 << 20))
        return plane.ready

    try:
        async with running(bundle_of(shard()), audit=path, audit_options=DENY) as plane:
            assert (await exchange(plane, request(chat(), key=KEY))).status == 200
            async with asyncio.timeout(60):
                while not await refused(plane):
                    pass
            assert "hanging" in (await admin(plane, "/-/ready")).text
            await until(drain)
            assert (await exchange(plane, request(chat(), key=KEY))).status == 200
        drain()
    finally:
        os.close(reader)
    log = tmp_path / "log"
    log.write_bytes(read)
    verdict = verify([log])
    assert verdict.valid
    assert verdict.logs[0].closed
