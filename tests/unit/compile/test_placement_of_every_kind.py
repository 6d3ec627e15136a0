"""`spec.placement.clusterSelector` works on every kind: elsewhere nothing of the object is published."""

from __future__ import annotations

import pytest

from samples.kinds import ONE_OF_EACH, placed
from tidegate_dataplane.snapshot.codec import decode_shard
from tidegate_dataplane.snapshot.entries import ClusterFacts
from tidegate_operator.compile import Compiled, compile_world
from tidegate_operator.compile.compiled import Served
from tidegate_operator.world import Facts, Kind, ObjectKey, Resource, World

AZURE = Facts(cluster=ClusterFacts(name="azure-eu", cloud="azure", labels={"stage": "prod"}))


def _compiled(kind: Kind, selector: dict[str, str]) -> tuple[Compiled, set[ObjectKey]]:
    """A world with one object of each kind, of which one has a placement; and what is in the published bytes."""
    resources = {}
    for each in Kind:
        key = ObjectKey(each, "team-a", "one")
        spec = placed(each.value, selector) if each is kind else ONE_OF_EACH[each.value]
        resources[key] = Resource(key, spec, uid=f"uid-{each}")
    compiled = compile_world(World(resources), AZURE, Served({}))
    shards = (decode_shard(shard.data, name=shard.name, sha256=shard.sha256) for shard in compiled.shards)
    return compiled, set(Served.from_shards(shards).entries)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("selector", [{"cloud": "azure"}, {"stage": "prod", "name": "azure-eu"}])
def test_where_it_selects_the_cluster_it_is_in_force(kind: Kind, selector: dict[str, str]) -> None:
    compiled, published = _compiled(kind, selector)
    verdict = compiled.verdicts[ObjectKey(kind, "team-a", "one")]
    assert (verdict.placed, verdict.errors, verdict.served_generation) == (True, (), 1)
    assert {key.kind for key in published} == set(Kind)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("selector", [{"cloud": "aws"}, {"cloud": "azure", "stage": "test"}, {"region": "westeurope"}])
def test_where_it_does_not_nothing_of_it_is_published(kind: Kind, selector: dict[str, str]) -> None:
    compiled, published = _compiled(kind, selector)
    verdict = compiled.verdicts[ObjectKey(kind, "team-a", "one")]
    assert (verdict.placed, verdict.accepted) == (False, True)
    assert {key.kind for key in published} == set(Kind) - {kind}
