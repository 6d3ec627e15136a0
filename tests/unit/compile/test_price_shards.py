"""Price tables travel with the objects, one for each provider in use, and cost nothing while they do not change."""

from typing import Any

from tidegate_dataplane.snapshot.codec import MAX_SHARD_BYTES, decode_shard
from tidegate_dataplane.snapshot.entries import PriceTable, Provider
from tidegate_operator.compile import Compiled, Memo, Served, compile_world
from tidegate_operator.compile.prices import price_table
from tidegate_operator.world import Facts, Kind, ObjectKey, Resource, World

FACTS = Facts(platform_namespace="platform")
ENDPOINT = {"endpoint": "https://models.example.com/v1"}
AZURE = {"provider": "AzureOpenAI", "apiVersion": "2024-10-21", **ENDPOINT}


def world(*specs: dict[str, Any], consumers: int = 0) -> World:
    objects = [(Kind.BACKEND, f"backend-{number}", spec) for number, spec in enumerate(specs)]
    objects += [(Kind.CONSUMER, f"app-{number}", {}) for number in range(consumers)]
    keys = {ObjectKey(kind, "team-a", name): spec for kind, name, spec in objects}
    return World({key: Resource(key, spec=spec, generation=1) for key, spec in keys.items()})


def tables(compiled: Compiled) -> list[PriceTable]:
    shards = [decode_shard(shard.data, name=shard.name, sha256=shard.sha256) for shard in compiled.shards]
    return [table for shard in shards for table in shard.prices]


def test_a_snapshot_has_the_tables_of_the_providers_in_use_and_no_others() -> None:
    openai = {"provider": "OpenAI", **ENDPOINT}
    assert tables(compile_world(world({"provider": "Mock"}), FACTS)) == []
    assert tables(compile_world(world({"provider": "OpenAICompatible", **ENDPOINT}), FACTS)) == []
    assert tables(compile_world(world(openai, openai), FACTS)) == [price_table(Provider.OPEN_AI)]
    found = tables(compile_world(world(openai, AZURE, consumers=1000), FACTS))
    assert sorted(table.provider for table in found) == ["AzureOpenAI", "OpenAI"]


def test_the_same_world_gives_the_same_bytes_with_and_without_a_memo() -> None:
    memo = Memo()
    worlds = [
        world({"provider": "Mock"}, consumers=300),
        world(AZURE, consumers=300),
        world(AZURE, {"provider": "OpenAI", **ENDPOINT}, consumers=300),
        world({"provider": "Mock"}, consumers=300),
    ]
    previous = Served({})
    for each in worlds:
        remembered = compile_world(each, FACTS, previous, memo)
        assert remembered.shards == compile_world(each, FACTS, previous).shards
        previous = remembered.served


def test_an_edit_elsewhere_leaves_the_shard_of_the_table_as_it_was() -> None:
    before = compile_world(world(AZURE, consumers=1000), FACTS)
    after = compile_world(world(AZURE, consumers=1001), FACTS)
    assert len(before.shards) == len(after.shards)
    changed = [one.name for one, other in zip(before.shards, after.shards, strict=True) if one.data != other.data]
    assert len(changed) == 1


def test_a_table_is_small_beside_a_shard() -> None:
    with_tables = compile_world(world({"provider": "OpenAI", **ENDPOINT}, AZURE), FACTS)
    assert sum(len(shard.data) for shard in with_tables.shards) < MAX_SHARD_BYTES // 40
