"""Lists through the compiler: a plain model of what must be in force, over random edits, with and without a Memo."""

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from compiling.case import read_back, same_output
from tidegate_dataplane.snapshot.entries import ListKind
from tidegate_dataplane.snapshot.list_key import ListKey
from tidegate_dataplane.snapshot.records import digest_record, join_digests, join_networks, network_record
from tidegate_operator.compile import Compiled, Memo, Served, compile_world
from tidegate_operator.compile.list_parts import joined
from tidegate_operator.world import ConfigMapKey, Facts, Kind, ObjectKey, Resource, SecretKey, World

T = TypeVar("T")

FACTS = Facts()
NAMESPACES = ("team-a", "team-b")
NAMES = ("one", "two")
NETWORKS = ("192.0.2.0/24", "192.0.2.7", "2001:db8::/32", "10.0.0.0/8 # ten")
HASHES = ("0" * 64, "1" * 64 + " ; seen", "AB" * 32)
RUBBISH = ("<html>", "10.0.0.0-10.0.0.9", "z" * 64)

texts = st.lists(st.sampled_from((*NETWORKS, *HASHES, *RUBBISH, "", "# comment")), max_size=6).map("\n".join)
values = st.dictionaries(st.sampled_from(("a.txt", "b.txt")), texts.map(str.encode), min_size=1)
refs = st.builds(
    lambda name, secret: {"secretRef" if secret else "configMapRef": {"name": name}},
    st.sampled_from(NAMES),
    st.booleans(),
)
some_refs = st.lists(refs, min_size=1, max_size=2, unique_by=repr)


@st.composite
def policies(draw: st.DrawFn) -> Resource:
    spec: dict[str, object] = {"targetRefs": [{"kind": "Namespace"}], "rateLimits": [{"name": "r", "requests": 1}]}
    if draw(st.booleans()):
        spec["network"] = {"denyLists": draw(some_refs)}
    if draw(st.booleans()):
        spec["authentication"] = {"methods": ["APIKey"], "leakedKeys": draw(some_refs)}
    key = ObjectKey(Kind.POLICY, draw(st.sampled_from(NAMESPACES)), draw(st.sampled_from(NAMES)))
    return Resource(key, spec, draw(st.integers(1, 3)), "uid")


@st.composite
def worlds(draw: st.DrawFn) -> World:
    drawn = draw(st.lists(policies(), max_size=4, unique_by=lambda policy: policy.key))
    return World(
        {policy.key: policy for policy in drawn},
        draw(st.dictionaries(st.builds(SecretKey, st.sampled_from(NAMESPACES), st.sampled_from(NAMES)), values)),
        config_maps=draw(
            st.dictionaries(st.builds(ConfigMapKey, st.sampled_from(NAMESPACES), st.sampled_from(NAMES)), values)
        ),
    )


def expected(world: World, before: Mapping[ListKey, bytes]) -> dict[ListKey, bytes]:
    """What is in force after `world`, where `before` was."""
    found = {}
    for key in _named(world):
        held = (
            world.secrets.get(SecretKey(key.namespace, key.name))
            if key.secret
            else world.config_maps.get(ConfigMapKey(key.namespace, key.name))
        )
        if held is None:
            continue
        records, lines = _readable(held, key.kind)
        if len(records) * 2 < lines:
            records = [] if key in before else records
            found[key] = before.get(key, _join(records, key.kind))
        else:
            found[key] = _join(records, key.kind)
    return {key: records for key, records in found.items() if records}


def _named(world: World) -> set[ListKey]:
    sections = {"network": ("denyLists", ListKind.ADDRESSES), "authentication": ("leakedKeys", ListKind.KEY_HASHES)}
    return {
        ListKey(key.namespace, next(iter(ref.values()))["name"], "secretRef" in ref, kind)
        for key, policy in world.resources.items()
        for section, (field, kind) in sections.items()
        for ref in policy.spec.get(section, {}).get(field, ())
    }


def _readable(held: Mapping[str, bytes], kind: ListKind) -> tuple[list[bytes], int]:
    read = network_record if kind is ListKind.ADDRESSES else digest_record
    entries = [
        entry
        for text in held.values()
        for line in text.decode().splitlines()
        if (entry := line.split("#")[0].split(";")[0].strip())
    ]
    return [record for entry in entries if (record := read(entry))], len(entries)


def _join(records: list[bytes], kind: ListKind) -> bytes:
    return join_networks(records) if kind is ListKind.ADDRESSES else join_digests(records)


def in_force(compiled: Compiled) -> dict[ListKey, bytes]:
    return {key: joined(parts) for key, parts in compiled.served.lists.items()}


@given(st.lists(worlds(), min_size=1, max_size=4))
def test_what_is_in_force_follows_from_the_edits(edits: list[World]) -> None:
    memo, served, before = Memo(), Served({}), dict[ListKey, bytes]()
    for world in edits:
        compiled = compile_world(world, FACTS, served, memo)
        assert same_output(compile_world(world, FACTS, served), compiled)
        before = expected(world, before)
        assert in_force(compiled) == before
        served = read_back(compiled)
        assert served == compiled.served
        # Nothing changes by itself.
        assert same_output(compile_world(world, FACTS, served, memo), compiled)


@given(worlds(), worlds(), st.randoms(use_true_random=False))
def test_order_never_matters(first: World, world: World, chance: random.Random) -> None:
    served = compile_world(first, FACTS).served
    held = {key: dict(_shuffled(list(data.items()), chance)) for key, data in world.config_maps.items()}
    other = World(
        dict(_shuffled(list(world.resources.items()), chance)),
        dict(_shuffled(list(world.secrets.items()), chance)),
        config_maps=dict(_shuffled(list(held.items()), chance)),
    )
    assert same_output(compile_world(other, FACTS, served), compile_world(world, FACTS, served))


@given(worlds(), values)
def test_a_list_touches_its_own_namespace_alone(world: World, held: dict[str, bytes]) -> None:
    before = compile_world(world, FACTS)
    key = ConfigMapKey("team-a", "one")
    after = compile_world(replace(world, config_maps={**world.config_maps, key: held}), FACTS)
    elsewhere = [one for one in world.resources if one.namespace != "team-a"]
    assert [after.verdicts[one] for one in elsewhere] == [before.verdicts[one] for one in elsewhere]
    theirs = {one: records for one, records in in_force(before).items() if one.namespace != "team-a"}
    assert {one: records for one, records in in_force(after).items() if one.namespace != "team-a"} == theirs


def _shuffled(items: list[T], chance: random.Random) -> list[T]:
    chance.shuffle(items)
    return items
