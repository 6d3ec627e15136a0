"""Medians, percentiles, tables and the JSON of a result."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench-results"


@dataclass(frozen=True)
class Goal:
    """A figure that was promised: what it is, what was measured, the bound, and whether it holds."""

    what: str
    measured: str
    bound: str
    met: bool


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0..1) of `values` do not exceed (nearest rank); nan when empty."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def median(values: Sequence[float]) -> float:
    """The median; nan when empty."""
    return statistics.median(values) if values else math.nan


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Plain text in columns: the first to the left, the others to the right."""
    lines = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    text = [
        "  ".join(cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    ]
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([f"\n{title}", *text])


def report(name: str, *, tables: Sequence[str], goals: Sequence[Goal], data: Mapping[str, Any]) -> int:
    """Print the tables, write bench-results/NAME.json, and return the exit code: 0 whether or not goals are met.

    A goal that was missed is shown, not raised: the figures depend on the machine, and a slow one is no defect.
    """
    for text in tables:
        print(text)
    here = machine()
    print(
        f"\n{here['cores']} cores ({here['cpu']}), Python {here['python']} at {here['python_loop_ns']} ns a turn,"
        f" load {here['load']:.1f}"
    )
    if goals:
        rows = [(goal.what, goal.measured, goal.bound, "yes" if goal.met else "NO") for goal in goals]
        print(table("goals", ("goal", "measured", "bound", "met"), rows))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    document = {
        "benchmark": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": here,
        "command": " ".join([Path(sys.argv[0]).stem, *sys.argv[1:]]),
        "goals": [goal.__dict__ for goal in goals],
        **data,
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
    print(f"\nwritten: {path.relative_to(ROOT)}")
    return 0


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal:")), 0)
    return {
        "cores": os.cpu_count(),
        "cpu": model,
        "memory_mib": memory // 1024,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "python_loop_ns": round(interpreter_ns()),
        "load": os.getloadavg()[0],
    }


def interpreter_ns() -> float:
    """Nanoseconds that this interpreter takes for one turn of a fixed loop of plain Python: the best of a few tries.

    Builds of the same version differ by a factor of nearly two (profile-guided optimization), and so do busy machines.
    """
    turns = 20_000

    def once() -> float:
        began = time.perf_counter()
        seen: dict[str, int] = {}
        for turn in range(turns):
            key = f"{turn & 255:x}"
            seen[key] = seen.get(key, 0) + len([part for part in (key, turn) if part])
        return (time.perf_counter() - began) / turns * 1e9

    return min(once() for _ in range(9))


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
