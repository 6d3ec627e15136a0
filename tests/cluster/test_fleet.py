"""`tidegate fleet` in small: one real cluster beside one that is away. Three clusters: `make test-fleet`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from cluster.harness.certificates import write_private
from cluster.harness.gateway import program
from cluster.harness.objects import tenant
from cluster.harness.processes import free_port, wait_until
from cluster.harness.system import System


def test_one_cluster_is_shown_while_another_is_away(system: System, namespace: str, tmp_path: Path) -> None:
    objects = tenant(namespace, "key-of-a-caller-of-the-fleet", model=f"chat-{namespace}")
    system.apply(*objects)
    system.wait_all_ready(objects)
    config = yaml.safe_load(system.server.admin_kubeconfig.read_text(encoding="utf-8"))
    config["clusters"].append({"name": "gone", "cluster": {"server": f"https://127.0.0.1:{free_port()}"}})
    config["contexts"].append({"name": "gone", "context": {"cluster": "gone", "user": "user"}})
    kubeconfig = write_private(tmp_path / "kubeconfig", yaml.safe_dump(config).encode())
    command = [str(program("tidegate")), "fleet", "--kubeconfig", str(kubeconfig), "--contexts", "tidegate,gone"]

    def shown() -> Any:
        done = subprocess.run([*command, "--output", "json"], capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (2, "")
        return json.loads(done.stdout)

    revision = str(system.published().revision)
    wait_until(
        lambda: shown()["clusters"][0]["gateways"][0]["dataPlanes"]["revisions"] == {revision: 2},
        what="the Lease to tell what data planes run",
        deadline=20,
    )
    here, gone = shown()["clusters"]
    assert here["gateways"][0]["leader"]["identity"] == "the-operator"
    assert here["programmed"] >= len(objects) - 1
    assert here["commitSource"] == "unknown"
    assert (gone["reachable"], "127.0.0.1" in gone["reason"]) == (False, True)
