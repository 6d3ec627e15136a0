"""The API server accepts every manifest, without a warning, and every pod under Pod Security `restricted`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.helm import CHART, Helm, documents
from cluster.harness.install import SYSTEM_NAMESPACE
from cluster.harness.kubectl import Kubectl
from cluster.harness.processes import wait_until
from cluster.harness.rest import ApiError

_EVERYTHING = Path(__file__).resolve().parents[2] / "cluster" / "chart" / "everything.yaml"
_VALUES = [*sorted((CHART / "examples").glob("*.yaml")), _EVERYTHING]
_APPLY = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-f", "-")

# As much of the Prometheus operator as it takes to accept its kind.
_SERVICE_MONITORS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
    "spec": {
        "group": "monitoring.coreos.com",
        "names": {"kind": "ServiceMonitor", "plural": "servicemonitors"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                    }
                },
            }
        ],
    },
}


def test_every_manifest_and_every_pod_is_accepted(server: ApiServer, kubectl: Kubectl, helm: Helm) -> None:
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    server.admin.apply(f"{crds}/servicemonitors.monitoring.coreos.com", _SERVICE_MONITORS)
    wait_until(lambda: _served(server, "/apis/monitoring.coreos.com/v1/servicemonitors"), what="ServiceMonitors")
    for namespace in ("team-a", "team-b"):
        server.ensure_namespace(namespace)
    pods = 0
    for values in _VALUES:
        text = helm.render(values)
        kubectl.run(*_APPLY, stdin=text)
        for each in documents(text):
            if each["kind"] == "Deployment":
                _admit(server, each["metadata"]["name"], each["spec"]["template"])
                pods += 1
    assert pods == 2 * len(_VALUES) + 1  # the trial has a store of its own


def test_pod_security_is_really_enforced(server: ApiServer) -> None:
    with pytest.raises(ApiError, match="violates PodSecurity"):
        _admit(server, "root", {"spec": {"containers": [{"name": "a", "image": "b"}]}})


def test_helm_asks_the_server_too(helm: Helm) -> None:
    printed = helm.run(
        "install", "tidegate", CHART, "--namespace", SYSTEM_NAMESPACE, "--dry-run=server", "--values", _VALUES[-2]
    )
    assert "rollout status deployment/tidegate-operator" in printed
    assert helm.run("list", "--namespace", SYSTEM_NAMESPACE, "--short") == ""


def _admit(server: ApiServer, name: str, template: dict[str, Any]) -> None:
    """As the ReplicaSet's controller would make it, without keeping it."""
    pod = {**template, "metadata": {**template.get("metadata", {}), "name": name}}
    server.admin.create(f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/pods?dryRun=All", pod)


def _served(server: ApiServer, path: str) -> bool:
    try:
        server.admin.get(path)
    except ApiError:
        return False
    return True
