"""How long after an apply a key is refused everywhere: a real API server, the operator and two data planes under RBAC.

Each change takes one application's access away, by turns in each way there is: its key is revoked, its key is removed,
it is suspended, it is deleted. The clock starts when that call starts and stops for each data plane with its first
refusal; a change counts when the slower one refuses.
"""

from __future__ import annotations

import argparse
import copy
import random
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import worlds
from bench.cluster import Cluster, start_cluster
from bench.figures import ROOT, Goal, median, percentile, report, table
from bench.gateway import json_headers
from bench.keepalive import KeepAlive
from bench.wrk import Call
from cluster.harness.gateway import DataPlane, start_data_plane, start_operator
from cluster.harness.processes import DeadlineExceeded, wait_until

PLANES = 2
_POLL = 0.001
_SAMPLE = 200
_STATUS_DEADLINE = 900.0
_DEADLINE = 10.0
_PAUSE = (0.1, 0.3)
OPEN, REFUSED = 200, (401, 403)

Change = Callable[[Cluster, worlds.Manifest], None]


@dataclass(frozen=True)
class Taken:
    """The changes of one way: seconds until the first and until every data plane refused."""

    way: str
    first: tuple[float, ...]
    every: tuple[float, ...]

    def row(self) -> tuple[str, ...]:
        """A line of the table, milliseconds."""
        figures = (median(self.first), median(self.every), percentile(self.every, 0.99), max(self.every))
        return (self.way, str(len(self.every)), *(f"{seconds * 1000:.0f}" for seconds in figures))


def main() -> int:
    """Run it; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="bench.revocation", description=__doc__)
    arguments.add_argument("--routes", type=int, default=3_000)
    arguments.add_argument("--consumers", type=int, default=20_000)
    arguments.add_argument("--changes", type=int, default=120)
    options = arguments.parse_args()
    size = worlds.Size(options.routes, options.consumers)
    found = measure(size, options.changes)
    every = Taken("all", tuple(x for one in found for x in one.first), tuple(x for one in found for x in one.every))
    tail = percentile(every.every, 0.99) * 1000
    title = f"apply to refused on {PLANES} data planes, {size.routes:,} routes, {size.consumers:,} consumers, ms"
    header = ("way", "changes", "first refuses", "all refuse: median", "p99", "max")
    return report(
        "revocation",
        tables=[table(title, header, [one.row() for one in (*found, every)])],
        goals=[Goal("p99 until every data plane refuses", f"{tail:.0f} ms", "<= 500 ms", tail <= 500)],
        data={"routes": size.routes, "consumers": size.consumers, "results": [one.__dict__ for one in found]},
    )


def measure(size: worlds.Size, changes: int) -> list[Taken]:
    """Start everything, take the access of so many consumers away, stop everything."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidegate-bench-")))
        cluster = stack.enter_context(start_cluster(folder, ROOT))
        cluster.create(size)
        planes = [start_data_plane(cluster.server, directory=folder, name=f"dataplane-{n}") for n in range(PLANES)]
        for plane in planes:
            stack.callback(plane.process.stop)
        urls = [plane.admin_url for plane in planes]
        operator = start_operator(cluster.server, data_plane_urls=urls, directory=folder)
        stack.callback(operator.stop)
        for plane in planes:
            plane.wait_ready(deadline=120.0)
        _wait_until_quiet(cluster, size)
        pool = stack.enter_context(ThreadPoolExecutor(PLANES))
        return _changes(cluster, planes, pool, folder=folder, size=size, changes=changes)


def _wait_until_quiet(cluster: Cluster, size: worlds.Size) -> None:
    """Wait until the operator has written its first statuses; to list them all again and again would slow it down."""
    chance = random.Random(11)
    numbers = chance.sample(range(size.consumers), min(size.consumers, _SAMPLE))
    for number in numbers:
        path = worlds.object_path(worlds.consumer(number, _namespace(number, size)))
        wait_until(partial(_has_status, cluster, path), what=f"a status of {path}", deadline=_STATUS_DEADLINE)


