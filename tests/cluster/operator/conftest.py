"""Fixtures of the operator's tests: one API server for all of them, emptied after each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.install import apply_crds, apply_rbac
from cluster.operator.installation import Installation

ROOT = Path(__file__).resolve().parents[3]
TEAM = "team-a"


@pytest.fixture(scope="session")
def operator_server() -> Iterator[ApiServer]:
    """Not the shared one: an operator looks at every namespace."""
    with ApiServer() as server:
        apply_crds(server, ROOT / "crds")
        apply_rbac(server, ROOT / "charts" / "tidegate" / "rbac")
        server.ensure_namespace(TEAM)
        yield server


@pytest.fixture
def installation(operator_server: ApiServer, tmp_path: Path) -> Iterator[Installation]:
    """Nothing of Tidegate's is in it but CRDs and roles."""
    made = Installation(operator_server, tmp_path)
    with made.emptied():
        yield made
