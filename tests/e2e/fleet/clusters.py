"""Several whole clusters side by side: an API server, an operator with facts of its own and a data plane in each."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml

from cluster.harness.apiserver import ApiServer
from cluster.harness.certificates import write_private
from cluster.harness.gateway import program
from cluster.harness.install import SYSTEM_NAMESPACE, apply_crds, apply_rbac
from cluster.harness.objects import Manifest
from cluster.harness.system import System

ROOT = Path(__file__).resolve().parents[3]
VIEWER = "fleet-viewer"
TEAM = "team-a"


@dataclass(frozen=True)
class Shown:
    """What `tidegate fleet` said."""

    exit_code: int
    text: str
    errors: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    def cluster(self, name: str) -> Any:
        """The entry of one cluster."""
        return next(entry for entry in self.json["clusters"] if entry["name"] == name)

    def differences(self) -> dict[str, tuple[str, dict[str, str]]]:
        """By object ("" for clusters as a whole): the kind and what is said of each cluster."""
        return {each["object"] or "": (each["kind"], each["clusters"]) for each in self.json["differences"]}


class Clusters:
    """Whole clusters by their names. The kubeconfig has a context for each, under a role that may only look."""

    def __init__(self, systems: Mapping[str, System], directory: Path) -> None:
        self.systems = systems
        self.kubeconfig = write_kubeconfig({name: system.server for name, system in systems.items()}, directory)

    def show(self, *more: str, contexts: Sequence[str] | None = None) -> Shown:
        """Run `tidegate fleet` over all of them, or over `contexts`."""
        return run_fleet(self.kubeconfig, contexts if contexts is not None else tuple(self.systems), *more)

    def show_json(self, *more: str, contexts: Sequence[str] | None = None) -> Shown:
        """As `show`, for programs."""
        return self.show("--output", "json", *more, contexts=contexts)

    def watch(self, *more: str, out: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start `tidegate fleet` over all of them; whatever it says goes to `out`."""
        return subprocess.Popen([*_command(self.kubeconfig, tuple(self.systems)), *more], stdout=out, stderr=out)

    def apply(self, *manifests: Manifest, to: Sequence[str] | None = None) -> None:
        """Declare them in every cluster, or in some."""
        for name in to if to is not None else self.systems:
            self.systems[name].apply(*manifests)


@contextlib.contextmanager
def clusters(facts: Mapping[str, Mapping[str, str]], directory: Path, *, data_planes: int = 1) -> Iterator[Clusters]:
    """A cluster for each name, whose operator is told those facts (flags without --)."""
    with contextlib.ExitStack() as running:
        systems = {}
        for name, told in facts.items():
            server = bare_server(running)
            own = directory / name
            own.mkdir()
            flags = [part for fact, value in told.items() for part in (f"--{fact}", value)]
            system = System(server, own, data_planes=data_planes, operator_more=["--cluster-name", name, *flags])
            systems[name] = running.enter_context(system)
        yield Clusters(systems, directory)


def run_fleet(kubeconfig: Path, contexts: Sequence[str], *more: str, folder: Path | None = None) -> Shown:
    """Run `tidegate fleet` in `folder`."""
    command = _command(kubeconfig, contexts)
    done = subprocess.run([*command, *more], cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return Shown(done.returncode, done.stdout, done.stderr)


def _command(kubeconfig: Path, contexts: Sequence[str]) -> list[str]:
    return [str(program("tidegate")), "fleet", "--kubeconfig", str(kubeconfig), "--contexts", ",".join(contexts)]


def bare_server(running: contextlib.ExitStack) -> ApiServer:
    """An API server with CRDs and roles, in which nothing of Tidegate runs."""
    server = running.enter_context(ApiServer())
    apply_crds(server, ROOT / "crds")
    apply_rbac(server, ROOT / "charts" / "tidegate" / "rbac")
    server.ensure_namespace(TEAM)
    let_look(server)
    return server


def let_look(server: ApiServer) -> None:
    """Bind the chart's roles for `tidegate fleet` to VIEWER as their comment says."""
    subject = [{"kind": "ServiceAccount", "name": VIEWER, "namespace": SYSTEM_NAMESPACE}]
    group = "rbac.authorization.k8s.io"
    for scope, kind, role in (
        ("", "clusterrolebindings", "tidegate-fleet-viewer"),
        (f"/namespaces/{SYSTEM_NAMESPACE}", "rolebindings", "tidegate-gateway-viewer"),
    ):
        body = {
            "metadata": {"name": "fleet"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": subject,
        }
        server.admin.create(f"/apis/{group}/v1{scope}/{kind}", body)


def write_kubeconfig(servers: Mapping[str, ApiServer], directory: Path) -> Path:
    """One kubeconfig with a context for each cluster, and the first one current; its user may only look."""
    merged: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": []}
    for name, server in servers.items():
        own = server.kubeconfig_for_serviceaccount(SYSTEM_NAMESPACE, VIEWER)
        single = yaml.safe_load(own.read_text(encoding="utf-8"))
        merged["clusters"].append({"name": name, "cluster": single["clusters"][0]["cluster"]})
        merged["users"].append({"name": name, "user": single["users"][0]["user"]})
        merged["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})
    merged["current-context"] = next(iter(servers))
    return write_private(directory / "kubeconfig", yaml.safe_dump(merged).encode())