def _has_status(cluster: Cluster, path: str) -> bool:
    conditions = cluster.server.admin.get(path).get("status", {}).get("conditions", [])
    return any(item["type"] == "Programmed" and item["status"] == "True" for item in conditions)


def _changes(
    cluster: Cluster,
    planes: list[DataPlane],
    pool: ThreadPoolExecutor,
    *,
    folder: Path,
    size: worlds.Size,
    changes: int,
) -> list[Taken]:
    chance = random.Random(7)
    first: dict[str, list[float]] = {way: [] for way in WAYS}
    every: dict[str, list[float]] = {way: [] for way in WAYS}
    for number, consumer in enumerate(chance.sample(range(size.consumers), changes)):
        way = list(WAYS)[number % len(WAYS)]
        calls = [_call(folder, plane, consumer, size) for plane in planes]
        with ExitStack() as stack:
            callers = [stack.enter_context(KeepAlive(call)) for call in calls]
            time.sleep(chance.uniform(*_PAUSE))
            for caller in callers:
                _answers(caller, (OPEN,))
            began = time.monotonic()
            watching = [pool.submit(_answers, caller, REFUSED) for caller in callers]
            WAYS[way](cluster, worlds.consumer(consumer, _namespace(consumer, size)))
            seconds = [watch.result() - began for watch in watching]
        first[way].append(min(seconds))
        every[way].append(max(seconds))
        print(f"  {number + 1}/{changes} {way}: {max(seconds) * 1000:.0f} ms", file=sys.stderr)
    return [Taken(way, tuple(first[way]), tuple(every[way])) for way in WAYS]


def _answers(caller: KeepAlive, wanted: tuple[int, ...]) -> float:
    """Ask about once a millisecond until the answer is one of `wanted`; returns the time of that answer."""
    give_up = time.monotonic() + _DEADLINE
    while True:
        status = caller.ask()
        now = time.monotonic()
        if status in wanted:
            return now
        if now > give_up:
            raise DeadlineExceeded(f"a data plane still answers {status}, not {wanted}, after {_DEADLINE:g} s")
        time.sleep(_POLL)


def _edit(change: Callable[[dict[str, Any]], object]) -> Change:
    def apply(cluster: Cluster, manifest: worlds.Manifest) -> None:
        edited = copy.deepcopy(manifest)
        change(edited["spec"])
        cluster.apply(edited)

    return apply


def _remove(cluster: Cluster, manifest: worlds.Manifest) -> None:
    # An apply removes only what an apply has put there, and the world was created.
    cluster.server.admin.patch(worlds.object_path(manifest), {"spec": {"credentials": {"apiKeys": []}}})


def _delete(cluster: Cluster, manifest: worlds.Manifest) -> None:
    cluster.server.admin.delete(worlds.object_path(manifest))


WAYS: dict[str, Change] = {
    "revoked": _edit(lambda spec: spec["credentials"]["apiKeys"][0].update(revoked=True)),
    "removed": _remove,
    "suspended": _edit(lambda spec: spec.update(suspended=True)),
    "deleted": _delete,
}


def _namespace(consumer: int, size: worlds.Size) -> str:
    return worlds.namespace_of(consumer % size.namespaces * worlds.ROUTES_PER_NAMESPACE)


def _call(folder: Path, plane: DataPlane, consumer: int, size: worlds.Size) -> Call:
    model = worlds.model_of(consumer % size.namespaces * worlds.ROUTES_PER_NAMESPACE)
    body = folder / f"{model}.json"
    body.write_bytes(worlds.chat_body(model))
    return Call(plane.url + worlds.PATH, body, json_headers(worlds.api_key(consumer)))


if __name__ == "__main__":
    sys.exit(main())
