"""One consumer at fifty times the rate of ten others, and more than can be served: what do the others lose?

Twice: where the gateway itself is the bottleneck (one core, Mock backend, so that nothing on the other core is), and
where a backend is, which takes a fixed number of calls at once. The others ask at a constant rate (an open loop), the
flood as fast as it is let, over fifty times the connections. An answer counts as good within the SLO of its planned
time; on a machine with other work, that also counts what the other work took.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from bench import worlds
from bench.call import expect_answer
from bench.cores import LOAD_CORE, pinned
from bench.figures import Goal, median, percentile, report, table
from bench.gateway import Gateway, json_headers, make_snapshot, start_gateway
from bench.keepalive import request_bytes
from bench.open_loop import OpenLoop
from bench.programs import require_programs, require_two_cores
from bench.wrk import Call, Load, run_wrk
from tidegate_dataplane.snapshot.bundle import encode_bundle

OTHERS = 10
TIMES = 50
CONNECTIONS_EACH = 8
WARM_UP = 1.0
FIXED = 20
FIXED_LATENCY_MS = 50


@dataclass(frozen=True)
class Scenario:
    """`rate` is that of each other consumer; the flood has TIMES as many connections, which is more than fits."""

    name: str
    rate: int
    slo_ms: float
    flags: tuple[str, ...] = ()
    fixed: bool = False


SCENARIOS = (
    Scenario("process", rate=60, slo_ms=100),
    Scenario("process, no turns", rate=60, slo_ms=100, flags=("--calls-per-turn", "1000000")),
    Scenario("backend of 20", rate=6, slo_ms=500, fixed=True),
)


@dataclass(frozen=True)
class Others:
    """What the others got: answers and good ones a second, latencies of all answers in ms."""

    planned: float
    served: float
    good: float
    p50_ms: float
    p99_ms: float
    worst_ms: float


class _Asked(TypedDict):
    """What the process of the others is told; `slo` in milliseconds, times in seconds."""

    url: str
    body: str
    keys: list[str]
    rate: int
    seconds: float
    slo: float
    delay: float


class _Others(OpenLoop):
    """The requests of several consumers in turn."""

    def __init__(self, calls: Sequence[Call], *, rate: int, seconds: float) -> None:
        super().__init__(calls[0], rate=rate, connections=CONNECTIONS_EACH * len(calls), seconds=seconds)
        self._requests = [request_bytes(call) for call in calls]
        self._number = 0

    def _send(self, due: float) -> None:
        self._request = self._requests[self._number % len(self._requests)]
        self._number += 1
        super()._send(due)


def main() -> int:
    """Run it; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="bench.fairness", description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5, help="pairs of measurements, without and with the flood")
    arguments.add_argument("--seconds", type=float, default=5, help="seconds of one measurement")
    arguments.add_argument("--others", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.others:
        return _run_others(json.loads(options.others))
    require_programs("wrk", "taskset")
    require_two_cores()
    rows: list[tuple[str, ...]] = []
    goals: list[Goal] = []
    data: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        for number, scenario in enumerate(SCENARIOS):
            folder = Path(name) / f"scenario-{number}"
            folder.mkdir()
            with _gateway(folder, scenario) as gateway:
                pairs = [_pair(folder, gateway, scenario, options.seconds) for _ in range(options.rounds)]
            loss = median([1 - after.good / before.good for before, after, _ in pairs])
            rows.append(_row(scenario, pairs, loss))
            data[scenario.name] = [
                {"alone": before.__dict__, "flooded": after.__dict__, "flood": flood.__dict__}
                for before, after, flood in pairs
            ]
            if not scenario.flags:
                unserved = median([1 - after.served / before.served for before, after, _ in pairs])
                for what, share in (("answers", unserved), ("good answers", loss)):
                    goals.append(Goal(f"{scenario.name}: others lose {what}", f"{share:.1%}", "<= 5 %", share <= 0.05))
                rate = median([flood.rate for *_, flood in pairs])
                goals.append(Goal(f"{scenario.name}: the flood still gets", f"{rate:,.0f}/s", "> 0", rate > 0))
    title = f"{OTHERS} consumers, one more with {TIMES} x the connections; medians of {options.rounds} rounds"
    header = (
        "bottleneck",
        "others ask/s",
        "good/s alone",
        "good/s flooded",
        "lost",
        "p50 ms",
        "flooded",
        "p99 ms",
        "flooded",
        "flood/s",
    )
    return report("fairness", tables=[table(title, header, rows)], goals=goals, data=data)


def _row(scenario: Scenario, pairs: Sequence[tuple[Others, Others, Load]], loss: float) -> tuple[str, ...]:
    alone, flooded = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return (
        scenario.name,
        f"{scenario.rate * OTHERS:,}",
        f"{median([one.good for one in alone]):,.1f}",
        f"{median([one.good for one in flooded]):,.1f}",
        f"{loss:.1%}",
        f"{median([one.p50_ms for one in alone]):.1f}",
        f"{median([one.p50_ms for one in flooded]):.1f}",
        f"{median([one.p99_ms for one in alone]):.1f}",
        f"{median([one.p99_ms for one in flooded]):.1f}",
        f"{median([pair[2].rate for pair in pairs]):,.0f}",
    )


@contextmanager
def _gateway(folder: Path, scenario: Scenario) -> Iterator[Gateway]:
    manifests = list(worlds.manifests(worlds.Size(1, OTHERS + 1)))
    for manifest in manifests:
        if manifest["kind"] == "AIBackend" and scenario.fixed:
            manifest["spec"]["mock"]["latency"] = f"{FIXED_LATENCY_MS}ms"
            manifest["spec"]["concurrency"] = {"mode": "Fixed", "max": FIXED}
    snapshot = folder / "snapshot.json"
    snapshot.write_bytes(encode_bundle(make_snapshot(manifests).bundle(1)))
    with start_gateway(folder, snapshot, more=scenario.flags) as gateway:
        yield gateway


def _pair(folder: Path, gateway: Gateway, scenario: Scenario, seconds: float) -> tuple[Others, Others, Load]:
    """The others alone, then the same while the flood runs, and what the flood got."""
    flood = gateway.call(folder, consumer=OTHERS)
    expect_answer(flood)
    with _others(folder, gateway, scenario, seconds) as alone:
        pass
    with _others(folder, gateway, scenario, seconds, delay=WARM_UP) as flooded:
        load = run_wrk(flood, connections=TIMES * CONNECTIONS_EACH, seconds=seconds + 2 * WARM_UP)
    return alone[0], flooded[0], load


@contextmanager
def _others(
    folder: Path, gateway: Gateway, scenario: Scenario, seconds: float, delay: float = 0.0
) -> Iterator[list[Others]]:
    """The others, beside whatever runs in the block; the result is there after it."""
    found: list[Others] = []
    asked: _Asked = {
        "url": gateway.url + worlds.PATH,
        "body": str(gateway.call(folder).body),
        "keys": [worlds.api_key(number) for number in range(OTHERS)],
        "rate": scenario.rate * OTHERS,
        "seconds": seconds,
        "slo": scenario.slo_ms,
        "delay": delay,
    }
    command = [sys.executable, "-m", "bench.fairness", "--others", json.dumps(asked)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(pinned(LOAD_CORE, command), stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield found
        output, _ = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    found.append(Others(**json.loads(output)))


def _run_others(asked: _Asked) -> int:
    time.sleep(asked["delay"])
    calls = [Call(asked["url"], Path(asked["body"]), json_headers(key)) for key in asked["keys"]]
    tally = _Others(calls, rate=asked["rate"], seconds=asked["seconds"]).run()
    milliseconds = [latency * 1000 for latency in tally.latencies]
    found = Others(
        planned=tally.planned / asked["seconds"],
        served=len(milliseconds) / asked["seconds"],
        good=sum(one <= asked["slo"] for one in milliseconds) / asked["seconds"],
        p50_ms=percentile(milliseconds, 0.5),
        p99_ms=percentile(milliseconds, 0.99),
        worst_ms=max(milliseconds, default=0.0),
    )
    print(json.dumps(found.__dict__))
    return 0


if __name__ == "__main__":
    sys.exit(main())
