"""Fixtures of the admission tests: API servers of their own, because policies and webhooks hold for a whole cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.install import apply_crds, apply_rbac
from e2e.admission.installing import apply_policies

ROOT = Path(__file__).resolve().parents[3]
TEAM = "team-a"


@pytest.fixture(scope="session")
def guarded_server() -> Iterator[ApiServer]:
    """An API server with CRDs and the policies, bound as the chart binds them by default; no operator."""
    with ApiServer() as server:
        apply_crds(server, ROOT / "crds")
        server.ensure_namespace(TEAM)
        server.ensure_namespace("tidegate-system")
        apply_policies(server)
        yield server


@pytest.fixture(scope="session")
def hooked_server() -> Iterator[ApiServer]:
    """An API server with CRDs and roles, for operators that serve a webhook."""
    with ApiServer() as server:
        apply_crds(server, ROOT / "crds")
        apply_rbac(server, ROOT / "charts" / "tidegate" / "rbac")
        server.ensure_namespace(TEAM)
        yield server


@pytest.fixture
def own_hooked() -> Iterator[ApiServer]:
    """As `hooked_server`, for one test alone."""
    with ApiServer() as server:
        apply_crds(server, ROOT / "crds")
        apply_rbac(server, ROOT / "charts" / "tidegate" / "rbac")
        server.ensure_namespace(TEAM)
        yield server
