"""A real Kubernetes API server for tests: etcd and kube-apiserver on loopback, with RBAC, in a temporary folder."""

from __future__ import annotations

import base64
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from cluster.harness.binaries import Tools, find_tools
from cluster.harness.certificates import write_cluster_keys, write_private
from cluster.harness.processes import ChildProcess, free_port, wait_for_http, wait_until
from cluster.harness.rest import ApiError, Rest

_READY_DEADLINE = 60.0
"""Seconds. Three suffice on an idle machine; a loaded one gets time."""

_STOP_GRACE = 3.0
_TOKEN_SECONDS = 24 * 60 * 60


class ApiServer:
    """One control plane. Use as a context manager, or call `start` and `stop`.

    Only what the tests need runs: no controller manager, so no garbage collection, no default
    service accounts, and a deleted namespace stays Terminating.
    """

    def __init__(self, *, tools: Tools | None = None) -> None:
        """Prepare keys and files; nothing runs yet. Raises ToolsMissing when the binaries are not built."""
        self._tools = tools or find_tools()
        self.directory = Path(tempfile.mkdtemp(prefix="tidegate-cluster-"))
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self._keys = write_cluster_keys(self.directory)
        self.ca_path = self._keys.ca
        self.admin_token = secrets.token_urlsafe(24)
        self._tokens = write_private(
            self.directory / "tokens.csv", f'{self.admin_token},admin,admin,"system:masters"\n'.encode()
        )
        self.admin = Rest(self.url, ca_path=self.ca_path, token=self.admin_token)
        self.admin_kubeconfig = self.kubeconfig()
        self._etcd: ChildProcess | None = None
        self._api: ChildProcess | None = None
        self.ready_seconds = 0.0

    def start(self) -> Self:
        """Start both and wait until the API server is ready; `ready_seconds` says how long that took."""
        began = time.monotonic()
        try:
            self._start_etcd()
            self.start_api()
        except BaseException:
            self.stop()
            raise
        self.ready_seconds = time.monotonic() - began
        return self

    def stop(self) -> None:
        """End everything and remove the folder with its keys, tokens and logs."""
        self.stop_api()
        if self._etcd is not None:
            self._etcd.stop(grace=_STOP_GRACE)
        shutil.rmtree(self.directory, ignore_errors=True)

    def start_api(self) -> None:
        """Start the API server, after `stop_api` or `kill_api` on the same port, and wait until it is ready."""
        self._api = ChildProcess("kube-apiserver", self._api_command(), log=self.directory / "kube-apiserver.log")
        wait_until(self.is_ready, what="starting kube-apiserver", deadline=_READY_DEADLINE, process=self._api)

    def stop_api(self, *, grace: float = _STOP_GRACE) -> None:
        """Stop the API server and keep etcd, so that every object is there again after `start_api`."""
        self.admin.close()
        if self._api is not None:
            self._api.stop(grace=grace)
            self._api = None

    def kill_api(self) -> None:
        """Take the API server away at once, as a crash would; etcd stays."""
        self.stop_api(grace=0.0)

    def is_ready(self) -> bool:
        """Whether /readyz says ok now."""
        try:
            return self.admin.request("GET", "/readyz") == b"ok"
        except (OSError, ApiError):
            return False

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return [part.pid for part in (self._api, self._etcd) if part is not None]

    @property
    def resident_bytes(self) -> dict[str, int]:
        """Memory that each part holds now."""
        return {part.name: part.resident_bytes for part in (self._api, self._etcd) if part is not None}

    def kubeconfig(
        self, user_token: str | None = None, *, path: Path | None = None, namespace: str = "default"
    ) -> Path:
        """Write a kubeconfig for `user_token` (default: the administrator), certificates inside, mode 0600."""
        target = path or self.directory / f"kubeconfig-{secrets.token_hex(4)}"
        cluster = {
            "server": self.url,
            "certificate-authority-data": base64.b64encode(self.ca_path.read_bytes()).decode(),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tidegate", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": user_token or self.admin_token}}],
            "contexts": [
                {"name": "tidegate", "context": {"cluster": "tidegate", "user": "user", "namespace": namespace}}
            ],
            "current-context": "tidegate",
        }
        return write_private(target, yaml.safe_dump(config).encode())

    def ensure_namespace(self, name: str, labels: dict[str, str] | None = None) -> None:
        """Create a namespace unless it exists."""
        self.admin.ensure("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels or {}}})

    def token_for(self, namespace: str, service_account: str) -> str:
        """A token of that ServiceAccount (made first if needed), from the TokenRequest API: it has its RBAC only."""
        self.ensure_namespace(namespace)
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        self.admin.ensure(accounts, {"metadata": {"name": service_account}})
        request = {"spec": {"expirationSeconds": _TOKEN_SECONDS}}
        answer = self.admin.create(f"{accounts}/{service_account}/token", request)
        return str(answer["status"]["token"])

    def kubeconfig_for_serviceaccount(self, namespace: str, name: str, *, path: Path | None = None) -> Path:
        """A kubeconfig under which a program runs as that ServiceAccount."""
        return self.kubeconfig(self.token_for(namespace, name), path=path, namespace=namespace)

    def rest(self, token: str) -> Rest:
        """A JSON client under another identity; close it (it is a context manager)."""
        return Rest(self.url, ca_path=self.ca_path, token=token)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_etcd(self) -> None:
        client, peer = free_port(), free_port()
        self._etcd_url = f"http://127.0.0.1:{client}"
        peer_url = f"http://127.0.0.1:{peer}"
        command: list[str | Path] = [
            self._tools.etcd,
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={self._etcd_url}",
            f"--advertise-client-urls={self._etcd_url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]
        self._etcd = ChildProcess("etcd", command, log=self.directory / "etcd.log")
        wait_for_http(f"{self._etcd_url}/readyz", deadline=_READY_DEADLINE, process=self._etcd)

    def _api_command(self) -> list[str | Path]:
        return [
            self._tools.kube_apiserver,
            f"--etcd-servers={self._etcd_url}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={self.directory}",
            f"--tls-cert-file={self._keys.serving_certificate}",
            f"--tls-private-key-file={self._keys.serving_key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._keys.token_public_key}",
            f"--service-account-signing-key-file={self._keys.token_signing_key}",
            f"--token-auth-file={self._tokens}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            # No controller manager makes the accounts that this admission would want in every pod.
            "--disable-admission-plugins=ServiceAccount",
            "--allow-privileged=true",
            # A loopback address is no endpoint that Kubernetes accepts for the `kubernetes` Service.
            "--endpoint-reconciler-type=none",
        ]
