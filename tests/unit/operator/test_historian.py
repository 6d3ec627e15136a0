"""Contents first, then the list, then what nothing names goes; and whatever moment it dies, what is listed is whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tidegate_dataplane.snapshot.codec import digest, encode_shard
from tidegate_dataplane.snapshot.entries import SCHEMA_VERSION, RouteEntry, Shard, Source
from tidegate_operator.compile.compiled import EncodedShard, Served
from tidegate_operator.outputs import Gateway
from tidegate_operator.release import historian
from tidegate_operator.release.content import Content
from tidegate_operator.release.historian import Historian, HistoryDamaged, history_name, kept_name
from tidegate_operator.release.history import Record, decode_history, shards_of

NAMESPACE = "tidegate-system"
MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
LIST = f"{MAPS}/{history_name('default')}"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(historian, "PAUSE_SECONDS", 0.0)


def content(*names: str) -> Content:
    """One shard for each "SHARD:CONTENT"."""
    shards = []
    for name in names:
        number, _, words = name.partition(":")
        route = RouteEntry(Source("team", f"route-{words}", 1), ("m",), (), ())
        data = encode_shard(Shard(SCHEMA_VERSION, routes=(route,)))
        shards.append(EncodedShard(number, data, digest(data)))
    return Content(tuple(shards), Served({}))


def record(revision: int, of: Content) -> Record:
    return Record(revision, 0, of.digest, shards_of(of))


@asynccontextmanager
async def running(api: Any, *, keep: int = 20) -> AsyncIterator[Historian]:
    found = Historian(api, Gateway("default", NAMESPACE), keep=keep)
    await found.recover()
    task = asyncio.create_task(found.run())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_revisions_share_the_shards_that_they_have_in_common(api: Any) -> None:
    async with running(api) as kept:
        for revision, words in enumerate("abc", 1):
            of = content("00:same", f"01:{words}")
            kept.note(record(revision, of), of)
        await kept.settled()
        assert len(api.objects) == 1 + 4
        for revision, words in enumerate("abc", 1):
            found = kept.history.find(revision)
            assert found is not None
            read = await kept.read(found)
            assert [shard.data for shard in read.shards] == [
                shard.data for shard in content("00:same", f"01:{words}").shards
            ]


async def test_the_list_names_nothing_that_is_not_there_whenever_it_dies(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writes of six revisions are cut off at each place in turn; the next leader goes on from there."""
    monkeypatch.setattr(historian, "RETRY_SECONDS", (3600.0,))
    for dies_after in range(16):
        api.objects.clear()
        writes = 0

        def die(method: str, path: str, dies_after: int = dies_after) -> Exception | None:
            nonlocal writes
            writes += 1
            return ConnectionError("killed") if writes > dies_after else None

        api.after = lambda method, path: whole(api)
        api.fail = die
        async with running(api, keep=2) as first:
            for revision in range(1, 7):
                of = content(f"00:{revision}", "01:same")
                first.note(record(revision, of), of)
                for _ in range(30):
                    await asyncio.sleep(0)
        api.fail = lambda method, path: None
        async with running(api, keep=2) as second:
            of = content("00:new", "01:same")
            second.note(record(99, of), of)
            await asyncio.wait_for(second.settled(), 5)
            assert second.history.revisions[0].revision == 99
            named = {kept_name("default", sha256) for sha256 in second.history.digests}
            there = {path.rpartition("/")[2] for path in api.objects} - {history_name("default")}
            assert there == named, "something is kept that nothing names"


def whole(api: Any) -> None:
    """Every shard that the list names is there."""
    if LIST in api.objects:
        history = decode_history(api.objects[LIST]["data"]["history.json"].encode())
        assert history is not None
        for sha256 in history.digests:
            assert f"{MAPS}/{kept_name('default', sha256)}" in api.objects


async def test_what_was_edited_by_hand_is_not_taken_for_the_revision(api: Any) -> None:
    async with running(api) as kept:
        of = content("00:a")
        kept.note(record(1, of), of)
        await kept.settled()
        (path,) = [path for path in api.objects if "kept" in path]
        api.edit(path, lambda item: item["binaryData"].update({"shard.json.gz": "QUJD"}))
        with pytest.raises(HistoryDamaged, match="revision 1 cannot be read back"):
            await kept.read(kept.history.revisions[0])


async def test_a_leader_that_was_overtaken_writes_nothing_over_its_successor(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(historian, "RETRY_SECONDS", (0.0,))
    async with running(api) as old, running(api) as new:
        one, two = content("00:a"), content("00:b")
        new.note(record(7, two), two)
        await new.settled()
        old.note(record(6, one), one)
        await asyncio.wait_for(old.settled(), 5)
        history = decode_history(api.objects[LIST]["data"]["history.json"].encode())
        assert history is not None
        assert [each.revision for each in history.revisions] == [7, 6]


async def test_a_burst_of_revisions_is_written_at_once(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(historian, "PAUSE_SECONDS", 0.1)
    async with running(api) as kept:
        for revision in range(1, 11):
            of = content(f"00:{revision}")
            kept.note(record(revision, of), of)
            await asyncio.sleep(0.005)
        await asyncio.wait_for(kept.settled(), 5)
        assert len(kept.history.revisions) == 10
        assert sum(path.endswith("-history") or path == f"POST {MAPS}" for path in api.log) <= 10 + 3
