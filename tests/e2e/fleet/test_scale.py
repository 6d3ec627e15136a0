"""`tidegate fleet` over three large clusters: 3,000 routes and 20,000 consumers in each with TIDEGATE_FLEET_SCALE=1."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.install import SYSTEM_NAMESPACE
from cluster.harness.objects import Manifest, collection_of, consumer, path_of, route
from cluster.harness.published import CONFIG_MAPS
from e2e.fleet.clusters import TEAM, bare_server, run_fleet, write_kubeconfig
from tidegate_dataplane.snapshot.codec import encode_index
from tidegate_dataplane.snapshot.entries import SCHEMA_VERSION, ClusterFacts, Index

FULL = os.environ.get("TIDEGATE_FLEET_SCALE") == "1"
ROUTES, CONSUMERS = (3_000, 20_000) if FULL else (150, 1_000)
CLUSTERS = ("one", "two", "three")
MOST_SECONDS = 60.0


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, ApiServer]]:
    """Three API servers with the same objects, but for one route and one consumer; nobody judges them."""
    with contextlib.ExitStack() as running:
        found = {name: bare_server(running) for name in CLUSTERS}
        for name, server in found.items():
            server.admin.create_many([(collection_of(item), item) for item in _objects()])
            _publish_index(server, name)
        changed = route(TEAM, "chat-7", models=["another"])
        found["two"].admin.patch(path_of(changed), {"spec": {"models": ["another"]}})
        found["three"].admin.delete(path_of(consumer(TEAM, "app-9")))
        yield found


def _objects() -> Sequence[Manifest]:
    routes = [route(TEAM, f"chat-{number}", models=[f"model-{number}", "gpt-*"]) for number in range(ROUTES)]
    callers = [
        consumer(TEAM, f"app-{number}", sha256=f"{number:064x}", team=f"team-{number % 40}", roles=["inference"])
        for number in range(CONSUMERS)
    ]
    return [*routes, *callers]


def _publish_index(server: ApiServer, name: str) -> None:
    """What an operator says of its cluster: only this is needed to compare."""
    facts = ClusterFacts(name=name, cloud="azure")
    index = Index(schema_version=SCHEMA_VERSION, revision=1, gateway="default", cluster=facts, shards=())
    metadata = {
        "name": "tidegate-default",
        "namespace": SYSTEM_NAMESPACE,
        "labels": {"tidegate.dev/gateway": "default"},
    }
    server.admin.create(CONFIG_MAPS, {"metadata": metadata, "data": {"index.json": encode_index(index).decode()}})


@pytest.mark.timeout(3600)
def test_the_two_differences_are_found(servers: dict[str, ApiServer], tmp_path: Path) -> None:
    kubeconfig = write_kubeconfig(servers, tmp_path)
    started = time.monotonic()
    shown = run_fleet(kubeconfig, CLUSTERS, "--output", "json", "--timeout", "30")
    took = time.monotonic() - started
    print(f"{len(CLUSTERS)} clusters of {ROUTES + CONSUMERS:,} objects: {took:.1f} s")
    assert {name: kind for name, (kind, _) in shown.differences().items()} == {
        f"AIRoute {TEAM}/chat-7": "Spec",
        f"AIConsumer {TEAM}/app-9": "Missing",
    }
    assert shown.json["sharedObjects"] == ROUTES + CONSUMERS - 1
    assert took < MOST_SECONDS
