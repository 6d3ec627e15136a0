"""Which core does what: the program under test has core 0 alone, everything else shares core 1.

The upstream and the load generator share a core, so that core can be the bottleneck of a fast contender. It is
therefore measured: every round says how busy both cores were, and a reader sees which of them was the limit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

GATEWAY_CORE = 0
LOAD_CORE = 1
_STAT = Path("/proc/stat")
# Fields of a cpu line that are not work: idle and iowait (proc(5)).
_IDLE_FIELDS = (3, 4)


def pinned(core: int, argv: Sequence[object]) -> list[str]:
    """`argv` (strings and paths) as a command that runs on that core only."""
    return ["taskset", "-c", str(core), *(str(part) for part in argv)]


def core_count() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


class Busy:
    """How busy each core was over a span of time, as a share between 0 and 1; filled when the span ends."""

    def __init__(self) -> None:
        self.shares: dict[int, float] = {}

    def __getitem__(self, core: int) -> float:
        return self.shares.get(core, 0.0)


@contextmanager
def watch_cores() -> Iterator[Busy]:
    """Measure the cores while the block runs (Linux's /proc/stat, ticks of 10 ms)."""
    busy = Busy()
    before = _ticks()
    yield busy
    for core, (work, total) in _ticks().items():
        work_before, total_before = before.get(core, (0, 0))
        span = total - total_before
        busy.shares[core] = (work - work_before) / span if span else 0.0


def cpu_seconds(pid: int) -> float:
    """CPU time, user and system, that process `pid` has used with all its threads (ticks of 10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _ticks() -> dict[int, tuple[int, int]]:
    found: dict[int, tuple[int, int]] = {}
    for line in _STAT.read_text().splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            # guest time is contained in user time already.
            values = [int(field) for field in fields[:8]]
            idle = sum(values[index] for index in _IDLE_FIELDS)
            found[int(name[3:])] = (sum(values) - idle, sum(values))
    return found
