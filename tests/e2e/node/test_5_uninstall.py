"""`helm uninstall` takes the programs away and leaves what people have declared."""

from __future__ import annotations

import pytest

from cluster.harness.processes import wait_until
from e2e.node.release import NAME, NAMESPACE, TENANT, Release

pytestmark = pytest.mark.timeout(300)


def test_uninstalling_keeps_the_crds_and_every_object(release: Release) -> None:
    kubectl = release.cluster.kubectl
    release.helm("uninstall", NAME, "--wait", "--timeout", "3m")
    wait_until(
        lambda: not kubectl.get_json("pods", namespace=NAMESPACE)["items"], what="all pods to be gone", deadline=120.0
    )
    kept = {item["metadata"]["name"] for item in kubectl.get_json("crds")["items"]}
    assert {"airoutes.tidegate.dev", "aipolicies.tidegate.dev", "quotas.tidegate.dev"} <= kept
    assert [item["metadata"]["name"] for item in kubectl.get_json("airoutes", namespace=TENANT)["items"]] == ["chat"]
    left = kubectl.get_json("deployments,services,serviceaccounts", "-l", f"app.kubernetes.io/instance={NAME}", "-A")
    assert left["items"] == []
