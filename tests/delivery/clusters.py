"""Three clusters with different facts, delivered to by one Argo CD from one Git repository."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.harness.apiserver import ApiServer
from cluster.harness.system import System
from delivery.argo_cd import ArgoCD
from delivery.health_files import ROOT
from delivery.repository import Repository

EXAMPLE = ROOT / "examples" / "argocd"
INSTALL, POLICIES = "install", "ai-policies"
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

    def wait_synced(self, commit: str, *, health: str = "Healthy", deadline: float = 120.0) -> None:
        """Wait until every cluster has synced the policies of that commit, and they are of that health."""
        for cluster in self.clusters:
            self.argo.wait_synced(f"{POLICIES}-{cluster.name}", commit, health=health, deadline=deadline)

    def policies(self) -> list[dict[str, Any]]:
        """The Applications with the policies, in the order of the clusters."""
        return [self.argo.application(f"{POLICIES}-{cluster.name}") for cluster in self.clusters]


@contextmanager
def delivery(directory: Path) -> Iterator[Delivery]:
    """Start it all: Argo CD installs CRDs, roles and the example's policies, then operators and data planes come."""
    with ExitStack() as stack:
        repository = Repository(directory)
        secrets = _documents(EXAMPLE / "clusters.yaml")
        servers = [stack.enter_context(ApiServer()) for _ in secrets]
        argo = ArgoCD(servers[0], directory)
        stack.callback(argo.stop)
        argo.start()
        for secret, server in zip(secrets, servers, strict=True):
            argo.register(secret["stringData"]["name"], server, secret["metadata"]["labels"])
        _commit_installation(repository)
        commit = repository.push("Install Tidegate, and declare policies")
        argo.apply(_application_set(repository, INSTALL))
        for document in _documents(EXAMPLE / "applicationset.yaml"):
            argo.apply(_with_address(document, repository))
        for secret in secrets:
            argo.wait_synced(f"{INSTALL}-{secret['stringData']['name']}", commit)
        clusters = []
        for secret, server in zip(secrets, servers, strict=True):
            name = secret["stringData"]["name"]
            folder = directory / name
            folder.mkdir()
            facts = facts_of(argo.application(f"tidegate-{name}"))
            system = stack.enter_context(System(server, folder, operator_more=facts))
            clusters.append(Cluster(name, secret["metadata"]["labels"], server, system))
        made = Delivery(argo, repository, tuple(clusters))
        made.wait_synced(commit)
        yield made


def facts_of(application: Mapping[str, Any]) -> list[str]:
    """The flags of the operator for the values that the ApplicationSet made of the cluster's labels."""
    values = application["spec"]["source"]["helm"]["valuesObject"]
    cluster = values["cluster"]
    flags = ["--cluster-name", cluster["name"]]
    for fact in ("cloud", "region", "jurisdiction"):
        flags += [f"--{fact}", cluster[fact]]
    for name, value in cluster["labels"].items():
        flags += ["--cluster-label", f"{name}={value}"]
    return flags


def _commit_installation(repository: Repository) -> None:
    """CRDs in wave -20 and roles in wave -10, as the chart has them; the policies of the example."""
    for source, wave in ((ROOT / "crds", -20), (ROOT / "charts" / "tidegate" / "rbac", -10)):
        for path in sorted(source.glob("*.yaml")):
            documents = _documents(path)
            for document in documents:
                annotations = document["metadata"].setdefault("annotations", {})
                annotations["argocd.argoproj.io/sync-wave"] = str(wave)
            repository.write(f"{INSTALL}/{source.name}-{path.name}", documents)
    repository.copy(EXAMPLE / "policies", "policies")


def _application_set(repository: Repository, path: str) -> dict[str, Any]:
    """As the example's for policies, for another folder."""
    document = next(
        each for each in _documents(EXAMPLE / "applicationset.yaml") if each["metadata"]["name"] == POLICIES
    )
    document["metadata"]["name"] = path
    template = document["spec"]["template"]
    template["metadata"]["name"] = f"{path}-{{{{.name}}}}"
    template["spec"]["source"]["path"] = path
    template["spec"]["destination"]["namespace"] = "tidegate-system"
    template["spec"]["syncPolicy"]["syncOptions"].append("CreateNamespace=true")
    return _with_address(document, repository)


def _with_address(document: dict[str, Any], repository: Repository) -> dict[str, Any]:
    source = document["spec"]["template"]["spec"]["source"]
    assert source["repoURL"] == _GIT
    source["repoURL"] = repository.url
    return document


def _documents(path: Path) -> list[dict[str, Any]]:
    return [dict(each) for each in yaml.safe_load_all(path.read_text()) if each]
