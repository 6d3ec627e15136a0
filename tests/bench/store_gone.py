"""What a request waits for when the shared store goes away: connections refused, a black hole, 500 ms of latency.

A quota of accuracy Exact, so that every request asks the store. For each failure mode and each fault there are several
breaker periods: the store is well, goes, and comes back. In each period the slowest request right after the fault is
the one that finds out; all others count as "after". What they waited beyond the median of healthy requests is reported.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import worlds
from bench.call import expect_answer
from bench.cores import GATEWAY_CORE, LOAD_CORE
from bench.figures import Goal, median, percentile, report, table
from bench.gateway import json_headers
from bench.keepalive import KeepAlive
from bench.nginx import start_upstream
from bench.programs import require_programs, require_two_cores
from bench.wrk import Call
from ledger_chaos import world
from ledger_chaos.fleet import Fleet
from ledger_chaos.view import until_built
from redis_parts.redis_server import RedisServer
from redis_parts.toxiproxy import Proxy, Toxiproxy

MODES = ("Closed", "Open", "Local")
_EXPECTED = {"Closed": 503, "Open": 200, "Local": 200}
_LOAD = ("taskset", "-c", str(LOAD_CORE))
_PERIOD_SECONDS = 1.5
_RECOVERY_SECONDS = 10.0
_WELL_SECONDS = 0.5
_FIRST_WITHIN = 0.25
_PAUSE = 0.001
_AMOUNT = 1_000_000_000

Fault = Callable[[Proxy], Awaitable[None]]


async def _refuse(proxy: Proxy) -> None:
    await proxy.disable()


async def _swallow(proxy: Proxy) -> None:
    await proxy.black_hole()


async def _delay(proxy: Proxy) -> None:
    await proxy.latency(500)


FAULTS: dict[str, Fault] = {"refused": _refuse, "black hole": _swallow, "500 ms latency": _delay}


@dataclass(frozen=True)
class Sample:
    """One request: when it began (perf_counter), milliseconds, status."""

    began: float
    ms: float
    status: int


@dataclass
class Case:
    """A mode and a fault: milliseconds beyond the healthy median, and the statuses after the fault."""

    mode: str
    fault: str
    healthy_median: float = 0.0
    healthy_p99: float = 0.0
    first: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def after_p99(self) -> float:
        """Beyond the p99 of healthy requests, milliseconds."""
        return percentile(self.after, 0.99) + self.healthy_median - self.healthy_p99

    def row(self) -> tuple[str, ...]:
        """A line of the table."""
        return (
            self.mode,
            self.fault,
            str(len(self.first)),
            f"{self.healthy_median:.2f}",
            f"{self.healthy_p99:.2f}",
            f"{median(self.first):.1f}",
            f"{percentile(self.first, 0.99):.1f}",
            str(len(self.after)),
            f"{percentile(self.after, 0.99):.2f}",
            f"{max(self.after, default=0.0):.1f}",
            " ".join(f"{status}:{count}" for status, count in sorted(self.statuses.items())),
        )


class Asker(threading.Thread):
    """Asks one after another until stopped, on a connection of its own."""

    def __init__(self, call: Call) -> None:
        super().__init__(daemon=True)
        self.samples: list[Sample] = []
        self._client = KeepAlive(call)
        self._stop_asked = threading.Event()

    def run(self) -> None:
        while not self._stop_asked.is_set():
            began = time.perf_counter()
            try:
                status = self._client.ask()
            except OSError:
                status = 0
            self.samples.append(Sample(began, (time.perf_counter() - began) * 1000, status))
            time.sleep(_PAUSE)

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()
        self._client.close()

    def since(self, moment: float) -> list[Sample]:
        """Those that ended after that moment."""
        return [sample for sample in list(self.samples) if sample.began + sample.ms / 1000 >= moment]


def main() -> int:
    """Run it; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="bench.store_gone", description=__doc__)
    arguments.add_argument("--periods", type=int, default=10, help="breaker periods of each fault and mode")
    arguments.add_argument("--accuracy", choices=("Exact", "Leased"), default="Exact")
    options = arguments.parse_args()
    require_programs("nginx", "taskset")
    require_two_cores()
    cases = [case for mode in MODES for case in asyncio.run(_mode(mode, options.accuracy, options.periods))]
    header = ("failureMode", "store", "periods", "healthy ms", "p99", "first +ms", "p99", "after", "p99 +ms", "max", "")
    return report(
        "store-gone",
        tables=[table(f"{options.accuracy}: added by a store that is away", header, [case.row() for case in cases])],
        goals=judge(cases, options.accuracy),
        data={"cases": [_data(case) for case in cases]},
    )


