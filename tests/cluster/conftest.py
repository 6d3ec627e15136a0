"""Fixtures of the tests against a real API server: one server for the session, CRDs, RBAC, fresh namespaces."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.install import apply_crds, apply_rbac
from cluster.harness.kubectl import Kubectl
from cluster.harness.namespaces import remove_namespace
from cluster.harness.system import System

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever stands in this folder carries the marker `cluster`."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("cluster")


@pytest.fixture(scope="session")
def api_server() -> Iterator[ApiServer]:
    """The API server that all cluster tests share. Without its binaries the tests fail and say what to run."""
    with ApiServer() as server:
        yield server


@pytest.fixture
def own_api_server() -> Iterator[ApiServer]:
    """An API server for one test alone, which may stop or kill it."""
    with ApiServer() as server:
        yield server


@pytest.fixture(scope="session")
def kubectl(api_server: ApiServer) -> Kubectl:
    """kubectl as the administrator of the shared API server."""
    return Kubectl(api_server.admin_kubeconfig)


@pytest.fixture(scope="session")
def crds(api_server: ApiServer) -> list[str]:
    """Tidegate's CRDs, applied and Established; their names."""
    return apply_crds(api_server, ROOT / "crds")


@pytest.fixture(scope="session")
def rbac(api_server: ApiServer) -> list[Path]:
    """The chart's ServiceAccounts and roles, applied in tidegate-system; their files."""
    return apply_rbac(api_server, ROOT / "charts" / "tidegate" / "rbac")


@pytest.fixture
def make_namespace(api_server: ApiServer) -> Iterator[Callable[..., str]]:
    """Makes fresh namespaces, `make_namespace("team-a", labels={...})`; they are deleted after the test."""
    made: list[str] = []

    def make(prefix: str = "test", labels: dict[str, str] | None = None) -> str:
        name = f"{prefix}-{secrets.token_hex(3)}"
        api_server.ensure_namespace(name, labels)
        made.append(name)
        return name

    yield make
    for name in made:
        remove_namespace(api_server.admin, name)


@pytest.fixture
def namespace(make_namespace: Callable[..., str]) -> str:
    """One fresh namespace."""
    return make_namespace()


@pytest.fixture(scope="module")
def system(
    api_server: ApiServer, crds: list[str], rbac: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """An operator and two data planes on the shared API server, for the tests of one file."""
    with System(api_server, tmp_path_factory.mktemp("system")) as running:
        yield running


@pytest.fixture
def own_system(own_api_server: ApiServer, tmp_path: Path) -> Iterator[System]:
    """As `system`, on an API server that one test may stop or kill."""
    apply_crds(own_api_server, ROOT / "crds")
    apply_rbac(own_api_server, ROOT / "charts" / "tidegate" / "rbac")
    with System(own_api_server, tmp_path) as running:
        yield running
