"""What holds of every compilation, whatever the World."""

import random
from dataclasses import replace
from typing import Any

import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiling.case import read_back, same_output
from compiling.worlds import FACTS, NAMESPACES, SPECS, hostile_specs, json_values, resources, secrets, worlds
from tidegate_dataplane.snapshot.codec import decode_index, decode_shard
from tidegate_operator.compile import Served, compile_world, make_bundle, make_index
from tidegate_operator.world import Kind, ObjectKey, Resource, World

NO_SECRETS: dict[Any, Any] = {}


@given(worlds(), worlds(), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_order_never_matters(before: World, world: World, chance: random.Random) -> None:
    previous = compile_world(before, FACTS).served
    keys, secret_keys, served_keys = list(world.resources), list(world.secrets), list(previous.entries)
    for shuffled in (keys, secret_keys, served_keys):
        chance.shuffle(shuffled)
    reordered = World({key: world.resources[key] for key in keys}, {key: world.secrets[key] for key in secret_keys})
    expected = compile_world(world, FACTS, previous)
    found = compile_world(reordered, FACTS, Served({key: previous.entries[key] for key in served_keys}))
    assert same_output(found, expected)
    assert make_bundle(found, FACTS, 7) == make_bundle(expected, FACTS, 7)


rival_routes = st.lists(
    st.builds(
        Resource,
        key=st.builds(ObjectKey, st.just(Kind.ROUTE), st.sampled_from(NAMESPACES), st.sampled_from(["one", "two"])),
        spec=st.sampled_from([["m"], ["n"], ["m", "n"], ["n", "o"], ["o"]]).map(
            lambda models: {"models": models, "targets": [{"backendRef": {"name": "mock"}}]}
        ),
        generation=st.integers(1, 2),
        uid=st.just("same"),
        created=st.integers(0, 1),
    ),
    unique_by=lambda resource: resource.key,
    min_size=2,
)


@given(rival_routes, rival_routes, st.randoms(use_true_random=False))
@settings(max_examples=80)
def test_each_claim_has_one_owner_whatever_the_order(
    before: list[Resource], now: list[Resource], chance: random.Random
) -> None:
    previous = compile_world(World({route.key: route for route in before}), FACTS).served
    expected = compile_world(World({route.key: route for route in now}), FACTS, previous)
    chance.shuffle(now)
    assert same_output(compile_world(World({route.key: route for route in now}), FACTS, previous), expected)
    claimed = [model for entry in expected.served.entries.values() for model in getattr(entry, "models", ())]
    assert len(claimed) == len(set(claimed))
    oldest = min(now, key=lambda route: (route.created, route.key))
    assert expected.verdicts[oldest.key].accepted


@given(worlds(), resources())
@settings(max_examples=80)
def test_an_unrelated_object_changes_no_other_entry(world: World, other: Resource) -> None:
    # In a namespace that nobody names, and younger than all: it can take nothing from anybody.
    stranger = replace(other, key=other.key._replace(namespace="elsewhere"), created=9)
    before = compile_world(world, FACTS)
    after = compile_world(World({**world.resources, stranger.key: stranger}, world.secrets), FACTS)
    entries = {key: entry for key, entry in after.served.entries.items() if key != stranger.key}
    assert entries == before.served.entries
    assert _bytes(entries) == _bytes(before.served.entries)
    assert {key: verdict for key, verdict in after.verdicts.items() if key != stranger.key} == before.verdicts


@given(worlds(), st.data())
@settings(max_examples=60)
def test_a_spec_that_became_invalid_leaves_every_entry_as_it_is(world: World, data: st.DataObject) -> None:
    before = compile_world(world, FACTS)
    served = sorted(before.served.entries)
    assume(served)
    # A later generation than that in force: an object in conflict serves an older one already.
    key = data.draw(st.sampled_from(served))
    good = world.resources[key]
    assume(before.verdicts[key].accepted)
    bad = replace(good, spec={"nonsense": data.draw(json_values)}, generation=good.generation + 1)
    after = compile_world(World({**world.resources, key: bad}, world.secrets), FACTS, read_back(before))
    assert after.shards == before.shards
    assert after.credentials == before.credentials
    assert not after.verdicts[key].accepted
    assert after.verdicts[key].served_generation == good.generation


@given(worlds(), st.data())
@settings(max_examples=60)
def test_one_object_that_was_never_valid_leaves_every_other_entry_as_it_is(world: World, data: st.DataObject) -> None:
    # Not so a policy or quota: it closes what it is attached to.
    kind = data.draw(st.sampled_from([Kind.BACKEND, Kind.CONSUMER, Kind.ROUTE]))
    bad = Resource(ObjectKey(kind, "team-a", "new"), {"nonsense": data.draw(json_values)})
    before = compile_world(world, FACTS)
    after = compile_world(World({**world.resources, bad.key: bad}, world.secrets), FACTS)
    assert after.shards == before.shards
    assert after.verdicts[bad.key].served_generation is None


@given(st.data(), worlds(most=8), secrets)
@settings(max_examples=80)
def test_no_spec_makes_the_compiler_raise(data: st.DataObject, world: World, held: Any) -> None:
    kind = data.draw(st.sampled_from(list(Kind)))
    hostile = Resource(ObjectKey(kind, "team-a", "hostile"), data.draw(hostile_specs(kind)))
    compiled = compile_world(World({**world.resources, hostile.key: hostile}, held), FACTS)
    assert compiled.verdicts.keys() == {*world.resources, hostile.key}
    assert all(verdict.accepted or verdict.errors for verdict in compiled.verdicts.values())


@given(worlds(), worlds())
@settings(max_examples=60)
def test_what_is_published_is_what_is_served_and_compiles_to_itself(before: World, world: World) -> None:
    previous = compile_world(before, FACTS).served
    compiled = compile_world(world, FACTS, previous)
    assert read_back(compiled) == compiled.served
    again = compile_world(world, FACTS, read_back(compiled))
    assert same_output(again, compiled)


@given(worlds())
@settings(max_examples=40)
def test_the_index_names_every_shard(world: World) -> None:
    compiled = compile_world(world, FACTS)
    index = make_index(compiled, FACTS, 42)
    bundle = make_bundle(compiled, FACTS, 42)
    assert decode_index(bundle.index) == index
    assert bundle.shards.keys() == {shard.name for shard in index.shards}
    shards = [decode_shard(bundle.shards[ref.name], name=ref.name, sha256=ref.sha256) for ref in index.shards]
    assert Served.from_shards(shards) == compiled.served
    assert [shard.name for shard in index.shards] == sorted(bundle.shards)


@given(worlds())
@settings(max_examples=60)
def test_no_secret_value_is_published_or_said(world: World) -> None:
    compiled = compile_world(world, FACTS)
    text = repr(compiled).encode() + _bytes(compiled.served.entries)
    text += repr(compiled.verdicts).encode()
    for held in world.secrets.values():
        for value in held.values():
            assert value.strip() == b"short" or value.strip() not in text


def _bytes(entries: Any) -> bytes:
    return msgspec.json.encode({str(key): entry for key, entry in entries.items()}, order="deterministic")


def test_the_strategies_reach_what_they_are_meant_to() -> None:
    assert set(SPECS) == set(Kind)
    assert FACTS.platform_namespace in NAMESPACES
