"""docs/how-to/install.md runs as printed, command by command, on a real API server."""

from __future__ import annotations

import os
import re
import subprocess

from cluster.harness.apiserver import ApiServer
from cluster.harness.binaries import find_helm, find_tools
from cluster.harness.helm import CHART

_ROOT = CHART.parents[1]
_TEXT = (_ROOT / "docs" / "how-to" / "install.md").read_text()


def test_the_guide_runs_as_printed() -> None:
    commands = re.findall(r"^\$ (.*)$", _TEXT, re.MULTILINE)
    assert len(commands) == 15
    with ApiServer() as server:
        environment = _environment(server)
        printed = {command: _run(command, environment) for command in commands}
    (lint,) = [text for command, text in printed.items() if "lint" in command]
    assert "0 chart(s) failed" in lint


def test_taking_over_runs_as_printed(server: ApiServer) -> None:
    environment = _environment(server)
    _run("kubectl apply --server-side -f crds", environment)
    (command,) = re.findall(r"^    (helm install .*--take-ownership.*)$", _TEXT, re.MULTILINE)
    assert "STATUS: deployed" in _run(command, environment)


def _environment(server: ApiServer) -> dict[str, str]:
    own = {f"HELM_{name}_HOME": str(server.directory / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
    programs = f"{find_tools().kubectl.parent}:{find_helm().parent}"
    return {
        **os.environ,
        **own,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "KUBECONFIG": str(server.admin_kubeconfig),
        "KUBECACHEDIR": str(server.directory / "kubectl-cache"),
    }


def _run(command: str, environment: dict[str, str]) -> str:
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=_ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ended.returncode == 0, (command, ended.stderr)
    return ended.stdout
