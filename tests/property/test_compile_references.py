"""An ungranted reference into another namespace reaches nothing and reveals nothing."""

import gzip
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from compiling.worlds import FACTS, worlds
from tidegate_dataplane.snapshot.entries import BackendEntry, RouteEntry
from tidegate_operator.compile import compile_world
from tidegate_operator.world import Kind, ObjectKey, Resource, World

SECRET_NAME = "cannot-be-guessed"
BACKEND = ObjectKey(Kind.BACKEND, "owner", SECRET_NAME)
ROUTE = ObjectKey(Kind.ROUTE, "team-a", "curious")

ungranted = st.one_of(
    st.just({"provider": "Mock"}),
    st.just({"provider": "Mock", "models": [{"name": "hidden-model"}]}),
    st.just({"provider": "Mock", "allowedNamespaces": ["team-b"]}),
    st.just({"provider": "Nonsense", "allowedNamespaces": ["team-a"]}),
    st.just({"provider": "Mock", "placement": {"clusterSelector": {"matchLabels": {"cloud": "aws"}}}}),
)


@given(worlds(most=6), ungranted, st.sampled_from(["hidden-model", "other", None]))
@settings(max_examples=80)
def test_an_ungranted_target_looks_like_a_missing_one(
    world: World, spec: Mapping[str, object], model: str | None
) -> None:
    target = {"backendRef": {"name": SECRET_NAME, "namespace": "owner"}, **({"model": model} if model else {})}
    route = Resource(ROUTE, {"models": ["curious"], "pathPrefix": "/curious", "targets": [target]}, created=0)
    with_route = {**world.resources, ROUTE: route}
    missing = compile_world(World(with_route, world.secrets), FACTS)
    present = compile_world(World({**with_route, BACKEND: Resource(BACKEND, spec)}, world.secrets), FACTS)

    assert present.verdicts[ROUTE] == missing.verdicts[ROUTE]
    assert present.served.entries.get(ROUTE) == missing.served.entries.get(ROUTE)
    assert len(present.verdicts[ROUTE].unresolved) == 1
    assert "hidden-model" not in present.verdicts[ROUTE].unresolved[0].message
    entry = present.served.entries[ROUTE]
    assert isinstance(entry, RouteEntry)
    assert entry.targets == ()
    assert all(SECRET_NAME.encode() not in gzip.decompress(shard.data) for shard in missing.shards)


@given(worlds(most=14))
@settings(max_examples=80)
def test_every_target_that_reaches_the_snapshot_is_permitted(world: World) -> None:
    served = compile_world(world, FACTS).served.entries
    for key, entry in served.items():
        if not isinstance(entry, RouteEntry):
            continue
        for target in entry.targets:
            namespace, _, name = target.backend.partition("/")
            if namespace == key.namespace:
                continue
            backend = served[ObjectKey(Kind.BACKEND, namespace, name)]
            assert isinstance(backend, BackendEntry)
            assert {"*", key.namespace} & set(backend.allowed_namespaces)
