"""docs/how-to/budgets.md does what it says: its commands as printed, on a real store; ports apart."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.harness.processes import ChildProcess, free_port, wait_until
from redis_parts.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "how-to" / "budgets.md").read_text()
TRAFFIC, ADMIN = "localhost:8080", "localhost:9090"
COMMANDS = [line.removeprefix("$ ") for line in GUIDE.splitlines() if line.startswith("$ ")]
INDENTED = [line.strip() for line in GUIDE.splitlines() if line.startswith("    ") and not line.startswith("     ")]
ASK = next(command for command in COMMANDS if command.startswith("ask()"))


class Shell:
    """Runs the guide's lines in the checkout, against a gateway of its own."""

    def __init__(self, traffic: int, admin: int) -> None:
        self._ports = {TRAFFIC: f"127.0.0.1:{traffic}", ADMIN: f"127.0.0.1:{admin}"}

    def run(self, command: str) -> str:
        script = f"{ASK}\n{command}"
        for printed, ours in self._ports.items():
            script = script.replace(printed, ours)
        environment = {"PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin", "COLUMNS": "300"}
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout


@contextmanager
def serving(printed: str, folder: Path, *more: str) -> Iterator[Shell]:
    """The `tidegate serve` of the guide, on free ports."""
    assert printed in INDENTED
    traffic, admin = free_port(), free_port()
    command = [str(Path(sys.executable).parent / "tidegate"), *printed.split()[1:]]
    command = [str(ROOT / part) if part.startswith("examples/") else part for part in command]
    command += ["--listen", f"127.0.0.1:{traffic}", "--admin-listen", f"127.0.0.1:{admin}", *more]
    process = ChildProcess("serve", command, log=folder / "serve.log")
    try:
        wait_until(
            lambda: "serving http" in process.log_text(), what="the gateway serves", deadline=30, process=process
        )
        yield Shell(traffic, admin)
    finally:
        process.stop()


def test_the_free_tier_falls_back(tmp_path: Path) -> None:
    loop = next(command for command in COMMANDS if command.startswith("for call"))
    explain = next(command for command in COMMANDS if command.startswith("tidegate explain examples/quotas"))
    counted = next(line for line in COMMANDS if line.endswith("/-/quotas"))
    (promised,) = [line for line in INDENTED if line.startswith("x-tidegate-fallback")]
    with serving("tidegate serve examples/quotas", tmp_path) as shell:
        answers = shell.run(loop).split("HTTP/1.1 ")[1:]
        assert [answer.startswith("200") for answer in answers] == [True] * 5
        assert [promised in answer for answer in answers] == [False] * 4 + [True]
        assert '"scope":"default/trial"' in shell.run(counted)
        assert "Quota default/large-model OutputTokens of default/trial: 1050 per Hour in UTC" in shell.run(explain)


@pytest.mark.timeout(180)
async def test_money_counts_in_three_levels(tmp_path: Path) -> None:
    async with RedisServer(durable=False) as server:
        printed = next(line for line in INDENTED if line.startswith("tidegate serve examples/budgets"))
        assert "redis://127.0.0.1:6379" in printed
        with serving(printed, tmp_path, "--store", f"redis://{server.address}") as shell:
            wait_until(lambda: "HTTP/1.1 200" in shell.run("ask search"), what="the new store grants", deadline=30)
            assert "HTTP/1.1 200" in shell.run("ask search experiment")
            figures = shell.run(f"curl -sS {ADMIN}/-/quotas")
            for quota in ("research/department", "research/teams", "research/people", "research/experiments"):
                assert f'"quota":"{quota}"' in figures


def test_the_other_commands_do_what_they_say() -> None:
    shell = Shell(1, 1)
    explain = next(command for command in COMMANDS if command.startswith("tidegate explain examples/budgets"))
    assert "Quota research/teams Cost of research/discovery: $480 per Month in Europe/Berlin" in shell.run(explain)
    tests = next(line for line in INDENTED if line.startswith("tidegate test"))
    assert "6 passed" in shell.run(tests)
    (promised,) = re.findall(r'limits: \["(.*)"\]', GUIDE)
    at = re.findall(r'at: "(.*)"', GUIDE)[0]
    assert promised in shell.run(f"{explain} --at {at}")
