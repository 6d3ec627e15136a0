"""Which shard an object lives in."""

import random

import pytest

from tidegate_dataplane.snapshot.codec import MAX_SHARD_BYTES, decode_shard
from tidegate_operator.compile import CompileError, Memo, Served, compile_world
from tidegate_operator.compile.buckets import MAX_BUCKETS, bucket_count, bucket_hash
from tidegate_operator.world import Facts, Kind, ObjectKey, Resource, World


@pytest.mark.parametrize(
    ("objects", "buckets"), [(0, 1), (1, 1), (200, 1), (201, 2), (400, 2), (3_000, 16), (12_800, 64), (100_000, 64)]
)
def test_buckets_grow_in_powers_of_two(objects: int, buckets: int) -> None:
    assert bucket_count(objects) == buckets


def test_a_bucket_follows_from_namespace_and_name_alone() -> None:
    # The same in every process, unlike hash(): else each restart would rewrite every shard.
    assert bucket_hash("team-a", "chat") == 0xA106D85F
    assert bucket_hash("a", "b") != bucket_hash("b", "a")


def test_one_change_rewrites_one_shard() -> None:
    world = World({key: Resource(key, {}) for key in (_consumer(number) for number in range(1_000))})
    before = compile_world(world, Facts())
    key = _consumer(7)
    after = compile_world(World({**world.resources, key: Resource(key, {"tier": "free"}, generation=2)}), Facts())
    assert len(before.shards) == 8
    assert sum(one != other for one, other in zip(before.shards, after.shards, strict=True)) == 1


def test_oversized_shards_are_split_further() -> None:
    world = _incompressible(400)
    compiled = compile_world(world, Facts())
    assert len(compiled.shards) > bucket_count(400)
    assert all(len(shard.data) <= MAX_SHARD_BYTES for shard in compiled.shards)
    read = [decode_shard(shard.data, name=shard.name, sha256=shard.sha256) for shard in compiled.shards]
    assert Served.from_shards(read) == compiled.served
    memo = Memo()
    assert compile_world(world, Facts(), None, memo).shards == compiled.shards
    assert compile_world(world, Facts(), None, memo).shards == compiled.shards


def test_what_fits_nowhere_is_a_clear_error() -> None:
    # All in one bucket, however many there are: names chosen by their hash.
    keys = (_consumer(number) for number in range(1_000_000))
    same = (key for key in keys if bucket_hash(key.namespace, key.name) % MAX_BUCKETS == 5)
    chance = random.Random(1)
    resources = {key: Resource(key, _noise(chance)) for key, _ in zip(same, range(250), strict=False)}
    with pytest.raises(CompileError, match=r"shard 05 has \d+ bytes .* remove objects, or"):
        compile_world(World(resources), Facts())


def _consumer(number: int) -> ObjectKey:
    return ObjectKey(Kind.CONSUMER, "team-a", f"app-{number}")


def _noise(chance: random.Random) -> dict[str, object]:
    return {"attributes": {f"a{number}": chance.randbytes(128).hex() for number in range(32)}}


def _incompressible(count: int) -> World:
    chance = random.Random(1)
    return World({key: Resource(key, _noise(chance)) for key in map(_consumer, range(count))})
