"""Starts Tidegate's own programs against an API server: the operator and data planes, each as its ServiceAccount.

The installation under test is the one of the running interpreter (its `tidegate` and `tidegate-dataplane`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.harness.apiserver import ApiServer
from cluster.harness.install import SYSTEM_NAMESPACE
from cluster.harness.processes import ChildProcess, free_port, wait_for_http

OPERATOR_ACCOUNT = "tidegate-operator"
DATA_PLANE_ACCOUNT = "tidegate-dataplane"


@dataclass(frozen=True)
class DataPlane:
    """A running data plane and where it listens."""

    process: ChildProcess
    url: str
    """Traffic, for example http://127.0.0.1:8180."""
    admin_url: str
    """`/-/live`, `/-/ready`, `/-/status`, `/metrics`."""

    def wait_ready(self, *, deadline: float = 30.0) -> float:
        """Wait until it serves a snapshot; returns the seconds that took. Raises as `wait_until`."""
        return wait_for_http(f"{self.admin_url}/-/ready", deadline=deadline, process=self.process)


def start_operator(
    server: ApiServer,
    *,
    data_plane_urls: Sequence[str],
    directory: Path,
    gateway: str = "default",
    name: str = "operator",
    more: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> ChildProcess:
    """Start `tidegate operator` under the chart's role. `data_plane_urls` are admin addresses; the log is
    `directory`/`name`.log. It may not yet have published when this returns."""
    command: list[str | Path] = [
        program("tidegate"),
        "operator",
        "--kubeconfig",
        server.kubeconfig_for_serviceaccount(SYSTEM_NAMESPACE, OPERATOR_ACCOUNT),
        "--gateway",
        gateway,
        "--namespace",
        SYSTEM_NAMESPACE,
    ]
    for url in data_plane_urls:
        command += ["--data-plane-url", url]
    return ChildProcess(name, [*command, *more], log=directory / f"{name}.log", env=env)


def start_data_plane(
    server: ApiServer,
    *,
    directory: Path,
    gateway: str = "default",
    name: str = "dataplane",
    port: int | None = None,
    admin_port: int | None = None,
    kubeconfig: Path | None = None,
    more: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> DataPlane:
    """Start `tidegate-dataplane` under the chart's role, on free ports unless given. See `DataPlane.wait_ready`.

    `kubeconfig` is one that was made earlier, for a start while the API server is away.
    """
    listen = f"127.0.0.1:{port or free_port()}"
    admin_listen = f"127.0.0.1:{admin_port or free_port()}"
    command: list[str | Path] = [
        program("tidegate-dataplane"),
        "--gateway",
        gateway,
        "--listen",
        listen,
        "--admin-listen",
        admin_listen,
        "--kubeconfig",
        kubeconfig or server.kubeconfig_for_serviceaccount(SYSTEM_NAMESPACE, DATA_PLANE_ACCOUNT),
        "--namespace",
        SYSTEM_NAMESPACE,
        # Tests ask again and again until a key is refused.
        "--auth-failures-per-address",
        "100000/1m",
        "--auth-failures-per-prefix",
        "100000/1m",
    ]
    process = ChildProcess(name, [*command, *more], log=directory / f"{name}.log", env=env)
    return DataPlane(process, f"http://{listen}", f"http://{admin_listen}")


def program(name: str) -> Path:
    """A console script of this environment. Raises FileNotFoundError that says to run `make setup`."""
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        raise FileNotFoundError(f"{path} is not installed; run `make setup`")
    return path
