"""A Memo changes speed, never output: random edits, compiled with one Memo throughout and without any."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from compiling.case import same_output
from compiling.worlds import FACTS, resources, secrets, worlds
from tidegate_dataplane.snapshot.entries import ClusterFacts
from tidegate_operator.compile import Memo, Served, compile_world
from tidegate_operator.world import World

OTHER_FACTS = replace(FACTS, platform_namespace="team-a", cluster=ClusterFacts(cloud="aws"))


@st.composite
def edits(draw: st.DrawFn, world: World) -> World:
    """The World after one change: an object put, an object deleted, or the Secrets replaced."""
    objects, held = dict(world.resources), world.secrets
    match draw(st.integers(0, 5)):
        case 0 if objects:
            del objects[draw(st.sampled_from(sorted(objects)))]
        case 1:
            held = draw(secrets)
        case 2 if objects:
            # The same content as another Python object, as a relist of the API server brings it.
            key = draw(st.sampled_from(sorted(objects)))
            objects[key] = replace(objects[key])
        case _:
            resource = draw(resources())
            objects[resource.key] = resource
    return World(objects, held)


@given(worlds(most=10), st.data())
@settings(max_examples=25)
def test_a_memo_never_changes_output(world: World, data: st.DataObject) -> None:
    memo, previous, facts = Memo(), Served({}), FACTS
    for _ in range(data.draw(st.integers(1, 6))):
        expected = compile_world(world, facts, previous)
        found = compile_world(world, facts, previous, memo)
        assert same_output(found, expected)
        previous = data.draw(st.sampled_from([found.served, expected.served, previous, Served({})]))
        world = data.draw(edits(world))
        facts = data.draw(st.sampled_from([FACTS, FACTS, FACTS, OTHER_FACTS]))


@given(worlds(most=10))
@settings(max_examples=50)
def test_entries_that_did_not_change_stay_the_same_objects(world: World) -> None:
    memo = Memo()
    first = compile_world(world, FACTS, None, memo)
    same = World({key: replace(resource) for key, resource in world.resources.items()}, world.secrets)
    second = compile_world(same, FACTS, first.served, memo)
    assert all(second.served.entries[key] is entry for key, entry in first.served.entries.items())
    assert second.shards == first.shards
