"""A data plane's pod is deleted, and its process is killed, while callers go on."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from cluster.harness.processes import wait_until
from e2e.node.load import CALLERS, Load
from e2e.node.release import NAMESPACE, Release

pytestmark = pytest.mark.timeout(600)

_KILL_WINDOW = 2.0
"""Seconds after a kill in which a request may be cut: what was under way at that moment, and nothing later."""


def test_a_deleted_pod_fails_no_request_and_cuts_no_stream(release: Release) -> None:
    victim = release.pods("dataplane")[0]["metadata"]["name"]
    with Load(release.target()) as load:
        time.sleep(3)
        release.cluster.kubectl.run("delete", "pod", "-n", NAMESPACE, victim, timeout=120)
        release.wait_ready("dataplane", 3)
        time.sleep(3)
    print(f"\npod deleted, {load.seconds:.0f} s: {load.account}")
    assert load.account.failures == 0


def test_a_killed_process_costs_only_what_it_was_serving(release: Release) -> None:
    pod = release.pods("dataplane")[0]
    with Load(release.target()) as load:
        time.sleep(3)
        killed = time.monotonic()
        os.kill(_process_of(pod), signal.SIGKILL)
        wait_until(lambda: _restarts(release, pod) == 1, what="the kubelet to start the container again", deadline=60.0)
        release.wait_ready("dataplane", 3)
        recovered = time.monotonic() - killed
        time.sleep(3)
    account = load.account
    print(f"\nprocess killed, Ready again after {recovered:.1f} s: {account}")
    if account.connect_retries:
        refused = [at - killed for at in account.connect_retries]
        print(f"  connects were refused from {min(refused):.2f} s to {max(refused):.2f} s after the kill")
    late = [at - killed for at in (*account.cut, *account.cut_streams) if not 0 <= at - killed <= _KILL_WINDOW]
    assert late == [], "requests were cut that the killed process was not serving"
    assert account.refused == {}
    # Each caller may lose the request that the process was serving, and one that its dying listener still took.
    assert account.failures <= 2 * CALLERS


def _process_of(pod: Any) -> int:
    """The process that is the container: its cgroup is named after the container."""
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if container in (folder / "cgroup").read_text():
                found.append(int(folder.name))
        except OSError:
            continue
    assert found, f"no process runs in container {container}"
    return min(found)


def _restarts(release: Release, pod: Any) -> int:
    name = pod["metadata"]["name"]
    current = release.cluster.kubectl.get_json("pod", name, namespace=NAMESPACE)
    return int(current["status"]["containerStatuses"][0]["restartCount"])
