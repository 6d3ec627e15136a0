"""The release of the chart under test, by the real Helm: install, upgrade, roll back, uninstall; and its pods."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml

from cluster.harness.binaries import find_helm
from cluster.harness.processes import wait_until
from e2e.node.cluster import Cluster
from e2e.node.images import TAG
from e2e.node.load import Target

NAMESPACE = "tidegate-system"
NAME = "tidegate"
TENANT = "team-search"
KEY = "a-key-that-only-this-test-knows"
_CHART = Path(__file__).resolve().parents[3] / "charts" / "tidegate"
_OBJECTS = Path(__file__).with_name("objects.yaml")

VALUES: dict[str, Any] = {
    "image": {"registry": "localhost", "tag": TAG, "pullPolicy": "Never"},
    "cluster": {"name": "e2e"},
    "operator": {"replicas": 2, "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}}},
    "dataPlane": {
        "replicas": 3,
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "drain": {"delay": "5s", "grace": "30s"},
    },
}


class Release:
    """Everything about one installation of the chart."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        """`folder` takes Helm's files."""
        self.cluster = cluster
        self._folder = folder
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(cluster.control_plane.admin_kubeconfig),
            "HELM_CACHE_HOME": str(folder / "cache"),
            "HELM_CONFIG_HOME": str(folder / "config"),
            "HELM_DATA_HOME": str(folder / "data"),
        }

    def helm(self, *arguments: str, timeout: float = 400.0) -> str:
        """Run Helm in the release's namespace; returns its output. Raises AssertionError with what it said."""
        ended = subprocess.run(
            [str(find_helm()), "--namespace", NAMESPACE, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert ended.returncode == 0, f"helm {' '.join(arguments)}: {ended.stderr}{self.trouble()}"
        return ended.stdout

    def install(self) -> None:
        """Install and wait until every pod is Ready."""
        self.helm("install", NAME, str(_CHART), "--create-namespace", *self._values({}), *self._waiting())

    def upgrade(self, more: dict[str, Any]) -> None:
        """Upgrade to the values of the installation and these, and wait."""
        self.helm("upgrade", NAME, str(_CHART), *self._values(more), *self._waiting())

    def rollback(self, revision: int) -> None:
        """Go back to that revision, and wait."""
        self.helm("rollback", NAME, str(revision), *self._waiting())

    def apply_objects(self) -> None:
        """A tenant with one route to a Mock backend."""
        kubectl = self.cluster.kubectl
        self.cluster.control_plane.ensure_namespace(TENANT)
        kubectl.apply(_OBJECTS, namespace=TENANT)

    def target(self) -> Target:
        """The Service's own address."""
        service = self.cluster.kubectl.get_json("service", NAME, namespace=NAMESPACE)
        return Target(service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"], KEY, "chat-fast")

    def pods(self, component: str) -> list[Any]:
        """The pods of `operator` or `dataplane` that are not being deleted."""
        selector = f"app.kubernetes.io/component={component}"
        items = self.cluster.kubectl.get_json("pods", "-l", selector, namespace=NAMESPACE)["items"]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def wait_ready(self, component: str, count: int, *, deadline: float = 120.0) -> float:
        """Wait until so many pods are Ready and no others are left; returns the seconds that took."""

        def ready() -> bool:
            selector = f"app.kubernetes.io/component={component}"
            items = self.cluster.kubectl.get_json("pods", "-l", selector, namespace=NAMESPACE)["items"]
            return len(items) == count and all(is_ready(pod) for pod in items)

        return wait_until(ready, what=f"{count} pods of {component} to be Ready", deadline=deadline)

    def trouble(self) -> str:
        """What pods and events tell, for a failure's message."""
        kubectl = self.cluster.kubectl
        try:
            shown = [
                kubectl.run("get", "pods", "-A", "-o", "wide"),
                kubectl.run("get", "events", "-A", "--sort-by=.lastTimestamp"),
            ]
            for pod in kubectl.get_json("pods", namespace=NAMESPACE)["items"]:
                if not is_ready(pod):
                    shown.append(kubectl.run("logs", "-n", NAMESPACE, pod["metadata"]["name"], "--tail=30"))
        except Exception as error:  # noqa: BLE001 - this explains another failure
            return f"\n(no details: {error})"
        return "\n" + "\n".join(text[-6000:] for text in shown)

    def _values(self, more: dict[str, Any]) -> list[str]:
        path = self._folder / f"values-{time.monotonic_ns()}.yaml"
        path.write_text(yaml.safe_dump(merged(VALUES, more)))
        return ["--values", str(path)]

    def _waiting(self) -> list[str]:
        return ["--wait", "--timeout", "5m"]


def merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """`more` over `base`, as Helm merges values."""
    result: dict[str, Any] = json.loads(json.dumps(base))
    for name, value in more.items():
        result[name] = merged(result.get(name, {}), value) if isinstance(value, dict) else value
    return result


def is_ready(pod: Any) -> bool:
    """Whether its condition Ready is True."""
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
