"""docs/how-to/admission.md runs as printed, on an API server with the policies and an operator with its webhook."""

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
from cluster.harness.processes import free_port
from e2e.admission.hooked import configure, start_webhook, wait_for_trust
from e2e.admission.installing import apply_policies

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "admission.md"
BLOCKS = re.findall(r"```(console|yaml)\n(.*?)```", GUIDE.read_text(), re.DOTALL)


@pytest.fixture
def environment(own_hooked: ApiServer, tmp_path: Path) -> Iterator[dict[str, str]]:
    """kubectl as its user has it, and both guards in the cluster."""
    apply_policies(own_hooked)
    port = free_port()
    process = start_webhook(own_hooked, tmp_path, port)
    try:
        configure(own_hooked, port)
        wait_for_trust(own_hooked, process)
        yield {
            **os.environ,
            "PATH": f"{find_tools().kubectl.parent}:{os.environ['PATH']}",
            "KUBECONFIG": str(own_hooked.admin_kubeconfig),
            "KUBECACHEDIR": str(tmp_path / "kubectl-cache"),
        }
    finally:
        process.stop()


def test_the_guide_runs_as_printed(environment: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    files = iter(re.findall(r"`([a-z]+\.yaml)`:$", GUIDE.read_text(), re.MULTILINE))
    differing = []
    commands = 0
    for kind, text in BLOCKS:
        if kind == "yaml":
            assert list(yaml.safe_load_all(text))
            (folder / next(files)).write_text(text)
            continue
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            said = _run(command, environment, folder)
            commands += 1
            if said != printed:
                differing.append(f"$ {command}\n{said}")
    assert "\n".join(differing) == ""
    assert commands > 10


def _run(command: str, environment: dict[str, str], folder: Path) -> str:
    # As on a terminal: what a pipe's first command says of errors and warnings is seen too.
    ended = subprocess.run(
        ["bash", "-c", command],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.stdout
