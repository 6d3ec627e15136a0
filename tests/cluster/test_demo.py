"""`make demo-cluster` as a user runs it: what it prints works when pasted, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.harness.binaries import find_tools
from cluster.harness.processes import ChildProcess, free_port, is_free, wait_until

_TESTS = Path(__file__).resolve().parents[1]
_END = "Ctrl-C stops everything."


def _demo(directory: Path, *args: str) -> ChildProcess:
    command = [sys.executable, "-m", "cluster.demo", "--directory", str(directory / "demo"), *args]
    return ChildProcess("demo", command, log=directory / "demo.log", env={"PYTHONPATH": str(_TESTS)})


def _shell(line: str) -> str:
    tools = find_tools().kubectl.parent
    path = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    ended = subprocess.run(["sh", "-c", line], env=path, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, f"{line}\n{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    return free_port(consecutive=2), free_port(consecutive=2)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, ports: tuple[int, int]) -> Iterator[ChildProcess]:
    """A demo that has printed what a user can do."""
    arguments = ["--port", str(ports[0]), "--admin-port", str(ports[1])]
    with _demo(tmp_path_factory.mktemp("demo"), *arguments) as process:
        process.wait_for_log(_END, deadline=100)
        yield process


def _printed(demo: ChildProcess, start: str) -> str:
    lines = [line.strip() for line in demo.log_text().splitlines()]
    return next(line for line in lines if line.startswith(start))


def test_the_printed_curl_line_answers(demo: ChildProcess) -> None:
    answer = json.loads(_shell(_printed(demo, "curl ")))
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"]


def test_kubectl_drives_both_data_planes(demo: ChildProcess, ports: tuple[int, int]) -> None:
    export, curl = _printed(demo, "export KUBECONFIG="), _printed(demo, "curl ")
    assert "airoute" in _shell(f"{export}; {_printed(demo, 'kubectl get ')}")
    assert "VERSION" in _shell(f"{export}; {_printed(demo, 'kubectl explain ')}")
    status = [f"{curl.replace(str(ports[0]), str(port))} -o /dev/null -w '%{{http_code}}'" for port in _two(ports[0])]
    assert [_shell(line) for line in status] == ["200", "200"]

    consumer = "aiconsumer demo-app --type=merge -p"
    _shell(f"""{export}; kubectl patch {consumer} '{{"spec": {{"suspended": true}}}}'""")
    for line in status:
        _wait_for_status(line, "401", "403")
    _shell(f"""{export}; kubectl patch {consumer} '{{"spec": {{"suspended": false}}}}'""")
    for line in status:
        _wait_for_status(line, "200")


def test_a_taken_port_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with _demo(tmp_path, "--port", str(port)) as process:
            wait_until(lambda: not process.alive, what="the demo to give up")
            assert process.exit_code == 1
            assert f"error: port {port} of 127.0.0.1 is taken" in process.log_text()


def test_ctrl_c_stops_everything(demo: ChildProcess, ports: tuple[int, int]) -> None:
    kubeconfig = Path(_printed(demo, "export KUBECONFIG=").removeprefix("export KUBECONFIG="))
    match = re.search(r"https://127\.0\.0\.1:(\d+)", kubeconfig.read_text())
    assert match is not None
    demo.signal(signal.SIGINT)
    wait_until(lambda: not demo.alive, what="the demo to end", deadline=30)
    assert demo.exit_code == 0
    assert demo.log_text().rstrip().endswith("everything is stopped")
    assert not kubeconfig.exists()
    assert all(is_free(port) for port in (*_two(ports[0]), *_two(ports[1]), int(match[1])))


def _wait_for_status(line: str, *wanted: str) -> None:
    wait_until(lambda: _shell(line) in wanted, what=f"the answer to become {' or '.join(wanted)}")


def _two(port: int) -> tuple[int, int]:
    return port, port + 1
