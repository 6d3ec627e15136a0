"""Helm without a cluster, for what a rendering shows."""

from pathlib import Path

import pytest

from cluster.harness.helm import Helm


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Without its binary the tests fail and say what to run."""
    folder: Path = tmp_path_factory.mktemp("helm")
    return Helm(folder)
