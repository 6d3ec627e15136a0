"""The controller manager checks every expression of the policies against the CRDs' schemas, and has nothing to say."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.binaries import find_node_tools
from cluster.harness.processes import ChildProcess, free_port, wait_until
from e2e.admission.installing import REGISTRATION
from tidegate_crds.admission.policies import policies


@pytest.fixture
def controller_manager(guarded_server: ApiServer, tmp_path: Path) -> Iterator[ChildProcess]:
    """The one controller that writes status.typeChecking."""
    process = ChildProcess(
        "kube-controller-manager",
        [
            find_node_tools() / "kube-controller-manager",
            f"--kubeconfig={guarded_server.admin_kubeconfig}",
            "--controllers=validatingadmissionpolicy-status-controller",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={free_port()}",
            f"--cert-dir={tmp_path}",
        ],
        log=tmp_path / "kube-controller-manager.log",
    )
    try:
        yield process
    finally:
        process.stop()


def test_no_expression_has_a_type_warning(guarded_server: ApiServer, controller_manager: ChildProcess) -> None:
    wrong = copy.deepcopy(policies()[1])
    wrong["metadata"]["name"] = "slip"
    wrong["spec"]["validations"][0] = {"expression": "object.spec.endpiont == 'x'"}
    guarded_server.admin.apply(f"{REGISTRATION}/validatingadmissionpolicies/slip", wrong)
    expected = {one["metadata"]["name"] for one in policies()} | {"slip"}

    def checked() -> dict[str, Any]:
        listed = guarded_server.admin.list(f"{REGISTRATION}/validatingadmissionpolicies")
        return {
            item["metadata"]["name"]: item["status"].get("typeChecking", {})
            for item in listed
            if item.get("status", {}).get("observedGeneration") == item["metadata"]["generation"]
        }

    try:
        wait_until(lambda: checked().keys() >= expected, what="type checks", deadline=60.0, process=controller_manager)
        found = checked()
    finally:
        guarded_server.admin.delete(f"{REGISTRATION}/validatingadmissionpolicies/slip")
    assert "undefined field 'endpiont'" in str(found.pop("slip")), "the check would not find a slip"
    assert {name: result for name, result in found.items() if result.get("expressionWarnings")} == {}
