"""A source that fails by a defect must not leave a data plane alive with nothing to follow."""

import asyncio
from pathlib import Path

import pytest

from dataplane.factory import bundle_of, shard
from dataplane.planes import running
from tidegate_dataplane.snapshot.bundle import INDEX_KEY, shard_key
from tidegate_dataplane.snapshot.codec import decode_index
from tidegate_dataplane.source.directory import DirectorySource


async def test_a_source_that_failed_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = bundle_of(shard())
    (tmp_path / INDEX_KEY).write_bytes(bundle.index)
    for ref in decode_index(bundle.index).shards:
        (tmp_path / shard_key(ref.name, ref.sha256)).write_bytes(bundle.shards[ref.name])
    deliver, failed = DirectorySource.deliver, asyncio.Event()

    async def fail_once(source: DirectorySource) -> bool:
        if failed.is_set():
            return await deliver(source)
        failed.set()
        raise RuntimeError("a defect of this test")

    monkeypatch.setattr(DirectorySource, "deliver", fail_once)
    async with running(snapshot_dir=tmp_path) as plane, asyncio.timeout(5):
        await failed.wait()
        while not plane.ready:
            await plane.reloader.wait_for_change()
    assert "DirectorySource failed and begins anew" in caplog.text
    assert "a defect of this test" in caplog.text
