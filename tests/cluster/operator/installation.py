"""An API server with Tidegate's CRDs and roles, and what a test needs to look at what the operator does in it."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.harness.apiserver import ApiServer
from cluster.harness.gateway import start_operator
from cluster.harness.install import SYSTEM_NAMESPACE
from cluster.harness.processes import ChildProcess, wait_until
from cluster.harness.rest import ApiError, Rest
from tidegate_dataplane.snapshot.bundle import INDEX_KEY, shard_key
from tidegate_dataplane.snapshot.codec import SnapshotRefused, decode_index, decode_shard
from tidegate_dataplane.snapshot.entries import Index, Shard

GROUP = "/apis/tidegate.dev/v1alpha1"
PLURALS = {
    "AIBackend": "aibackends",
    "AIRoute": "airoutes",
    "AIConsumer": "aiconsumers",
    "AIPolicy": "aipolicies",
    "Quota": "quotas",
    "AISubscription": "aisubscriptions",
    "AIApproval": "aiapprovals",
}
CONFIG_MAPS = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps"
SECRETS = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/secrets"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM_NAMESPACE}/leases/tidegate-default"
INDEX = "tidegate-default"
CREDENTIALS = "tidegate-default-credentials"


class TornSnapshot(AssertionError):
    """The index names bytes that are not there: no fresh data plane could start."""


@dataclass(frozen=True)
class Snapshot:
    """What a data plane that starts now would load."""

    index: Index
    shards: dict[str, Shard]

    def route(self, key: str) -> Any:
        """The entry of route "namespace/name", or None."""
        return next((r for shard in self.shards.values() for r in shard.routes if r.source.key == key), None)


class Installation:
    """One API server; `operator` starts operators in it."""

    def __init__(self, server: ApiServer, directory: Path) -> None:
        self.server = server
        self.rest: Rest = server.admin
        self.directory = directory
        self._operators: list[ChildProcess] = []

    def operator(self, *urls: str, name: str = "operator", more: Sequence[str] = ()) -> ChildProcess:
        """Start an operator under its own ServiceAccount."""
        flags = ["--log-format", "text", *more]
        process = start_operator(self.server, data_plane_urls=urls, directory=self.directory, name=name, more=flags)
        self._operators.append(process)
        return process

    def create(self, kind: str, namespace: str, name: str, spec: dict[str, Any]) -> None:
        """Create an object of one of Tidegate's kinds."""
        body = {"apiVersion": "tidegate.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        self.rest.create(f"{GROUP}/namespaces/{namespace}/{PLURALS[kind]}", body)

    def path(self, kind: str, namespace: str, name: str) -> str:
        return f"{GROUP}/namespaces/{namespace}/{PLURALS[kind]}/{name}"

    def edit(self, kind: str, namespace: str, name: str, spec: dict[str, Any]) -> int:
        """Merge into the spec; returns the new generation."""
        return int(self.rest.patch(self.path(kind, namespace, name), {"spec": spec})["metadata"]["generation"])

    def status(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        status: dict[str, Any] = self.rest.get(self.path(kind, namespace, name)).get("status", {})
        return status

    def condition(self, kind: str, namespace: str, name: str, condition: str) -> dict[str, Any]:
        """One condition, or {} when there is none."""
        conditions = self.status(kind, namespace, name).get("conditions", [])
        return next((item for item in conditions if item["type"] == condition), {})

    def wait_for_condition(
        self,
        kind: str,
        namespace: str,
        name: str,
        condition: str,
        *,
        status: str = "True",
        accept: Callable[[dict[str, Any]], bool] = lambda _: True,
        process: ChildProcess | None = None,
    ) -> dict[str, Any]:
        """Wait until the condition has that status for the present generation, and `accept` agrees."""

        def holds() -> bool:
            item = self.rest.get(self.path(kind, namespace, name))
            found = [c for c in item.get("status", {}).get("conditions", []) if c["type"] == condition]
            return bool(
                found
                and found[0]["status"] == status
                and found[0]["observedGeneration"] == item["metadata"]["generation"]
                and accept(found[0])
            )

        wait_until(holds, what=f"{condition}={status} of {kind} {namespace}/{name}", deadline=20.0, process=process)
        return self.condition(kind, namespace, name, condition)

    def index(self) -> Index | None:
        """The published index, None before the first."""
        found = self.find(f"{CONFIG_MAPS}/{INDEX}")
        return decode_index(found["data"][INDEX_KEY].encode()) if found else None

    def revision(self) -> int:
        index = self.index()
        return index.revision if index else 0

    def wait_for_revision(self, revision: int, *, process: ChildProcess | None = None) -> None:
        """Wait until at least this revision is published."""
        wait_until(lambda: self.revision() >= revision, what=f"revision {revision}", deadline=30.0, process=process)

    def load(self) -> Snapshot:
        """Load as a fresh data plane does; raises TornSnapshot when a shard that the index names is not there.

        A publication that overtakes the reader is no tear: then the index has moved, and the reader begins anew.
        """
        while True:
            config_map = self.rest.get(f"{CONFIG_MAPS}/{INDEX}")
            index = decode_index(config_map["data"][INDEX_KEY].encode())
            try:
                return Snapshot(index, {ref.name: self._shard(ref.name, ref.sha256) for ref in index.shards})
            except SnapshotRefused as refused:
                again = self.rest.get(f"{CONFIG_MAPS}/{INDEX}")
                if again["metadata"]["resourceVersion"] == config_map["metadata"]["resourceVersion"]:
                    raise TornSnapshot(f"revision {index.revision}: {refused}") from refused

    def outputs(self) -> dict[str, str]:
        """Name -> resourceVersion of everything that the operator publishes."""
        items = self.rest.list(CONFIG_MAPS, labelSelector="tidegate.dev/gateway=default")
        items += self.rest.list(SECRETS, labelSelector="tidegate.dev/gateway=default")
        return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in items}

    def objects(self) -> dict[str, dict[str, Any]]:
        """Everything of Tidegate's kinds."""
        return {
            f"{item['kind']} {item['metadata']['namespace']}/{item['metadata']['name']}": item
            for plural in PLURALS.values()
            for item in self.rest.list(f"{GROUP}/{plural}")
        }

    def find(self, path: str) -> Any:
        """One object, or None."""
        try:
            return self.rest.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    @contextlib.contextmanager
    def emptied(self) -> Iterator[None]:
        """Afterwards: no operator runs and nothing of Tidegate's is left."""
        try:
            yield
        finally:
            for process in self._operators:
                process.stop()
            self._operators.clear()
            for item in self.objects().values():
                meta = item["metadata"]
                self.rest.delete(self.path(item["kind"], meta["namespace"], meta["name"]), missing_ok=True)
            for collection in (CONFIG_MAPS, SECRETS):
                for item in self.rest.list(collection, labelSelector="tidegate.dev/gateway=default"):
                    self.rest.delete(f"{collection}/{item['metadata']['name']}", missing_ok=True)
            self.rest.delete(LEASE, missing_ok=True)

    def _shard(self, name: str, sha256: str) -> Shard:
        config_map = self.find(f"{CONFIG_MAPS}/{INDEX}-{name}") or {}
        data = base64.b64decode(config_map.get("binaryData", {}).get(shard_key(name, sha256), ""))
        return decode_shard(data, name=name, sha256=sha256)