async def _mode(mode: str, accuracy: str, periods: int) -> list[Case]:
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name, start_upstream(Path(name)) as upstream:
        async with RedisServer(durable=False, prefix=_LOAD) as redis, Toxiproxy(prefix=_LOAD) as toxiproxy:
            proxy = await toxiproxy.proxy("redis", redis.address)
            manifests = world.manifests(
                f"{upstream.url}/v1", accuracy=accuracy, failure_mode=mode, tokens=_AMOUNT, dollars=_AMOUNT
            )
            pinned = ("taskset", "-c", str(GATEWAY_CORE))
            async with Fleet(manifests, count=1, store=f"redis://{proxy.address}/0", prefix=pinned) as fleet:
                body = Path(name) / "body.json"
                body.write_bytes(worlds.chat_body(world.MODEL))
                url = f"http://127.0.0.1:{fleet.ports[0]}{worlds.PATH}"
                call = Call(url, body, json_headers(world.KEY))
                await until_built(redis)
                expect_answer(call)
                return [await _case(mode, fault, proxy, call, periods) for fault in FAULTS]


async def _case(mode: str, fault: str, proxy: Proxy, call: Call, periods: int) -> Case:
    print(f"  {mode}, {fault}", file=sys.stderr, flush=True)
    case, healthy = Case(mode, fault), list[float]()
    spans: list[list[Sample]] = []
    asker = Asker(call)
    asker.start()
    try:
        for _ in range(periods):
            await _until_well(asker, mode)
            well = time.perf_counter()
            await asyncio.sleep(_WELL_SECONDS)
            healthy += [sample.ms for sample in asker.since(well)]
            gone = time.perf_counter()
            await FAULTS[fault](proxy)
            await asyncio.sleep(_PERIOD_SECONDS)
            spans.append(asker.since(gone))
            await proxy.heal()
    finally:
        asker.stop()
        await proxy.heal()
    case.healthy_median, case.healthy_p99 = median(healthy), percentile(healthy, 0.99)
    for span in spans:
        _judge_span(case, span)
    return case


def _judge_span(case: Case, span: list[Sample]) -> None:
    early = [sample for sample in span if sample.began <= span[0].began + _FIRST_WITHIN]
    first = max(early, key=lambda sample: sample.ms)
    case.first.append(first.ms - case.healthy_median)
    later = [sample for sample in span if sample is not first and sample.began > first.began]
    case.after += [sample.ms - case.healthy_median for sample in later]
    case.statuses.update(sample.status for sample in (first, *later))


async def _until_well(asker: Asker, mode: str) -> None:
    """The breaker is half open at the latest after two seconds; of Closed the answers tell when it has closed."""
    deadline = time.perf_counter() + _RECOVERY_SECONDS
    await asyncio.sleep(0.2 if mode == "Closed" else 3.0)
    while any(sample.status != 200 for sample in asker.since(time.perf_counter() - 0.1)):
        if time.perf_counter() > deadline:
            raise RuntimeError(f"requests fail {_RECOVERY_SECONDS:g} s after the store came back")
        await asyncio.sleep(0.1)


def judge(cases: list[Case], accuracy: str) -> list[Goal]:
    """The promises."""
    goals = []
    for fault in FAULTS:
        of_fault = [case for case in cases if case.fault == fault]
        first = max(percentile(case.first, 0.99) for case in of_fault)
        goals.append(Goal(f"{fault}: first of a period, p99", f"+{first:.1f} ms", "<= 60 ms", first <= 60))
        after = max(case.after_p99 for case in of_fault)
        # One millisecond is what two runs of the same differ by at the 99th percentile on shared cores.
        goals.append(Goal(f"{fault}: others, p99 beyond healthy p99", f"{after:+.2f} ms", "<= 1 ms", after <= 1))
    for case in cases if accuracy == "Exact" else ():
        wanted, others = _EXPECTED[case.mode], sum(case.statuses.values()) - case.statuses[_EXPECTED[case.mode]]
        share = 1 - others / max(sum(case.statuses.values()), 1)
        goals.append(Goal(f"{case.mode}, {case.fault}: answers {wanted}", f"{share:.4f}", ">= 0.99", share >= 0.99))
    return goals


def _data(case: Case) -> dict[str, Any]:
    return {
        "mode": case.mode,
        "fault": case.fault,
        "healthyMedianMs": case.healthy_median,
        "healthyP99Ms": case.healthy_p99,
        "firstMs": case.first,
        "afterP99Ms": percentile(case.after, 0.99),
        "afterMaxMs": max(case.after, default=0.0),
        "statuses": {str(status): count for status, count in case.statuses.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
