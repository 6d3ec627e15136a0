"""A whole Tidegate for one test alone, in which everything may be harmed: API server, operators, data planes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.gateway import start_operator
from cluster.harness.install import apply_crds, apply_rbac
from cluster.harness.objects import tenant
from cluster.harness.processes import ChildProcess
from cluster.harness.system import System
from e2e.faults.changes import KEY, TEAM

ROOT = Path(__file__).resolve().parents[3]
StartOperator = Callable[[str], ChildProcess]


def install(server: ApiServer) -> None:
    """CRDs, roles and the tenant's namespace, as Argo CD puts them into a new cluster."""
    apply_crds(server, ROOT / "crds")
    apply_rbac(server, ROOT / "charts" / "tidegate" / "rbac")
    server.ensure_namespace(TEAM)


def declare(system: System) -> None:
    """A tenant whose model says `Change 0.`, in force on every data plane."""
    objects = tenant(TEAM, KEY, reply="Change 0.")
    system.apply(*objects)
    system.wait_for_text("Change 0.", key=KEY)
    system.wait_all_ready(objects)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as running:
        install(running)
        yield running


@pytest.fixture
def system(server: ApiServer, tmp_path: Path) -> Iterator[System]:
    """One operator and two data planes, with a tenant in force."""
    with System(server, tmp_path) as running:
        declare(running)
        yield running


@pytest.fixture
def start_another(system: System) -> Iterator[StartOperator]:
    """Starts a further operator under that identity; it is stopped at the end."""
    with contextlib.ExitStack() as started:

        def start(identity: str, more: Sequence[str] = ()) -> ChildProcess:
            urls = [plane.admin_url for plane in system.planes]
            process = start_operator(
                system.server,
                data_plane_urls=urls,
                directory=system.directory,
                name=f"operator-{identity}",
                more=["--identity", identity, *more],
            )
            return started.enter_context(process)

        yield start
