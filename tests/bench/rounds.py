"""Interleaved rounds: every contender is measured in every round, so that a machine that drifts drifts for all."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.cores import GATEWAY_CORE, LOAD_CORE, cpu_seconds, watch_cores
from bench.figures import median
from bench.wrk import Call, Load, run_wrk


@dataclass(frozen=True)
class Contender:
    """A server under test, the call that is posted to it, and the process that serves it."""

    name: str
    call: Call
    pid: int


@dataclass(frozen=True)
class Round:
    """One measurement of one contender, with how busy the two cores were (0..1) and the contender's own CPU time."""

    load: Load
    gateway_core: float
    load_core: float
    cpu_seconds: float

    @property
    def cpu_us(self) -> float:
        """CPU microseconds a request: what core 1 cannot limit."""
        return self.cpu_seconds / max(self.load.requests, 1) * 1e6


@dataclass(frozen=True)
class Series:
    """All rounds of one contender at one number of connections."""

    name: str
    connections: int
    rounds: tuple[Round, ...]

    @property
    def rate(self) -> float:
        """Median of good answers in a second."""
        return median([item.load.rate for item in self.rounds])

    @property
    def p50_us(self) -> float:
        return median([item.load.p50_us for item in self.rounds])

    @property
    def p99_us(self) -> float:
        return median([item.load.p99_us for item in self.rounds])

    @property
    def errors(self) -> int:
        return sum(item.load.errors for item in self.rounds)

    def row(self) -> tuple[str, ...]:
        """A line of the table whose header is HEADER."""
        return (
            self.name,
            str(self.connections),
            f"{self.rate:,.0f}",
            f"{self.p50_us / 1000:.3f}",
            f"{self.p99_us / 1000:.3f}",
            str(self.errors),
            f"{median([item.cpu_us for item in self.rounds]):.0f}",
            f"{median([item.gateway_core for item in self.rounds]):.0%}",
            f"{median([item.load_core for item in self.rounds]):.0%}",
        )

    def data(self) -> dict[str, Any]:
        """The series as JSON."""
        return {
            "name": self.name,
            "connections": self.connections,
            "median": {"rate": self.rate, "p50_us": self.p50_us, "p99_us": self.p99_us, "errors": self.errors},
            "rounds": [
                {
                    **asdict(item.load),
                    "rate": item.load.rate,
                    "cpu_us": item.cpu_us,
                    "cores": [item.gateway_core, item.load_core],
                }
                for item in self.rounds
            ],
        }


HEADER = ("contender", "c", "req/s", "p50 ms", "p99 ms", "errors", "CPU µs", "core 0", "core 1")


def interleave(
    contenders: Sequence[Contender], *, connections: int, rounds: int, seconds: float, warm_up: float = 1
) -> list[Series]:
    """Measure each contender once a round, after `warm_up` seconds each; the series come in the contenders' order."""
    for contender in contenders:
        run_wrk(contender.call, connections=connections, seconds=warm_up)
    taken: dict[str, list[Round]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        for contender in contenders:
            _say(f"round {number + 1}/{rounds}, c={connections}: {contender.name}")
            before = cpu_seconds(contender.pid)
            with watch_cores() as busy:
                load = run_wrk(contender.call, connections=connections, seconds=seconds)
            spent = cpu_seconds(contender.pid) - before
            taken[contender.name].append(Round(load, busy[GATEWAY_CORE], busy[LOAD_CORE], spent))
    _say("")
    return [Series(name, connections, tuple(items)) for name, items in taken.items()]


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(f"  {text}", file=sys.stderr, flush=True)
