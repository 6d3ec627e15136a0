"""Three clusters with different facts, delivered to by one Argo CD from one Git repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.harness.apiserver import ApiServer
from cluster.harness.install import SYSTEM_NAMESPACE
from cluster.harness.system import System
from delivery.argo_cd import ArgoCD
from delivery.health_files import ROOT
from delivery.repository import Repository

EXAMPLE = ROOT / "examples" / "argocd"
INSTALL, POLICIES = "tidegate", "ai-policies"
_FACTS = ("--cluster-name=", "--cloud=", "--region=", "--jurisdiction=", "--cluster-label=")
_GIT = "https://git.example.com/platform/ai-gateway.git"


@dataclass(frozen=True)
class Cluster:
    """One cluster: its API server, and what runs of Tidegate."""

    name: str
    labels: Mapping[str, str]
    server: ApiServer
    system: System

    @property
    def jurisdiction(self) -> str:
        return self.labels["tidegate.dev/jurisdiction"]


@dataclass(frozen=True)
class Delivery:
    """Everything. `argo` runs on the API server of the first cluster."""

    argo: ArgoCD
    repository: Repository
    clusters: tuple[Cluster, ...]

    def wait_synced(self, commit: str, *, health: str = "Healthy", deadline: float = 300.0) -> None:
        """Wait until every cluster has synced the policies of that commit, and they are of that health."""
        for cluster in self.clusters:
            self.argo.wait_synced(f"{POLICIES}-{cluster.name}", commit, health=health, deadline=deadline)

    def applications(self) -> list[dict[str, Any]]:
        """All of them: the installations, and the policies."""
        return self.argo.applications()

    def policies(self) -> list[dict[str, Any]]:
        """The Applications with the policies, in the order of the clusters."""
        return [self.argo.application(f"{POLICIES}-{cluster.name}") for cluster in self.clusters]


@contextmanager
def delivery(directory: Path) -> Iterator[Delivery]:
    """Start it all: Argo CD installs the chart and the example's policies, then operators and data planes come."""
    with ExitStack() as stack:
        repository = Repository(directory)
        secrets = _documents(EXAMPLE / "clusters.yaml")
        servers = [stack.enter_context(ApiServer()) for _ in secrets]
        argo = ArgoCD(servers[0], directory)
        stack.callback(argo.stop)
        argo.start()
        for secret, server in zip(secrets, servers, strict=True):
            argo.register(secret["stringData"]["name"], server, secret["metadata"]["labels"])
        repository.copy(ROOT / "charts" / "tidegate", "charts/tidegate")
        repository.copy(EXAMPLE / "policies", "policies")
        commit = repository.push("Install Tidegate, and declare policies")
        for document in _documents(EXAMPLE / "applicationset.yaml"):
            argo.apply(_with_address(document, repository))
        for secret in secrets:
            # Nothing runs the pods of its Deployments: operator and data planes are processes of the test.
            argo.wait_synced(f"{INSTALL}-{secret['stringData']['name']}", commit, health="Progressing")
        clusters = []
        for secret, server in zip(secrets, servers, strict=True):
            name = secret["stringData"]["name"]
            folder = directory / name
            folder.mkdir()
            system = stack.enter_context(System(server, folder, operator_more=facts_of(server)))
            clusters.append(Cluster(name, secret["metadata"]["labels"], server, system))
        made = Delivery(argo, repository, tuple(clusters))
        made.wait_synced(commit)
        yield made


def facts_of(server: ApiServer) -> list[str]:
    """What the operator is told of its cluster, as the Deployment has it that Argo CD made of the cluster's labels."""
    path = f"/apis/apps/v1/namespaces/{SYSTEM_NAMESPACE}/deployments/tidegate-operator"
    container = server.admin.get(path)["spec"]["template"]["spec"]["containers"][0]
    return [str(flag) for flag in container["args"] if str(flag).startswith(_FACTS)]


def _with_address(document: dict[str, Any], repository: Repository) -> dict[str, Any]:
    source = document["spec"]["template"]["spec"]["source"]
    assert source["repoURL"] == _GIT
    source["repoURL"] = repository.url
    return document


def _documents(path: Path) -> list[dict[str, Any]]:
    return [dict(each) for each in yaml.safe_load_all(path.read_text()) if each]
