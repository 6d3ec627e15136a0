"""docs/how-to/threat-feeds.md runs as printed, command by command, against a real API server and operator."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cluster.harness.apiserver import ApiServer
from cluster.harness.binaries import find_tools
from cluster.harness.namespaces import remove_namespace
from cluster.harness.system import System

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "threat-feeds.md"
BLOCKS = re.findall(r"```(console|yaml)\n(.*?)```", GUIDE.read_text(), re.DOTALL)


@pytest.fixture
def environment(api_server: ApiServer, tmp_path: Path) -> Iterator[dict[str, str]]:
    """kubectl as its user has it, in a folder of its own."""
    kubectl = find_tools().kubectl
    yield {
        **os.environ,
        "PATH": f"{kubectl.parent}:{os.environ['PATH']}",
        "KUBECONFIG": str(api_server.admin_kubeconfig),
        "KUBECACHEDIR": str(tmp_path / "kubectl-cache"),
    }
    remove_namespace(api_server.admin, "search")


def test_the_guide_runs_as_printed(system: System, environment: dict[str, str], tmp_path: Path) -> None:
    assert system.operator.alive
    commands = 0
    for kind, text in BLOCKS:
        if kind == "yaml":
            _store_or_apply(text, environment, tmp_path)
            continue
        for command, printed in _dialogue(text):
            assert _run(command, environment, tmp_path) == printed, command
            commands += 1
    assert commands > 8
    policy = "-n search wait --for=condition=ResolvedRefs aipolicy"
    assert "condition met" in _run(f"kubectl {policy}/leaked", environment, tmp_path)
    assert "condition met" in _run(f"kubectl {policy}/edge", environment, tmp_path)


def _store_or_apply(text: str, environment: dict[str, str], folder: Path) -> None:
    """The policy that the guide calls edge.yaml is applied by the guide; the others are applied here."""
    names = [document["metadata"]["name"] for document in yaml.safe_load_all(text)]
    file = folder / f"{names[0]}.yaml"
    file.write_text(text)
    if names != ["edge"]:
        _run(f"kubectl apply -f {file.name}", environment, folder)


def _dialogue(text: str) -> Iterator[tuple[str, str]]:
    """Each command with what is printed after it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed


def _run(command: str, environment: dict[str, str], folder: Path) -> str:
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, f"{command}: {ended.stderr}"
    return ended.stdout
