"""From the operator's start to its first publish with thousands of objects there, and the memory it takes."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import worlds
from bench.cluster import start_cluster
from bench.cores import cpu_seconds
from bench.figures import ROOT, Goal, report, table
from bench.gateway import fetch, peak_bytes
from cluster.harness.gateway import DataPlane, start_data_plane, start_operator
from cluster.harness.processes import wait_until

_MIB = 1024 * 1024
_PUBLISH_DEADLINE = 120.0
_PROMISED = 5_000
# Objects -> the world that has exactly so many.
WORLDS = {5_000: worlds.Size(3_000, 1_910), 10_000: worlds.Size(6_000, 3_820)}


@dataclass(frozen=True)
class Start:
    """One start. Seconds from the operator's exec; memory in MiB, peaks since each process began; CPU seconds at the
    first publish and when every status was written."""

    objects: int
    created_per_second: float
    published_s: float
    data_plane_ready_s: float
    all_statuses_s: float
    operator_at_publish_mib: float
    operator_peak_mib: float
    data_plane_peak_mib: float
    cpu_at_publish_s: float
    cpu_s: float

    def row(self) -> tuple[str, ...]:
        """A line of the table."""
        return (
            f"{self.objects:,}",
            f"{self.published_s:.2f}",
            f"{self.data_plane_ready_s:.2f}",
            f"{self.all_statuses_s:.1f}",
            f"{self.operator_at_publish_mib:.0f}",
            f"{self.operator_peak_mib:.0f}",
            f"{self.data_plane_peak_mib:.0f}",
            f"{self.cpu_at_publish_s:.1f}",
            f"{self.cpu_s:.1f}",
        )


def main() -> int:
    """Run it; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="bench.operator_start", description=__doc__)
    arguments.add_argument("--objects", type=int, nargs="+", choices=sorted(WORLDS), default=sorted(WORLDS))
    options = arguments.parse_args()
    starts = [measure(WORLDS[objects]) for objects in options.objects]
    header: tuple[str, ...] = ("objects", "published s", "data plane ready s", "all statuses s")
    header += ("at publish", "peak", "data plane peak", "CPU s at publish", "CPU s")
    return report(
        "operator_start",
        tables=[table("operator start, memory in MiB", header, [start.row() for start in starts])],
        goals=judge(starts),
        data={"starts": [asdict(start) for start in starts]},
    )


def measure(size: worlds.Size) -> Start:
    """Create the world in a fresh API server, let a data plane wait, and start the operator."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidegate-bench-")))
        cluster = stack.enter_context(start_cluster(folder, ROOT))
        created = cluster.create(size)
        plane = start_data_plane(cluster.server, directory=folder)
        stack.callback(plane.process.stop)
        began = time.monotonic()
        operator = start_operator(cluster.server, data_plane_urls=[plane.admin_url], directory=folder)
        stack.callback(operator.stop)
        wait_until(
            lambda: cluster.index() is not None, what="the first publish", deadline=_PUBLISH_DEADLINE, process=operator
        )
        published, at_publish = time.monotonic() - began, operator.resident_bytes
        cpu_at_publish = cpu_seconds(operator.pid)
        plane.wait_ready(deadline=60.0)
        ready = time.monotonic() - began
        _check_complete(plane, size)
        print(f"  published after {published:.2f} s, waiting for the statuses", file=sys.stderr, flush=True)
        cluster.wait_for_statuses(size)
        return Start(
            objects=size.objects,
            created_per_second=created.per_second,
            published_s=published,
            data_plane_ready_s=ready,
            all_statuses_s=time.monotonic() - began,
            operator_at_publish_mib=at_publish / _MIB,
            operator_peak_mib=peak_bytes(operator.pid) / _MIB,
            data_plane_peak_mib=peak_bytes(plane.process.pid) / _MIB,
            cpu_at_publish_s=cpu_at_publish,
            cpu_s=cpu_seconds(operator.pid),
        )


def _check_complete(plane: DataPlane, size: worlds.Size) -> None:
    """The first publish must hold the whole world, or its time says nothing."""
    counts = json.loads(fetch(plane.admin_url, "/-/status"))["counts"]
    if (counts["routes"], counts["consumers"]) != (size.routes, size.consumers):
        raise RuntimeError(f"the first publish is not complete: {counts}, declared are {size}")


def judge(starts: Sequence[Start]) -> list[Goal]:
    """The promises on the operator's start; they are made for 5,000 objects, larger worlds are only reported."""
    return [goal for start in starts if start.objects == _PROMISED for goal in _goals(start)]


def _goals(start: Start) -> list[Goal]:
    seconds, memory = start.published_s, start.operator_peak_mib
    return [
        Goal(f"start to published, {start.objects:,} objects", f"{seconds:.2f} s", "<= 10 s", seconds <= 10),
        Goal(f"operator's peak memory, {start.objects:,} objects", f"{memory:.0f} MiB", "<= 400 MiB", memory <= 400),
    ]


if __name__ == "__main__":
    sys.exit(main())
