"""Which shard an object lives in."""

import json
import random

import pytest

from tidegate_dataplane.snapshot.codec import MAX_SHARD_BYTES, decode_shard
from tidegate_operator.compile import Memo, Served, compile_world
from tidegate_operator.compile.buckets import MAX_BUCKETS, bucket_count, bucket_hash
from tidegate_operator.verdicts import Reason
from tidegate_operator.world import Facts, Kind, ObjectKey, Resource, SecretKey, World


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


def _in_one_bucket(namespace: str, count: int) -> list[ObjectKey]:
    """All in one bucket, however many there are: names chosen by their hash."""
    keys = (ObjectKey(Kind.CONSUMER, namespace, f"app-{number}") for number in range(1_000_000))
    same = (key for key in keys if bucket_hash(key.namespace, key.name) % MAX_BUCKETS == 5)
    return [key for key, _ in zip(same, range(count), strict=False)]


def test_who_fills_a_shard_displaces_only_its_own() -> None:
    chance = random.Random(1)
    neighbours = _in_one_bucket("team-b", 20)
    greedy = _in_one_bucket("team-a", 250)
    resources = {key: Resource(key, _noise(chance)) for key in (*neighbours, *greedy)}
    compiled = compile_world(World(resources), Facts())
    assert all(len(shard.data) <= MAX_SHARD_BYTES for shard in compiled.shards)
    read = [decode_shard(shard.data, name=shard.name, sha256=shard.sha256) for shard in compiled.shards]
    assert Served.from_shards(read) == compiled.served
    assert compiled.served.entries.keys() >= set(neighbours)
    assert all(compiled.verdicts[key].accepted for key in neighbours)
    left_out = [key for key in greedy if key not in compiled.served.entries]
    assert 0 < len(left_out) < len(greedy)
    for key in left_out:
        verdict = compiled.verdicts[key]
        assert verdict.served_generation is None
        assert [found.reason for found in verdict.errors] == [Reason.TOO_LARGE]
    assert compile_world(World(dict(reversed(resources.items()))), Facts()).shards == compiled.shards
    memo = Memo()
    assert compile_world(World(resources), Facts(), None, memo).shards == compiled.shards
    fewer = World({key: resource for key, resource in resources.items() if key not in left_out})
    assert compile_world(fewer, Facts(), None, memo).shards == compile_world(fewer, Facts()).shards


def test_one_policy_with_large_key_sets_holds_back_nobody() -> None:
    """A key set in a Secret may have 256 KiB, and a policy names four."""
    chance = random.Random(1)
    secrets = {SecretKey("team-a", f"keys-{number}"): {"jwks": _key_set(chance)} for number in range(4)}
    jwt: list[dict[str, object]] = [
        {
            "name": f"idp-{number}",
            "issuer": "https://idp.example.com",
            "audiences": ["a"],
            "jwksSecretRef": {"name": f"keys-{number}", "key": "jwks"},
        }
        for number in range(4)
    ]
    policy = ObjectKey(Kind.POLICY, "team-a", "login")
    spec = {"targetRefs": [{"kind": "Namespace"}], "authentication": {"methods": ["JWT"], "jwt": jwt}}
    neighbour = ObjectKey(Kind.CONSUMER, "team-b", "app")
    world = World({policy: Resource(policy, spec), neighbour: Resource(neighbour, {})}, secrets)
    compiled = compile_world(world, Facts())
    assert list(compiled.served.entries) == [neighbour]
    assert [found.reason for found in compiled.verdicts[policy].errors] == [Reason.TOO_LARGE]


def test_who_fills_the_credentials_displaces_only_its_own() -> None:
    spec = {
        "provider": "OpenAI",
        "endpoint": "https://api.example.com/v1",
        "credential": {"secretRef": {"name": "key", "key": "key"}},
    }
    keys = {name: ObjectKey(Kind.BACKEND, *name.split("/")) for name in ("team-a/x", "team-a/y", "team-b/x")}
    secrets = {
        SecretKey("team-a", "key"): {"key": b"k" * 900_000},
        SecretKey("team-b", "key"): {"key": b"sk-of-team-b"},
    }
    compiled = compile_world(World({key: Resource(key, spec) for key in keys.values()}, secrets), Facts())
    assert compiled.credentials == {"team-b.x": b"sk-of-team-b"}
    assert compiled.verdicts[keys["team-b/x"]].resolved
    for name in ("team-a/x", "team-a/y"):
        assert [found.reason for found in compiled.verdicts[keys[name]].unresolved] == [Reason.TOO_LARGE]


def _key_set(chance: random.Random) -> bytes:
    keys = [{"kty": "RSA", "kid": str(at), "e": "AQAB", "n": chance.randbytes(1_200).hex()} for at in range(100)]
    return json.dumps({"keys": keys}).encode()


def _consumer(number: int) -> ObjectKey:
    return ObjectKey(Kind.CONSUMER, "team-a", f"app-{number}")


def _noise(chance: random.Random) -> dict[str, object]:
    return {"attributes": {f"a{number}": chance.randbytes(128).hex() for number in range(32)}}


def _incompressible(count: int) -> World:
    chance = random.Random(1)
    return World({key: Resource(key, _noise(chance)) for key in map(_consumer, range(count))})
