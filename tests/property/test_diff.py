"""`tidegate diff` says of access exactly what trying every call of every consumer on both sides by itself says."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest

from deciding.random_world import FACTS, MONDAY, NAMESPACES, PLATFORM, WorldMaker
from tidegate_dataplane.runtime import Runtime
from tidegate_operator.difference.access import ABSENT, Kind, access_changes, kinds_of
from tidegate_operator.difference.outcome import identities_of, outcome
from tidegate_operator.difference.sides import ClusterBench, Sides
from tidegate_operator.difference.slots import Slot, slots
from tidegate_operator.world import Kind as ObjectKind
from tidegate_operator.world import ObjectKey, Resource, World

CHANGES = int(os.environ.get("TIDEGATE_DIFF_CHANGES", "60"))
NOW = float(MONDAY + 3 * 3_600)

Fact = tuple[Kind, Slot, str, Any, Any]


def changed(world: World, seed: int) -> World:
    """The same world after one to four edits: objects go, come, or change in one of their fields."""
    random = Random(seed)
    resources = dict(world.resources)
    donor = WorldMaker(seed + 10_000).world().resources
    maker = WorldMaker(seed + 20_000)
    for number in range(random.randint(1, 4)):
        key = random.choice(sorted(resources))
        what = random.random()
        if what < 0.2:
            del resources[key]
        elif what < 0.4:
            namespace = random.choice((*NAMESPACES, PLATFORM))
            new = ObjectKey(ObjectKind.POLICY, namespace, f"new-{number}")
            strength = random.choice(("Required", "Default"))
            resources[new] = maker.policy(new, [f"route-{one}" for one in range(2)], strength=strength)
        elif what < 0.7 and key in donor:
            resources[key] = donor[key]
        else:
            resources[key] = edited(resources[key], random)
    return World(resources, world.secrets, config_maps=world.config_maps)


def edited(resource: Resource, random: Random) -> Resource:
    """One field otherwise."""
    edits: dict[ObjectKind, list[dict[str, Any]]] = {
        ObjectKind.CONSUMER: [{"suspended": True}, {"roles": ["r1"]}, {"tier": "gold"}, {"team": "red"}],
        ObjectKind.ROUTE: [{"models": ["gpt-*"]}, {"operations": ["Chat"]}, {"allowedNamespaces": ["*"]}],
        ObjectKind.POLICY: [{"mode": "Shadow"}, {"mode": "Enforce"}, {"network": {"deny": ["10.0.0.0/8"]}}],
        ObjectKind.BACKEND: [{"location": {"region": "eu"}}, {"allowedNamespaces": []}],
    }
    choices = edits.get(resource.key.kind)
    if not choices:
        return resource
    return Resource(resource.key, {**resource.spec, **random.choice(choices)}, resource.generation, resource.uid)


def by_brute_force(sides: Sides) -> set[Fact]:
    """Every slot for every consumer, on both sides."""
    old, new = sides.old.runtime, sides.new.runtime
    found: set[Fact] = set()
    for slot in slots(old, new):
        known = admitted(slot, old, new)
        for key in {"", *old.consumers, *new.consumers}:
            before, after = (one_by_one(runtime, slot, key) for runtime in (old, new))
            for kind in kinds_of(before, after):
                # To whom neither route is known, how it is refused says nothing.
                if kind is not Kind.REFUSED_OTHERWISE or known is None or key.partition("/")[0] in known:
                    found.add((kind, slot, key, before, after))
    return found


def one_by_one(runtime: Runtime, slot: Slot, key: str) -> Any:
    if key and key not in runtime.consumers:
        return ABSENT
    who = identities_of(runtime, runtime.consumers[key] if key else None, NOW)
    return outcome(runtime, slot, who, NOW, None)


def admitted(slot: Slot, *runtimes: Runtime) -> set[str] | None:
    routes = [route for runtime in runtimes if (route := slot.taken_by(runtime)) is not None]
    if any(route.admits is None for route in routes):
        return None
    return {""}.union(*(route.admits or () for route in routes))


def sides_of(seed: int) -> Sides:
    world = WorldMaker(seed).world()
    return ClusterBench(world, changed(world, seed), PLATFORM).sides(FACTS)


@pytest.mark.parametrize("block", range(4))
def test_access_agrees_with_brute_force(block: int) -> None:
    differing = 0
    for seed in range(block, CHANGES, 4):
        sides = sides_of(seed)
        found = {
            (change.kind, change.slot, key, change.before, change.after)
            for change in access_changes(sides, now=NOW).changes
            for key in change.callers
        }
        expected = by_brute_force(sides)
        assert found == expected, f"seed {seed}"
        differing += bool(expected)
    assert differing > CHANGES // 16, "hardly any of the changes had an effect on access"
