"""Cutting lists: nothing is lost, parts are small, and one edit rewrites one shard."""

import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_dataplane.snapshot.codec import MAX_SHARD_BYTES, decode_shard
from tidegate_dataplane.snapshot.entries import ListKind, ListPart
from tidegate_dataplane.snapshot.list_key import ListKey
from tidegate_dataplane.snapshot.records import join_digests, join_networks, network_record, split_records
from tidegate_operator.compile.compiled import EncodedShard, Served
from tidegate_operator.compile.list_content import RECORD_BYTES
from tidegate_operator.compile.list_parts import RECORDS_IN_PART, cut
from tidegate_operator.compile.list_shards import MAX_WEIGHT, ListShardEncoder, shard_count, weight

HASHES = ListKey("team-a", "leaks", True, ListKind.KEY_HASHES)
FEED = ListKey("team-a", "feed", False, ListKind.ADDRESSES)


def digests(count: int, seed: int = 1) -> list[bytes]:
    chance = random.Random(seed)
    return [chance.randbytes(16) for _ in range(count)]


def networks(count: int, seed: int = 1) -> list[bytes]:
    """Single addresses of both families, crowded as in real feeds."""
    chance = random.Random(seed)
    texts = (
        f"{chance.choice((45, 91, 185))}.{chance.randrange(256)}.{chance.randrange(256)}.{chance.randrange(256)}"
        if chance.random() < 0.7
        else f"2a0{chance.randrange(4)}:db8::{chance.getrandbits(32):x}"
        for _ in range(count)
    )
    return [record for text in texts if (record := network_record(text))]


@given(st.integers(0, 6000), st.integers(0, 3), st.sampled_from((HASHES, FEED)))
def test_cutting_loses_nothing_and_keeps_the_order(count: int, seed: int, key: ListKey) -> None:
    records = join_digests(digests(count, seed)) if key is HASHES else join_networks(networks(count, seed))
    parts = cut(key, records)
    assert b"".join(part.data for part in parts) == records
    assert all(0 < len(part.data) <= RECORDS_IN_PART * RECORD_BYTES[key.kind] for part in parts)
    assert len({part.part for part in parts}) == len(parts)


@pytest.mark.parametrize("key", [HASHES, FEED])
def test_one_edit_touches_one_part(key: ListKey) -> None:
    chance = random.Random(3)
    size = RECORD_BYTES[key.kind]
    records = join_digests(digests(20_000)) if key is HASHES else join_networks(networks(20_000))
    before = {part.part: part for part in cut(key, records)}
    touched = []
    for _ in range(50):
        edited = split_records(records, size)
        del edited[chance.randrange(len(edited))]
        after = {part.part: part for part in cut(key, b"".join(edited))}
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        touched.append(len(changed))
    # A part that grows beyond its bound is halved, one that shrinks is joined: then three names differ.
    assert sorted(touched)[45] == 1
    assert max(touched) <= 3


@pytest.mark.parametrize("count", [0, 1, 3_000, 100_000])
def test_shards_hold_what_was_cut(count: int) -> None:
    lists = {key: parts for key in (HASHES, FEED) if (parts := _cut(key, count))}
    shards = ListShardEncoder().encode(lists)
    assert all(len(shard.data) <= MAX_SHARD_BYTES for shard in shards)
    read = [decode_shard(shard.data, name=shard.name, sha256=shard.sha256) for shard in shards]
    assert Served.from_shards(read).lists == lists
    assert [shard.name for shard in shards] == sorted(shard.name for shard in shards)
    assert len(shards) <= shard_count([part for parts in lists.values() for part in parts])


def test_one_edit_rewrites_one_shard_and_the_same_rewrites_none() -> None:
    encoder = ListShardEncoder()
    records = split_records(join_digests(digests(100_000)), 16)
    before = encoder.encode({HASHES: cut(HASHES, b"".join(records))})
    assert len(before) == 16
    assert encoder.encode({HASHES: cut(HASHES, b"".join(records))}) == before
    assert ListShardEncoder().encode({HASHES: cut(HASHES, b"".join(records))}) == before
    del records[4711]
    after = encoder.encode({HASHES: cut(HASHES, b"".join(records))})
    assert len(_differing(before, after)) == 1


def test_full_shards_pass_parts_on() -> None:
    parts = tuple(
        ListPart("a", "b", False, ListKind.KEY_HASHES, str(number), random.Random(number).randbytes(16_384))
        for number in range(1_200)
    )
    assert weight(parts) <= MAX_WEIGHT
    shards = ListShardEncoder().encode({HASHES: parts})
    assert len(shards) == 64
    assert all(len(shard.data) <= MAX_SHARD_BYTES for shard in shards)


def _cut(key: ListKey, count: int) -> tuple[ListPart, ...]:
    return cut(key, join_digests(digests(count)) if key is HASHES else join_networks(networks(count)))


def _differing(one: tuple[EncodedShard, ...], other: tuple[EncodedShard, ...]) -> set[str]:
    before: Mapping[str, str] = {shard.name: shard.sha256 for shard in one}
    after = {shard.name: shard.sha256 for shard in other}
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
