"""The real Argo CD on one API server: repository server, application controller, ApplicationSet controller, Redis.

It is one program, which plays the part that ARGOCD_BINARY_NAME names. Its CRDs come from its own module.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cluster.build_tools import ARGOCD
from cluster.harness.apiserver import ApiServer
from cluster.harness.binaries import MODULES_DIR, find_argocd, find_helm
from cluster.harness.kubectl import Kubectl
from cluster.harness.processes import ChildProcess, DeadlineExceeded, free_port, stop_all, wait_until
from cluster.harness.rest import ApiError
from delivery.health_files import ROOT
from redis_parts.redis_binary import find_redis

NAMESPACE = "argocd"
GUIDE = ROOT / "docs" / "how-to" / "argo-cd.md"
RESYNC_SECONDS = 4
"""How often Argo CD looks at Git when no webhook tells it."""

_MODULE = "github.com/argoproj/argo-cd/v3"
_CRDS = ("application", "appproject", "applicationset")
_APPLICATIONS = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/applications"
_SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
_PART_OF = {"app.kubernetes.io/part-of": "argocd"}

Object = dict[str, Any]


class ArgoCD:
    """One Argo CD on `hub`, whose state and logs lie in `directory`. Call `start`, and `stop` in any case."""

    def __init__(self, hub: ApiServer, directory: Path) -> None:
        """Nothing runs yet. Raises ToolsMissing."""
        self._hub = hub
        self._admin = hub.admin
        self._directory = directory
        self._program = find_argocd()
        self._redis_port, self._repo_port = free_port(), free_port()
        self._processes: list[ChildProcess] = []

    def start(self) -> None:
        """Install it and start every part. The repository server comes first: it remembers a failure to reach it."""
        self._install()
        self._processes.append(self._redis())
        repo = self._part("argocd-repo-server", *self._repo_flags())
        repo.wait_for_log("is listening on", deadline=60)
        redis, connection = f"127.0.0.1:{self._redis_port}", ("--kubeconfig", self._hub.admin_kubeconfig)
        self._part(
            "argocd-application-controller",
            *connection,
            "--namespace",
            NAMESPACE,
            "--redis",
            redis,
            "--repo-server",
            f"127.0.0.1:{self._repo_port}",
            "--repo-server-plaintext",
            "--metrics-port",
            str(free_port()),
            # What each object's health is stands in the Application then, for tests to read.
            "--persist-resource-health",
        )
        self._part(
            "argocd-applicationset-controller",
            *connection,
            "--namespace",
            NAMESPACE,
            "--argocd-repo-server",
            f"127.0.0.1:{self._repo_port}",
            "--repo-server-plaintext",
            "--metrics-addr",
            f"127.0.0.1:{free_port()}",
            "--probe-addr",
            f"127.0.0.1:{free_port()}",
            "--webhook-addr",
            f"127.0.0.1:{free_port()}",
        )

    def stop(self) -> None:
        """End every part."""
        stop_all(self._processes)

    def resident_bytes(self) -> dict[str, int]:
        """Memory that each part holds now."""
        return {process.name: process.resident_bytes for process in self._processes}

    def log_tails(self) -> str:
        """What each part said last."""
        return "\n".join(process.log_tail(12) for process in self._processes)

    def register(self, name: str, server: ApiServer, labels: Mapping[str, str]) -> None:
        """Make an API server a cluster of this Argo CD, as its administrator; the labels are the cluster's facts."""
        authority = base64.b64encode(server.ca_path.read_bytes()).decode()
        config = {"bearerToken": server.admin_token, "tlsClientConfig": {"caData": authority}}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": f"cluster-{name}",
                "labels": {"argocd.argoproj.io/secret-type": "cluster", **labels},
            },
            "stringData": {"name": name, "server": server.url, "config": json.dumps(config)},
        }
        self._admin.create(_SECRETS, secret)

    def apply(self, document: Object) -> None:
        """Apply an object of Argo CD's own kinds."""
        plural = f"{document['kind'].lower()}s"
        path = f"/apis/{document['apiVersion']}/namespaces/{NAMESPACE}/{plural}/{document['metadata']['name']}"
        self._admin.apply(path, document)

    def application(self, name: str) -> Object:
        """An Application as it stands; empty while there is none."""
        try:
            return dict(self._admin.get(f"{_APPLICATIONS}/{name}"))
        except ApiError as error:
            if error.status == 404:
                return {}
            raise

    def applications(self) -> list[Object]:
        """All of them."""
        return [dict(each) for each in self._admin.list(_APPLICATIONS)]

    def wait_synced(self, name: str, commit: str, *, health: str = "Healthy", deadline: float = 300.0) -> Object:
        """Wait until the Application has synced that commit, shows nothing out of sync, and is of that health."""
        last: Object = {}

        def holds() -> bool:
            nonlocal last
            last = self.application(name)
            return _outcome(last) == ("Synced", commit, "Succeeded", health)

        try:
            wait_until(holds, what=f"{name} synced at {commit[:8]} and {health}", deadline=deadline)
        except DeadlineExceeded as error:
            status = {**last.get("status", {})}
            for verbose in ("resources", "history"):
                status.pop(verbose, None)
            raise AssertionError(f"{error}\n{json.dumps(status)[:6000]}\n{self.log_tails()}") from None
        return last

    def run_from_guide(self, beginning: str) -> str:
        """Run the one command of the guide that begins so, exactly as it is printed; returns what it prints."""
        [line] = [line for line in GUIDE.read_text().splitlines() if line.startswith(f"    {beginning}")]
        _, *arguments = shlex.split(line)
        return Kubectl(self._hub.admin_kubeconfig).run(*arguments, directory=ROOT)

    def _install(self) -> None:
        self._hub.ensure_namespace(NAMESPACE)
        folder = _module_folder() / "manifests" / "crds"
        for name in _CRDS:
            crd = yaml.load((folder / f"{name}-crd.yaml").read_text(), Loader=yaml.CSafeLoader)
            path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd['metadata']['name']}"
            self._admin.apply(path, crd)
        wait_until(self._serves, what="Argo CD's CRDs to be served", deadline=60)
        settings = {"metadata": {"name": "argocd-cm", "labels": _PART_OF}}
        self._admin.create(f"/api/v1/namespaces/{NAMESPACE}/configmaps", settings)
        self.run_from_guide("kubectl -n argocd patch configmap argocd-cm")
        secret = {
            "metadata": {"name": "argocd-secret", "labels": _PART_OF},
            "stringData": {"server.secretkey": "x" * 32},
        }
        self._admin.create(_SECRETS, secret)
        everything = [{"group": "*", "kind": "*"}]
        self.apply(
            {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "AppProject",
                "metadata": {"name": "default", "namespace": NAMESPACE},
                "spec": {
                    "sourceRepos": ["*"],
                    "destinations": [{"namespace": "*", "server": "*"}],
                    "clusterResourceWhitelist": everything,
                },
            }
        )

    def _serves(self) -> bool:
        try:
            for name in _CRDS:
                self._admin.get(f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/{name}s", limit="1")
        except ApiError:
            return False
        return True

    def _redis(self) -> ChildProcess:
        command: list[str | Path] = [
            find_redis(),
            "--port",
            str(self._redis_port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        return ChildProcess("redis", command, log=self._directory / "redis.log", cwd=self._directory)

    def _repo_flags(self) -> list[str]:
        return [
            "--redis",
            f"127.0.0.1:{self._redis_port}",
            "--disable-tls",
            "--client-ca-path",
            "",
            "--address",
            "127.0.0.1",
            "--port",
            str(self._repo_port),
            "--metrics-address",
            "127.0.0.1",
            "--metrics-port",
            str(free_port()),
        ]

    def _part(self, name: str, *flags: str | Path) -> ChildProcess:
        scratch, programs = self._directory / "scratch", self._directory / "bin"
        scratch.mkdir(exist_ok=True)
        programs.mkdir(exist_ok=True)
        # Argo CD asks it whether a commit is signed; nothing here is.
        wrapper = programs / "git-verify-wrapper.sh"
        wrapper.write_text("#!/bin/sh\nexit 0\n")
        wrapper.chmod(0o755)
        helm = programs / "helm"
        if not helm.is_symlink():
            helm.symlink_to(find_helm())
        environment = {
            "ARGOCD_BINARY_NAME": name,
            "ARGOCD_GPG_ENABLED": "false",
            # The repository server remembers what a branch is for as long.
            "ARGOCD_RECONCILIATION_TIMEOUT": f"{RESYNC_SECONDS}s",
            "ARGOCD_RECONCILIATION_JITTER": "0s",
            "ARGOCD_TLS_DATA_PATH": str(scratch),
            "ARGOCD_SSH_DATA_PATH": str(scratch),
            "KUBECONFIG": str(self._hub.admin_kubeconfig),
            "TMPDIR": str(scratch),
            "HOME": str(scratch),
            "PATH": f"{programs}:{os.environ['PATH']}",
        }
        process = ChildProcess(name, [self._program, *flags], log=self._directory / f"{name}.log", env=environment)
        self._processes.append(process)
        return process


def _outcome(application: Object) -> tuple[Any, ...]:
    """Whether it is in sync, with what commit, how the last sync ended, and its health."""
    status = application.get("status", {})
    sync, operation = status.get("sync", {}), status.get("operationState", {})
    return sync.get("status"), sync.get("revision"), operation.get("phase"), status.get("health", {}).get("status")


def _module_folder() -> Path:
    """Where the go command keeps the module that the program was built from."""
    environment = {**os.environ, "GOFLAGS": "", "GOWORK": "off", "GOTOOLCHAIN": ARGOCD[0].toolchain}
    ended = subprocess.run(
        ["go", "mod", "download", "-json", _MODULE],
        cwd=MODULES_DIR / "argocd",
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return Path(json.loads(ended.stdout)["Dir"])
