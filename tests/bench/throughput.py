"""Throughput and latency of one data plane on one core with the whole catalogue on, against nginx as a plain proxy.

Interleaved rounds at c=32 and at c=1. At c=1 the figure of interest is the latency that Tidegate adds over nginx; wrk
measures it because its loop is C with a clock of microseconds, while a client in Python would add a jitter as large
as the difference. What wrk and the upstream themselves cost is the same for both and cancels in the subtraction.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import worlds
from bench.call import expect_answer
from bench.figures import Goal, report, table
from bench.gateway import start_gateway, write_snapshot
from bench.nginx import start_proxy, start_upstream
from bench.programs import require_programs, require_two_cores
from bench.rounds import HEADER, Contender, Series, interleave
from bench.wrk import Call

CONNECTIONS = 32
SMALL = (10, 10)


def main() -> int:
    """Run it; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="bench.throughput", description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5, help="rounds for each number of connections")
    arguments.add_argument("--seconds", type=float, default=4, help="seconds of one measurement (whole ones)")
    options = arguments.parse_args()
    require_programs("wrk", "nginx", "taskset")
    require_two_cores()
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        series = measure(Path(name), rounds=options.rounds, seconds=options.seconds)
    busy, alone = series[:2], series[2:]
    return report(
        "throughput",
        tables=[
            table(
                f"one core, full policy, {worlds.BODY_BYTES}-byte chat bodies, medians of {options.rounds} rounds",
                HEADER,
                [item.row() for item in (*busy, *alone)],
            )
        ],
        goals=judge(busy, alone),
        data={"series": [item.data() for item in series]},
    )


def measure(folder: Path, *, rounds: int, seconds: float) -> list[Series]:
    """Tidegate and nginx at c=32, then both at c=1."""
    with start_upstream(folder) as upstream, start_proxy(folder, upstream_port=upstream.port) as proxy:
        snapshot = folder / "snapshot.json"
        write_snapshot(snapshot, worlds.Size(*SMALL, endpoint=f"{upstream.url}/v1"))
        with start_gateway(folder, snapshot) as gateway:
            call = gateway.call(folder)
            contenders = [
                Contender("tidegate", call, gateway.process.pid),
                Contender("nginx", Call(proxy.url + worlds.PATH, call.body, call.headers), proxy.process.pid),
            ]
            for contender in contenders:
                expect_answer(contender.call)
            busy = interleave(contenders, connections=CONNECTIONS, rounds=rounds, seconds=seconds)
            alone = interleave(contenders, connections=1, rounds=rounds, seconds=max(seconds / 2, 1))
    return [*busy, *alone]


def judge(busy: Sequence[Series], alone: Sequence[Series]) -> list[Goal]:
    """The promises on throughput and latency, of (tidegate, nginx) at c=32 and at c=1."""
    tidegate, nginx = busy
    ratio = tidegate.rate / nginx.rate if nginx.rate else 0.0
    added = (alone[0].p50_us - alone[1].p50_us) / 1000
    errors = tidegate.errors + alone[0].errors
    return [
        Goal("req/s at c=32", f"{tidegate.rate:,.0f}", ">= 12,000", tidegate.rate >= 12_000),
        Goal("share of nginx in the same run", f"{ratio:.3f}", ">= 0.12", ratio >= 0.12),
        Goal("p99 at c=32", f"{tidegate.p99_us / 1000:.2f} ms", "<= 6 ms", tidegate.p99_us <= 6_000),
        Goal("median added over nginx at c=1", f"{added:.3f} ms", "<= 0.2 ms", added <= 0.2),
        Goal("errors", str(errors), "0", errors == 0),
    ]


if __name__ == "__main__":
    sys.exit(main())
