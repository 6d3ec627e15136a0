"""The two ways of a snapshot to a data plane, side by side on one node: the API watch and the mounted ConfigMaps."""

from __future__ import annotations

import json
import statistics
import threading
import time
import urllib.request
from typing import Any

import pytest

from cluster.harness.processes import wait_until
from e2e.node.release import NAMESPACE, TENANT, Release, is_ready

pytestmark = pytest.mark.timeout(900)

_CHANGES = 3
_DEADLINE = 150.0
"""Seconds; the kubelet looks at a volume about once a minute, and at the latest of what it has cached."""

_SOON = 5.0
"""Seconds for the API watch, on a machine that does much else."""

_MOUNTED_ONLY = "tidegate-dataplane-mounted-only"


def test_both_deliver(release: Release) -> None:
    watching = release.pods("dataplane")[0]["status"]["podIP"]
    mounted = _start_mounted_only(release)
    api_seconds, volume_seconds = [], []
    for number in range(_CHANGES):
        delays = _change(release, number, {"api": watching, "volume": mounted})
        api_seconds.append(delays["api"])
        volume_seconds.append(delays["volume"])
    print(f"\nan edited AIRoute until it is in force, {_CHANGES} changes:")
    print(f"  API watch       {_shown(api_seconds)}   median {statistics.median(api_seconds) * 1000:.0f} ms")
    print(f"  mounted volume  {_shown(volume_seconds)}   median {statistics.median(volume_seconds):.1f} s")
    release.cluster.kubectl.delete("deployment", _MOUNTED_ONLY, namespace=NAMESPACE)
    # A volume may be quick when the kubelet happens to look; only the watch is quick each time.
    assert max(api_seconds) < _SOON


def _start_mounted_only(release: Release) -> str:
    """A data plane like those of the chart, without the API; returns its address."""
    kubectl = release.cluster.kubectl
    found = kubectl.get_json("deployment", "tidegate-dataplane", namespace=NAMESPACE)
    labels = {"app": _MOUNTED_ONLY}
    template = found["spec"]["template"]
    template["metadata"]["labels"] = labels
    template["spec"]["automountServiceAccountToken"] = False
    container = template["spec"]["containers"][0]
    container["args"] = [*container["args"], "--no-api"]
    deployment: Any = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": _MOUNTED_ONLY, "namespace": NAMESPACE},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }
    template["spec"].pop("topologySpreadConstraints", None)
    kubectl.apply(json.dumps(deployment), namespace=NAMESPACE)
    pods: list[Any] = []

    def ready() -> bool:
        pods[:] = kubectl.get_json("pods", "-l", f"app={_MOUNTED_ONLY}", namespace=NAMESPACE)["items"]
        return bool(pods) and all(is_ready(pod) for pod in pods)

    wait_until(ready, what="the data plane with a mounted volume only to be Ready", deadline=90.0)
    return str(pods[0]["status"]["podIP"])


def _change(release: Release, number: int, addresses: dict[str, str]) -> dict[str, float]:
    """Edit the route; for each address, the seconds until that data plane runs the new revision."""
    before = max(_revision(address) for address in addresses.values())
    delays: dict[str, float] = {}
    began = time.monotonic()

    def wait(name: str, address: str) -> None:
        while time.monotonic() - began < _DEADLINE:
            if _revision(address, wait_for=before + 1) > before:
                delays[name] = time.monotonic() - began
                return

    threads = [threading.Thread(target=wait, args=item, daemon=True) for item in addresses.items()]
    for thread in threads:
        thread.start()
    time.sleep(0.2)  # both wait by now
    began = time.monotonic()
    path = f"/apis/tidegate.dev/v1alpha1/namespaces/{TENANT}/airoutes/chat"
    release.cluster.control_plane.admin.patch(path, {"spec": {"models": ["chat-fast", f"chat-{number}"]}})
    for thread in threads:
        thread.join(_DEADLINE)
    assert delays.keys() == addresses.keys(), f"not delivered within {_DEADLINE:g} s to each: {delays}"
    return delays


def _revision(address: str, *, wait_for: int = 0) -> int:
    query = f"?waitRevision={wait_for}&timeoutSeconds=20" if wait_for else ""
    with urllib.request.urlopen(f"http://{address}:9090/-/status{query}", timeout=40) as answer:
        return int(json.load(answer)["revision"] or 0)


def _shown(seconds: list[float]) -> str:
    return ", ".join(f"{each:.2f} s" for each in seconds)
