"""Micro benchmark of single counters: a reservation, a settlement, and the memory of one of each sort.

Run: python tests/bench/cells.py [--against REVISION]   (then each figure stands beside that revision's, in one run)
"""

import argparse
import gc
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from samples.demands import calendar
from tidegate_dataplane.ledger import cells
from tidegate_dataplane.snapshot.entries import CalendarPeriod

NOW = 1_790_000_000.0
CALLS, ROUNDS, COUNTERS = 50_000, 7, 10_000
SOURCE = "dataplane/tidegate_dataplane/ledger/cells.py"


class Limit:
    """What cells read of a demand, at the same cost in every revision: plain attributes."""

    __slots__ = ("amount", "rate", "terms")

    def __init__(self, amount: int, rate: float = 0.0) -> None:
        self.amount = amount
        self.rate = rate
        self.terms = self


def sorts(module: ModuleType) -> dict[str, tuple[Any, Limit]]:
    """How to make a cell of each sort that a revision has, and a limit that is never reached."""
    made: dict[str, tuple[Any, Limit]] = {
        "bucket": (lambda: module.BucketCell(50_000.0), Limit(10**6, 50_000.0)),
        "sliding window": (lambda: module.SlidingCell(60.0), Limit(10**12)),
    }
    month = module.Calendar(calendar(CalendarPeriod.MONTH, "Europe/Berlin"))
    made["calendar month"] = (lambda: module.CalendarCell(month), Limit(10**12))
    if hasattr(module, "GaugeCell"):
        second = module.Calendar(calendar(CalendarPeriod.SECOND))
        made["calendar second"] = (lambda: module.CalendarCell(second), Limit(10**12))
        made["slots in use"] = (module.GaugeCell, Limit(10**6))
    return made


def time_of(cell: Any, limit: Any) -> float:
    """Microseconds of this process's CPU for fits, take and correct, at 20,000 calls a second."""
    fits, take, correct = cell.fits, cell.take, cell.correct
    amount = 1 if limit.rate else 150  # what a rate limit counts, requests, is known beforehand: nothing to settle
    began = time.process_time()
    for number in range(CALLS):
        if not fits(limit, amount, NOW + number * 5e-5):
            raise SystemExit("refused")
        stamp = take(amount)
        if amount > 1:
            correct(stamp, -149)
    return (time.process_time() - began) / CALLS * 1e6


def memory_of(make: Any, limit: Any) -> float:
    """Bytes of one counter that was used once."""
    gc.collect()
    tracemalloc.start()
    kept = []
    before = tracemalloc.get_traced_memory()[0]
    for number in range(COUNTERS):
        cell = make()
        cell.fits(limit, 150, NOW + number)
        cell.take(1_000 + number)
        kept.append(cell)
    used = tracemalloc.get_traced_memory()[0] - before - sys.getsizeof(kept)
    tracemalloc.stop()
    return used / COUNTERS


def earlier(revision: str) -> ModuleType:
    text = subprocess.run(["git", "show", f"{revision}:{SOURCE}"], capture_output=True, check=True, text=True).stdout
    module = ModuleType("earlier_cells")
    sys.modules[module.__name__] = module
    exec(compile(text, f"{revision}:{SOURCE}", "exec"), module.__dict__)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", metavar="REVISION", help="measure this revision's counters as well, in turns")
    against = parser.parse_args().against
    modules = {"now": sorts(cells)} | ({against: sorts(earlier(against))} if against else {})
    best: dict[tuple[str, str], float] = {}
    for _ in range(ROUNDS):  # in turns, so that what else the machine does meets all alike
        for revision, made in modules.items():
            for name, (make, limit) in made.items():
                took = time_of(make(), limit)
                best[name, revision] = min(best.get((name, revision), took), took)
    columns = "".join(f"{f'µs, {revision}':>16}{f'bytes, {revision}':>16}" for revision in modules)
    print(f"{'one counter, reserve + settle':32}{columns}")
    for name in modules["now"]:
        row = ""
        for revision, made in modules.items():
            known = name in made
            row += f"{best[name, revision]:16.3f}{memory_of(*made[name]):16.0f}" if known else f"{'-':>16}{'-':>16}"
        print(f"{name:32}{row}")


if __name__ == "__main__":
    main()
