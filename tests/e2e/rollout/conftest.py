"""A real API server, a real operator and data planes, for what happens after the merge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.install import apply_crds, apply_rbac

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """For one test alone: revisions and holds are of the whole gateway."""
    with ApiServer() as server:
        apply_crds(server, ROOT / "crds")
        apply_rbac(server, ROOT / "charts" / "tidegate" / "rbac")
        yield server
