"""The health checks, executed by Argo CD's own program with the settings that users merge."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.harness.binaries import find_argocd
from delivery.health_files import CUSTOMIZATIONS, SETTINGS


def _samples() -> Iterator[Any]:
    for tests in sorted(CUSTOMIZATIONS.glob("*/health_test.yaml")):
        for test in yaml.safe_load(tests.read_text())["tests"]:
            path = tests.parent / test["inputPath"]
            yield pytest.param(path, test["healthStatus"], id=f"{tests.parent.name}-{path.stem}")


@pytest.mark.parametrize(("path", "wanted"), list(_samples()))
def test_argo_cd_judges_a_status_of_ours(path: Path, wanted: dict[str, str]) -> None:
    ended = subprocess.run(
        [find_argocd(), "admin", "settings", "resource-overrides", "health", path, "--argocd-cm-path", SETTINGS],
        env={**os.environ, "ARGOCD_BINARY_NAME": "argocd"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    status, _, message = ended.stdout.partition("\n")
    assert status == f"STATUS: {wanted['status']}"
    assert message == f"MESSAGE: {wanted['message']}\n"
