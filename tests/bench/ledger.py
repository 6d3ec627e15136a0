"""Throughput on one core with quotas that are counted in memory, in slices from the store, and in the store.

The same world thrice: a quota of requests and one of tokens for each consumer and month, whose accuracy differs. The
data plane has a core of its own; Redis shares the other one with the upstream and the load. Every round has processes
of its own: one may be a quarter slower than the next with the same code, by where its memory happens to lie. Within a
round they take short turns, and what counts is the median of what one had beside Local in the same turns: the machine's
speed may change by as much within seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import worlds
from bench.call import expect_answer
from bench.cores import LOAD_CORE
from bench.figures import Goal, median, report, table
from bench.gateway import make_snapshot, start_gateway
from bench.nginx import start_upstream
from bench.programs import require_programs, require_two_cores
from bench.rounds import HEADER, Contender, Series, interleave
from bench.throughput import CONNECTIONS, SMALL
from ledger_chaos.view import until_built
from redis_parts.redis_server import RedisServer
from tidegate_dataplane.snapshot.bundle import encode_bundle

ACCURACIES = ("Local", "Leased", "Exact")
_BOUNDS = {"Leased": 0.9, "Exact": 0.6}
_TURNS = 5
_PERSISTENT = ("--appendonly", "yes", "--appendfsync", "everysec")


def main() -> int:
    """Run it; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="bench.ledger", description=__doc__)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--seconds", type=float, default=1, help="seconds of one turn (whole ones)")
    options = arguments.parse_args()
    require_programs("wrk", "nginx", "taskset")
    require_two_cores()
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        series = measure(Path(name), rounds=options.rounds, seconds=options.seconds)
    return report(
        "ledger",
        tables=[
            table(
                f"one core, quotas by accuracy, medians of {options.rounds} rounds",
                HEADER,
                [item.row() for item in series],
            )
        ],
        goals=judge(series),
        data={"series": [item.data() for item in series]},
    )


def measure(folder: Path, *, rounds: int, seconds: float) -> list[Series]:
    """One series for each accuracy."""
    with start_upstream(folder) as upstream:
        size = worlds.Size(*SMALL, endpoint=f"{upstream.url}/v1")
        for accuracy in ACCURACIES:
            snapshot = make_snapshot(with_accuracy(worlds.manifests(size), accuracy))
            (folder / f"{accuracy}.json").write_bytes(encode_bundle(snapshot.bundle(1)))
        taken = [_measure_once(folder, number, seconds) for number in range(rounds)]
    return [
        Series(parts[0].name, parts[0].connections, tuple(one for part in parts for one in part.rounds))
        for parts in zip(*taken, strict=True)
    ]


def _measure_once(folder: Path, number: int, seconds: float) -> list[Series]:
    """All run side by side on the gateway's core; the others idle while one is measured."""
    redis = RedisServer(durable=False, more=_PERSISTENT, prefix=("taskset", "-c", str(LOAD_CORE)))
    with ExitStack() as stack:
        stack.callback(lambda: asyncio.run(redis.close()))
        asyncio.run(redis.start())
        contenders = []
        for accuracy in ACCURACIES:
            name = f"{accuracy}-{number}"
            more = () if accuracy == "Local" else ("--store", redis.url, "--journal", folder / f"journal-{name}")
            gateway = stack.enter_context(start_gateway(folder, folder / f"{accuracy}.json", name=name, more=more))
            contenders.append(Contender(accuracy, gateway.call(folder), gateway.process.pid))
        asyncio.run(until_built(redis))
        for contender in contenders:
            expect_answer(contender.call)
        return interleave(contenders, connections=CONNECTIONS, rounds=_TURNS, seconds=seconds)


def with_accuracy(manifests: Iterable[worlds.Manifest], accuracy: str) -> list[worlds.Manifest]:
    """The world with that accuracy in each of its quotas, and amounts that every accuracy can count."""
    found = []
    for manifest in manifests:
        if manifest["kind"] == "Quota":
            manifest = {**manifest, "spec": {**manifest["spec"], "accuracy": accuracy}}
        found.append(manifest)
    return found


def beside(item: Series, local: Series) -> float:
    """The median over the turns of how many answers one had for each of the other's."""
    pairs = zip(item.rounds, local.rounds, strict=True)
    return median([one.load.rate / other.load.rate if other.load.rate else 0.0 for one, other in pairs])


def judge(series: Sequence[Series]) -> list[Goal]:
    """The promises, of (Local, Leased, Exact)."""
    local, *others = series
    errors = sum(item.errors for item in series)
    return [
        *(
            Goal(
                f"{item.name} beside Local",
                f"{(share := beside(item, local)):.3f}",
                f">= {_BOUNDS[item.name]}",
                share >= _BOUNDS[item.name],
            )
            for item in others
        ),
        Goal("errors", str(errors), "0", errors == 0),
    ]


if __name__ == "__main__":
    sys.exit(main())
