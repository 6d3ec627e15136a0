"""The control plane of the genuine cluster: what `ApiServer` runs for other tests, with the service accounts, the
controllers and the scheduler that pods need."""

from __future__ import annotations

import secrets
from pathlib import Path

from cluster.harness.apiserver import ApiServer
from cluster.harness.certificates import write_private
from cluster.harness.processes import ChildProcess, free_port, stop_all, wait_until
from cluster.harness.rest import Rest
from e2e.node.certificates import write_node_keys
from e2e.node.layout import GATEWAY, NODE_NAME, SERVICE_NETWORK

_REPLACED = ("--bind-address", "--advertise-address", "--service-cluster-ip-range", "--authorization-mode")
_LEFT_OUT = ("--disable-admission-plugins", "--endpoint-reconciler-type")


class ControlPlane(ApiServer):
    """etcd, API server, controller manager and scheduler. The bridge's address must exist when it starts."""

    def __init__(self, binaries: Path) -> None:
        """`binaries` is the folder of `make node-tools`. Nothing runs yet."""
        super().__init__()
        self._binaries = binaries
        self._node_keys = write_node_keys(self.directory)
        self._keys = self._node_keys.cluster
        self.admin = Rest(self.url, ca_path=self._keys.ca, token=self.admin_token)
        self.admin_kubeconfig = self.kubeconfig()
        self.node_token = secrets.token_urlsafe(24)
        self.proxy_token = secrets.token_urlsafe(24)
        lines = [
            self._tokens.read_text(),
            f'{self.node_token},system:node:{NODE_NAME},node,"system:nodes"\n',
            f"{self.proxy_token},system:kube-proxy,kube-proxy\n",
        ]
        self._tokens = write_private(self.directory / "tokens.csv", "".join(lines).encode())
        self._controllers: list[ChildProcess] = []

    def start_controllers(self) -> None:
        """Start the controller manager and the scheduler, once the API server is ready; waits until pods can be made,
        which is when the first service account exists."""
        for name, more in (
            (
                "kube-controller-manager",
                [
                    f"--service-account-private-key-file={self._keys.token_signing_key}",
                    f"--root-ca-file={self._keys.ca}",
                    "--use-service-account-credentials=true",
                    # Nobody shall wait for a batch: the tests measure how soon a pod leaves a Service.
                    "--endpointslice-updates-batch-period=0s",
                ],
            ),
            ("kube-scheduler", []),
        ):
            command: list[str | Path] = [
                self._binaries / name,
                f"--kubeconfig={self.admin_kubeconfig}",
                f"--authentication-kubeconfig={self.admin_kubeconfig}",
                f"--authorization-kubeconfig={self.admin_kubeconfig}",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
                f"--secure-port={free_port()}",
                f"--cert-dir={self.directory}",
                *more,
            ]
            self._controllers.append(ChildProcess(name, command, log=self.directory / f"{name}.log"))
        path = "/api/v1/namespaces/default/serviceaccounts"
        wait_until(
            lambda: any(item["metadata"]["name"] == "default" for item in self.admin.list(path)),
            what="the controller manager to make the first service account",
            deadline=60.0,
            process=self._controllers[0],
        )

    @property
    def ca(self) -> Path:
        """The authority that signed the API server's certificate and its client certificate."""
        return self._keys.ca

    def stop(self) -> None:
        """End everything and remove the folder."""
        stop_all(self._controllers)
        super().stop()

    def _api_command(self) -> list[str | Path]:
        kept = [part for part in super()._api_command() if not str(part).startswith((*_REPLACED, *_LEFT_OUT))]
        return [
            *kept,
            "--bind-address=0.0.0.0",
            f"--advertise-address={GATEWAY}",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            "--authorization-mode=Node,RBAC",
            f"--client-ca-file={self._keys.ca}",
            f"--kubelet-client-certificate={self._node_keys.kubelet_client}",
            f"--kubelet-client-key={self._node_keys.kubelet_client_key}",
            "--kubelet-preferred-address-types=InternalIP",
        ]
