"""Failed requests and latency while a data plane takes a new snapshot every second, beside the same without reloads.

The snapshots come through a mounted directory, as the kubelet would fill it. Two kinds of load: wrk at c=32, which
keeps the core saturated, and an open loop at a constant rate, which counts the time that a request had to wait.
Every snapshot differs in one policy, as after a single edit.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import worlds
from bench.call import expect_answer
from bench.figures import Goal, median, report, table
from bench.gateway import Gateway, make_snapshot, start_gateway
from bench.mounted import MountedDirectory
from bench.nginx import start_upstream
from bench.open_loop import run_open_loop
from bench.programs import require_programs, require_two_cores
from bench.throughput import CONNECTIONS
from bench.wrk import Call, Load, run_wrk
from tidegate_dataplane.snapshot.bundle import Bundle

_PERIOD = 1.0


@dataclass
class Case:
    """One kind of load, with or without reloads; every round adds its Load and the reloads that took place in it."""

    load: str
    reloading: bool
    loads: list[Load] = field(default_factory=list)
    reloads: int = 0

    @property
    def p99_us(self) -> float:
        return median([load.p99_us for load in self.loads])

    @property
    def errors(self) -> int:
        return sum(load.errors for load in self.loads)

    def row(self) -> tuple[str, ...]:
        """A line of the table."""
        return (
            self.load,
            str(self.reloads),
            f"{median([load.rate for load in self.loads]):,.0f}",
            f"{median([load.p50_us for load in self.loads]) / 1000:.2f}",
            f"{self.p99_us / 1000:.2f}",
            f"{max(load.max_us for load in self.loads) / 1000:.1f}",
            str(self.errors),
        )


class Edits:
    """Gives one snapshot after the other: ever higher revisions in which one policy goes to and fro."""

    def __init__(self, size: worlds.Size) -> None:
        edited = size.routes - 1
        self._variants = [
            make_snapshot([*worlds.manifests(size), worlds.freeze(edited, frozen=frozen)]) for frozen in (False, True)
        ]
        self._revision = 0

    def next(self) -> Bundle:
        """The snapshot after the next edit."""
        self._revision += 1
        return self._variants[self._revision % 2].bundle(self._revision)


def main() -> int:
    """Run it; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="bench.reload_under_load", description=__doc__)
    arguments.add_argument("--routes", type=int, default=3_000)
    arguments.add_argument("--rounds", type=int, default=2, help="rounds, each with and without reloads")
    arguments.add_argument("--seconds", type=int, default=10, help="seconds of one measurement")
    arguments.add_argument("--rate", type=int, default=3_000, help="requests a second of the open loop")
    options = arguments.parse_args()
    require_programs("wrk", "nginx", "taskset")
    require_two_cores()
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        cases = measure(
            Path(name),
            routes=options.routes,
            rounds=options.rounds,
            seconds=options.seconds,
            rate=options.rate,
        )
    header = ("load", "reloads", "req/s", "p50 ms", "p99 ms", "max ms", "failed")
    title = f"reload every second at {options.routes:,} routes, medians of {options.rounds} rounds"
    return report(
        "reload",
        tables=[table(title, header, [case.row() for case in cases])],
        goals=judge(cases),
        data={"routes": options.routes, "cases": [_data(case) for case in cases]},
    )


def measure(folder: Path, *, routes: int, rounds: int, seconds: int, rate: int) -> list[Case]:
    """Quiet and reloading spells take turns, for each kind of load."""
    with start_upstream(folder) as upstream:
        size = worlds.Size(routes, max(routes // 10, 1), endpoint=f"{upstream.url}/v1")
        edits, mounted = Edits(size), MountedDirectory(folder / "mounted")
        mounted.swap(edits.next())
        with start_gateway(folder, mounted.path) as gateway:
            call = gateway.call(folder, route=routes // 2, consumer=worlds.consumer_for(routes // 2, size))
            expect_answer(call)
            loads: dict[str, Callable[[], Load]] = {
                f"wrk c={CONNECTIONS}": lambda: run_wrk(call, connections=CONNECTIONS, seconds=seconds),
                f"open loop {rate:,}/s": lambda: _open(call, rate, seconds),
            }
            run_wrk(call, connections=CONNECTIONS, seconds=1)
            cases = [Case(name, reloading) for name in loads for reloading in (False, True)]
            for number in range(rounds):
                for case in cases:
                    print(f"  round {number + 1}/{rounds}: {_label(case)}", file=sys.stderr, flush=True)
                    before = _revision(gateway)
                    with _edited(mounted, edits, seconds if case.reloading else 0):
                        case.loads.append(loads[case.load]())
                    time.sleep(_PERIOD * 2)  # so that the last reload belongs to this spell, not to the next
                    case.reloads += _revision(gateway) - before
    return cases


def judge(cases: Sequence[Case]) -> list[Goal]:
    """The promises on reloading, for each kind of load."""
    failed = sum(case.errors for case in cases if case.reloading)
    goals = [Goal("failed requests while reloading", str(failed), "0", failed == 0)]
    for quiet, reloading in zip(cases[::2], cases[1::2], strict=True):
        ratio = reloading.p99_us / quiet.p99_us if quiet.p99_us else float("nan")
        goals.append(Goal(f"p99 ratio, {quiet.load}", f"{ratio:.2f}", "<= 2", ratio <= 2))
    return goals


@contextmanager
def _edited(mounted: MountedDirectory, edits: Edits, seconds: int) -> Iterator[None]:
    """Swap in a new snapshot every second while the block runs, for that many seconds.

    The files are written before, so that this program does not take the cores from those that are measured.
    """
    prepared = [mounted.prepare(edits.next()) for _ in range(seconds)]
    over = threading.Event()

    def swap() -> None:
        for each in prepared:
            if over.wait(_PERIOD):
                return
            mounted.show(each)

    writer = threading.Thread(target=swap, name="edits")
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()


def _open(call: Call, rate: int, seconds: int) -> Load:
    return run_open_loop(call, rate=rate, connections=CONNECTIONS, seconds=seconds)


def _revision(gateway: Gateway) -> int:
    return int(gateway.status()["revision"])


def _label(case: Case) -> str:
    return f"{case.load}, {'a reload a second' if case.reloading else 'quiet'}"


def _data(case: Case) -> dict[str, Any]:
    return asdict(case)


if __name__ == "__main__":
    sys.exit(main())
