"""A real API server with Tidegate's CRDs and roles, and a world of any size created in it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import worlds
from cluster.harness.apiserver import ApiServer
from cluster.harness.binaries import ToolsMissing
from cluster.harness.install import SYSTEM_NAMESPACE, apply_crds, apply_rbac
from cluster.harness.processes import DeadlineExceeded
from cluster.harness.rest import ApiError, Throughput
from tidegate_dataplane.snapshot.bundle import INDEX_KEY, index_config_map
from tidegate_dataplane.snapshot.codec import decode_index
from tidegate_dataplane.snapshot.entries import Index

GATEWAY = "default"
_STATUS_DEADLINE = 300.0
_STATUS_PAUSE = 1.0


@dataclass(frozen=True)
class Cluster:
    """A running API server with everything installed but the operator."""

    server: ApiServer

    def create(self, size: worlds.Size) -> Throughput:
        """Create the whole world, from a few threads."""
        for index in range(size.namespaces):
            self.server.ensure_namespace(worlds.namespace_of(index * worlds.ROUTES_PER_NAMESPACE))
        objects = [(worlds.collection(item), item) for item in worlds.manifests(size)]
        took = self.server.admin.create_many(objects)
        print(f"  created {took}", file=sys.stderr, flush=True)
        return took

    def apply(self, manifest: worlds.Manifest) -> None:
        """Server-side apply, as `kubectl apply --server-side` sends it."""
        self.server.admin.apply(worlds.object_path(manifest), manifest, field_manager="kubectl")

    def index(self) -> Index | None:
        """The published index; None before the first publish."""
        path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps/{index_config_map(GATEWAY)}"
        try:
            data = self.server.admin.get(path).get("data", {})
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return decode_index(data[INDEX_KEY].encode()) if INDEX_KEY in data else None

    def wait_for_statuses(self, size: worlds.Size) -> float:
        """Wait until the operator has judged every object of the world; returns the seconds that took."""
        began = time.monotonic()
        while (judged := self.judged()) < size.objects:
            if time.monotonic() - began > _STATUS_DEADLINE:
                raise DeadlineExceeded(f"{judged} of {size.objects} statuses after {_STATUS_DEADLINE:g} s")
            time.sleep(_STATUS_PAUSE)  # to list them all is work for the API server
        return time.monotonic() - began

    def judged(self) -> int:
        """How many objects carry a status for their current generation."""
        return sum(
            _is_judged(item)
            for plural in worlds.PLURALS.values()
            for item in self.server.admin.list(f"/apis/{worlds.API_VERSION}/{plural}")
        )


@contextmanager
def start_cluster(folder: Path, root: Path) -> Iterator[Cluster]:
    """Start an API server and install the CRDs and roles of the checkout at `root`; stops it at the end.

    Ends the run with the command that builds the binaries when they are missing. `folder` takes the logs.
    """
    try:
        server = ApiServer()
    except ToolsMissing as error:
        sys.exit(str(error))
    with server:
        apply_crds(server, root / "crds")
        apply_rbac(server, root / "charts" / "tidegate" / "rbac")
        yield Cluster(server)


def _is_judged(item: Any) -> bool:
    status = item.get("status", {})
    return bool(status.get("observedGeneration") == item["metadata"]["generation"])
