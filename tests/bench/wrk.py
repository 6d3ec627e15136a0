"""Runs wrk, the closed-loop load generator, and reads what its script measured."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.cores import LOAD_CORE, pinned

SCRIPT = Path(__file__).with_name("chat.lua")
_MARK = "WRK_JSON "


class WrkFailed(RuntimeError):
    """wrk ended with an error or printed no result; the message holds its output."""


@dataclass(frozen=True)
class Call:
    """What is posted: an absolute loopback URL, a file with the body, and headers.

    `bearers` is a file with one bearer token a line, which requests carry in turn.
    """

    url: str
    body: Path
    headers: Mapping[str, str]
    bearers: Path | None = None


@dataclass(frozen=True)
class Load:
    """One measurement. Latencies are microseconds; `errors` counts statuses above 399 and broken exchanges."""

    requests: int
    seconds: float
    errors: int
    p50_us: int
    p90_us: int
    p99_us: int
    max_us: int

    @property
    def rate(self) -> float:
        """Answers in a second, the good ones only."""
        return max(self.requests - self.errors, 0) / self.seconds if self.seconds else 0.0


def run_wrk(call: Call, *, connections: int, seconds: float) -> Load:
    """Post `call` from one thread over `connections` keep-alive connections for whole `seconds`; raises WrkFailed.

    wrk is pinned to the load core. Its percentiles are corrected for coordinated omission (wrk does that itself).
    """
    environment = {**os.environ, "BENCH_BODY": str(call.body), "BENCH_HEADERS": _header_lines(call.headers)}
    if call.bearers is not None:
        environment["BENCH_BEARERS"] = str(call.bearers)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(round(seconds), 1)}s", "--timeout", "10s"]
    ended = subprocess.run(
        pinned(LOAD_CORE, [*command, "-s", str(SCRIPT), call.url]),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if ended.returncode != 0:
        raise WrkFailed(f"wrk ended with {ended.returncode}: {ended.stderr or ended.stdout}")
    return parse(ended.stdout)


def parse(output: str) -> Load:
    """Read the line that chat.lua prints; raises WrkFailed when there is none."""
    line = next((line for line in output.splitlines() if line.startswith(_MARK)), None)
    if line is None:
        raise WrkFailed(f"wrk printed no result: {output}")
    found = json.loads(line.removeprefix(_MARK))
    return Load(
        requests=found["requests"],
        seconds=found["duration_us"] / 1e6,
        errors=sum(found[kind] for kind in ("connect", "read", "write", "status", "timeout")),
        p50_us=found["p50_us"],
        p90_us=found["p90_us"],
        p99_us=found["p99_us"],
        max_us=found["max_us"],
    )


def _header_lines(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\n" for name, value in headers.items())
