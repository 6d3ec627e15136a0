"""Snapshots that are not taken leave the one before in force, and say why."""

import asyncio
import gzip

import pytest

from dataplane.factory import bundle_of, mock_backend, route, shard
from tidegate_dataplane.reload import Outcome, Reloader
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.codec import MAX_SHARD_BYTES, Refusal, digest, encode_index, encode_shard
from tidegate_dataplane.snapshot.entries import SCHEMA_VERSION, ClusterFacts, Index, Shard, ShardRef


def two_shards(revision: int, *, reply: str = "one") -> Bundle:
    return bundle_of(
        shard(), shard(backends=[mock_backend("second", reply=reply)], routes=[route("b")]), revision=revision
    )


def with_shard(data: bytes, *, revision: int = 2) -> Bundle:
    ref = ShardRef(name="00", sha256=digest(data), size=len(data))
    index = Index(
        schema_version=SCHEMA_VERSION, revision=revision, gateway="default", cluster=ClusterFacts(), shards=(ref,)
    )
    return Bundle(encode_index(index), {"00": data})


async def loaded(revision: int = 1) -> Reloader:
    reloader = Reloader("default", clock=lambda: 1000.0)
    assert await reloader.offer(bundle_of(shard(), revision=revision)) is Outcome.LOADED
    return reloader


BROKEN = {
    "not gzip": (with_shard(b"hello"), Refusal.CORRUPTED),
    "truncated": (with_shard(encode_shard(shard())[:-5]), Refusal.CORRUPTED),
    "not json": (with_shard(gzip.compress(b"{")), Refusal.CORRUPTED),
    "unknown field": (with_shard(gzip.compress(b'{"schema_version":1,"surprise":1}')), Refusal.CORRUPTED),
    "too large": (with_shard(b"x" * (MAX_SHARD_BYTES + 1)), Refusal.TOO_LARGE),
    "bomb": (with_shard(gzip.compress(b" " * 68_000_000)), Refusal.TOO_LARGE),
    "newer index": (bundle_of(shard(), revision=2, schema_version=SCHEMA_VERSION + 1), Refusal.NEWER_SCHEMA),
    "newer shard": (with_shard(encode_shard(Shard(schema_version=SCHEMA_VERSION + 1))), Refusal.NEWER_SCHEMA),
    "index not json": (Bundle(b"{", {}), Refusal.CORRUPTED),
    "index too large": (Bundle(b" " * 300_000, {}), Refusal.TOO_LARGE),
    "another gateway": (bundle_of(shard(), revision=2, gateway="other"), Refusal.WRONG_GATEWAY),
    "older": (bundle_of(shard(), revision=0), Refusal.OLDER_REVISION),
}


@pytest.mark.parametrize(("bundle", "reason"), BROKEN.values(), ids=BROKEN.keys())
async def test_what_is_wrong_is_refused_and_the_old_one_stays(bundle: Bundle, reason: Refusal) -> None:
    reloader = await loaded()
    before = reloader.runtime
    assert await reloader.offer(bundle) is Outcome.REFUSED
    assert reloader.runtime is before
    assert reloader.last_refusal is not None
    assert reloader.last_refusal.reason is reason
    assert reloader.last_refusal.message
    assert reloader.last_refusal.at == 1000.0
    assert (reloader.revision, reloader.refusals) == (1, 1)


async def test_a_shard_with_other_bytes_than_the_index_names_is_refused() -> None:
    reloader = await loaded()
    good = bundle_of(shard(), revision=2)
    bundle = Bundle(good.index.replace(digest(good.shards["00"]).encode(), b"0" * 64), good.shards)
    assert await reloader.offer(bundle) is Outcome.REFUSED
    assert reloader.last_refusal is not None
    assert reloader.last_refusal.reason is Refusal.DIGEST_MISMATCH


async def test_the_same_refusal_is_counted_once_however_often_it_is_offered() -> None:
    outcomes: list[Outcome] = []
    reloader = Reloader("default", on_outcome=outcomes.append)
    for _ in range(3):
        await reloader.offer(with_shard(b"hello"))
    assert reloader.refusals == 1
    assert outcomes == [Outcome.REFUSED] * 3


async def test_a_refused_snapshot_does_not_stop_the_next_good_one() -> None:
    reloader = await loaded()
    await reloader.offer(with_shard(b"hello"))
    assert await reloader.offer(bundle_of(shard(), revision=3)) is Outcome.LOADED
    assert reloader.revision == 3


async def test_the_same_digests_do_nothing() -> None:
    reloader = await loaded()
    before = reloader.runtime
    assert await reloader.offer(bundle_of(shard(), revision=1)) is Outcome.UNCHANGED
    assert reloader.runtime is before


async def test_an_incomplete_snapshot_is_waited_for_and_never_mixed() -> None:
    reloader = Reloader("default")
    await reloader.offer(two_shards(1))
    before = reloader.runtime
    new = two_shards(2, reply="two")
    assert await reloader.offer(Bundle(new.index, {"00": new.shards["00"]})) is Outcome.INCOMPLETE
    assert reloader.runtime is before
    assert reloader.refusals == 0
    assert await reloader.offer(new) is Outcome.LOADED


async def test_shards_that_are_held_need_not_be_brought_again() -> None:
    reloader = Reloader("default")
    await reloader.offer(two_shards(1))
    kept = reloader.loaded
    assert kept is not None
    new = two_shards(2, reply="two")
    held = digest(new.shards["00"])
    assert reloader.holds(held)
    assert await reloader.offer(Bundle(new.index, {"01": new.shards["01"]})) is Outcome.LOADED
    assert reloader.loaded is not None
    assert reloader.loaded.shards[held] is kept.shards[held]


async def test_a_source_that_lags_behind_another_is_no_refusal() -> None:
    reloader = Reloader("default")
    await reloader.offer(bundle_of(shard(), revision=5), source="api")
    assert await reloader.offer(bundle_of(shard(), revision=4), source="directory") is Outcome.BEHIND
    assert await reloader.offer(two_shards(5), source="directory") is Outcome.BEHIND
    assert (reloader.revision, reloader.refusals) == (5, 0)
    assert await reloader.offer(bundle_of(shard(), revision=6), source="directory") is Outcome.LOADED


async def test_offers_at_once_end_with_the_highest_revision() -> None:
    reloader = Reloader("default")
    await asyncio.gather(*(reloader.offer(two_shards(number, reply=str(number))) for number in (3, 1, 7, 2, 5)))
    assert reloader.revision == 7


async def test_whoever_waits_hears_of_a_new_revision_and_of_a_refusal() -> None:
    reloader = await loaded()
    waiting = asyncio.create_task(reloader.wait_for_change())
    await asyncio.sleep(0)
    await reloader.offer(bundle_of(shard(), revision=2))
    await asyncio.wait_for(waiting, 1)
    waiting = asyncio.create_task(reloader.wait_for_change())
    await asyncio.sleep(0)
    await reloader.offer(with_shard(b"hello", revision=3))
    await asyncio.wait_for(waiting, 1)
