"""docs/how-to/api-keys.md runs as printed, command by command, against a real API server, operator and data planes."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cluster.harness.apiserver import ApiServer
from cluster.harness.binaries import find_tools
from cluster.harness.namespaces import remove_namespace
from cluster.harness.processes import wait_until
from cluster.harness.system import System
from tidegate_dataplane.apikey import PATTERN, issue_key
from tidegate_dataplane.snapshot.key_state import KeyState
from tidegate_operator.metrics import Metrics, keys_by_end

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "api-keys.md"
TEXT = GUIDE.read_text()
BLOCKS = re.findall(r"```(console|yaml)\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def environment(api_server: ApiServer, tmp_path: Path) -> Iterator[dict[str, str]]:
    """kubectl and tidegate as their user has them, in a folder of its own."""
    kubectl = find_tools().kubectl
    yield {
        **os.environ,
        "PATH": f"{kubectl.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "KUBECONFIG": str(api_server.admin_kubeconfig),
        "KUBECACHEDIR": str(tmp_path / "kubectl-cache"),
    }
    remove_namespace(api_server.admin, "search")


def test_the_guide_runs_as_printed(system: System, environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text(issue_key(b"k" * 32))
    kept: list[str] = []
    commands = 0
    for kind, text in BLOCKS:
        if kind == "yaml":
            _store(text, tmp_path)
            continue
        for command, printed in _dialogue(text):
            asked = command.replace("http://127.0.0.1:9090", system.planes[0].admin_url)
            found = _run(asked, environment, tmp_path)
            assert not printed or re.fullmatch(_pattern(printed), found), (command, found)
            commands += 1
            if "delete secret" in command:
                # The guide says that another key is made within a second.
                wait_until(lambda: _key(system) not in ("", *kept), what="another key")
            elif "wait" in command:
                kept.append(_key(system))
    assert commands == 11
    asked = "kubectl -n search get aiconsumer app -o jsonpath={.status.keys[*].state}"
    wait_until(lambda: _run(asked, environment, tmp_path) == "Revoked", what="Revoked in the status")


def test_what_the_guide_names_exists() -> None:
    assert f"    {PATTERN}\n" in TEXT
    assert all(f"`{state.value}`" in TEXT for state in KeyState)
    assert all(f"`{bucket}`" in TEXT for bucket in keys_by_end((), 0))
    told = Metrics().render().decode()
    assert all(f"# TYPE {name}" in told for name in re.findall(r"`(tidegate_operator_\w+)", TEXT))


def _store(text: str, folder: Path) -> None:
    if "apiVersion" in text:
        (folder / f"{yaml.safe_load(text)['metadata']['name']}.yaml").write_text(text)


def _dialogue(text: str) -> Iterator[tuple[str, str]]:
    """Each command with what is printed after it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed


def _pattern(printed: str) -> str:
    """What is printed, where `...` stands for the rest of a line."""
    return re.escape(printed).replace(re.escape("..."), ".*")


def _key(system: System) -> str:
    found = system.admin.list("/api/v1/namespaces/search/secrets")
    data = [item.get("data", {}).get("token", "") for item in found if item["metadata"]["name"] == "app-key"]
    return base64.b64decode(data[0]).decode() if data else ""


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
