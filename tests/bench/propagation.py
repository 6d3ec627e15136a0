"""How long after an apply every data plane obeys: a real API server, the operator and two data planes under RBAC.

A policy on one of N routes is edited so that a decision flips. The clock starts when the apply call starts and stops
for each data plane with its first answer under the new policy; a change counts when the slower one obeys.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import worlds
from bench.cluster import Cluster, start_cluster
from bench.figures import ROOT, Goal, median, percentile, report, table
from bench.gateway import json_headers
from bench.keepalive import KeepAlive
from bench.wrk import Call
from cluster.harness.gateway import DataPlane, start_data_plane, start_operator
from cluster.harness.processes import DeadlineExceeded

PLANES = 2
_POLL = 0.001
_DEADLINE = 10.0
_PAUSE = (0.1, 0.3)
OPEN, FROZEN = 200, 403


@dataclass(frozen=True)
class Changes:
    """All changes at one number of routes: seconds until the first and until every data plane obeyed."""

    routes: int
    objects: int
    first: tuple[float, ...]
    every: tuple[float, ...]
    apply: tuple[float, ...]

    def row(self) -> tuple[str, ...]:
        """A line of the table, milliseconds."""
        figures = (
            median(self.apply),
            median(self.first),
            median(self.every),
            percentile(self.every, 0.99),
            max(self.every),
        )
        return (f"{self.routes:,}", f"{self.objects:,}", str(len(self.every)), *(f"{x * 1000:.0f}" for x in figures))

    def data(self) -> dict[str, Any]:
        """As JSON, seconds."""
        return {
            "routes": self.routes,
            "objects": self.objects,
            "median_s": median(self.every),
            "p99_s": percentile(self.every, 0.99),
            "apply_s": self.apply,
            "first_s": self.first,
            "every_s": self.every,
        }


def main() -> int:
    """Run it; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="bench.propagation", description=__doc__)
    arguments.add_argument("--routes", type=int, nargs="+", default=[1, 3_000])
    arguments.add_argument("--changes", type=int, default=200, help="changes at each number of routes")
    options = arguments.parse_args()
    results = [measure(routes, options.changes) for routes in options.routes]
    header = ("routes", "objects", "changes", "apply", "first obeys", "all obey: median", "p99", "max")
    return report(
        "propagation",
        tables=[table(f"apply to enforced on {PLANES} data planes, ms", header, [item.row() for item in results])],
        goals=judge(results[-1]),
        data={"results": [item.data() for item in results]},
    )


def measure(routes: int, changes: int) -> Changes:
    """Start everything with that many routes, make the changes, stop everything."""
    size = worlds.Size(routes, max(routes // 10, 1))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidegate-bench-")))
        cluster = stack.enter_context(start_cluster(folder, ROOT))
        cluster.create(size)
        number = routes // 2
        cluster.apply(worlds.freeze(number, frozen=False))
        planes = [start_data_plane(cluster.server, directory=folder, name=f"dataplane-{n}") for n in range(PLANES)]
        for plane in planes:
            stack.callback(plane.process.stop)
        urls = [plane.admin_url for plane in planes]
        operator = start_operator(cluster.server, data_plane_urls=urls, directory=folder)
        stack.callback(operator.stop)
        callers = [stack.enter_context(KeepAlive(_call(folder, plane, number, size))) for plane in planes]
        for plane, caller in zip(planes, callers, strict=True):
            plane.wait_ready(deadline=60.0)
            _obeys_at(caller, OPEN)
        pool = stack.enter_context(ThreadPoolExecutor(PLANES))
        cluster.wait_for_statuses(size)
        return _changes(cluster, callers, pool, size=size, number=number, changes=changes)


def _changes(
    cluster: Cluster,
    callers: Sequence[KeepAlive],
    pool: ThreadPoolExecutor,
    *,
    size: worlds.Size,
    number: int,
    changes: int,
) -> Changes:
    chance = random.Random(7)
    first, every, applied = [], [], []
    for change in range(changes):
        frozen = change % 2 == 0
        wanted = FROZEN if frozen else OPEN
        time.sleep(chance.uniform(*_PAUSE))
        stale = [caller.ask() for caller in callers]
        if wanted in stale:
            raise DeadlineExceeded(f"change {change}: a data plane went back to an older policy (answers {stale})")
        manifest = worlds.freeze(number, frozen=frozen)
        began = time.monotonic()
        watching = [pool.submit(_obeys_at, caller, wanted) for caller in callers]
        cluster.apply(manifest)
        applied.append(time.monotonic() - began)
        seconds = [watch.result() - began for watch in watching]
        first.append(min(seconds))
        every.append(max(seconds))
        print(f"  {size.routes} routes, change {change + 1}/{changes}: {max(seconds) * 1000:.0f} ms", file=sys.stderr)
    return Changes(size.routes, size.objects + 1, tuple(first), tuple(every), tuple(applied))


def _obeys_at(caller: KeepAlive, wanted: int) -> float:
    """Ask about once a millisecond until the answer is `wanted`; returns the time of that answer."""
    give_up = time.monotonic() + _DEADLINE
    while True:
        status = caller.ask()
        now = time.monotonic()
        if status == wanted:
            return now
        if now > give_up:
            raise DeadlineExceeded(f"a data plane still answers {status}, not {wanted}, after {_DEADLINE:g} s")
        time.sleep(_POLL)


def judge(largest: Changes) -> list[Goal]:
    """The promises on propagation, of the largest number of routes."""
    middle, tail = median(largest.every) * 1000, percentile(largest.every, 0.99) * 1000
    return [
        Goal(f"median at {largest.routes:,} routes", f"{middle:.0f} ms", "<= 150 ms", middle <= 150),
        Goal(f"p99 at {largest.routes:,} routes", f"{tail:.0f} ms", "<= 500 ms", tail <= 500),
    ]


def _call(folder: Path, plane: DataPlane, number: int, size: worlds.Size) -> Call:
    body = folder / "body.json"
    model = worlds.model_of(number)
    body.write_bytes(worlds.chat_body(model))
    consumer = worlds.consumer_for(number, size)
    return Call(plane.url + worlds.PATH, body, json_headers(worlds.api_key(consumer)))


if __name__ == "__main__":
    sys.exit(main())
