"""A burst of 10,000 requests over the edges of windows, through several data planes: how many any window let in.

What is counted is what the callers can prove. A request certainly took place between the moment it was sent and the
moment its answer was there. So those that were sent at or after the beginning of a stretch of time and answered before
its end lie in it, whatever the data planes think. For a calendar window that is the window itself; of sliding windows
and rates every stretch is looked at that begins where some request was sent.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench import worlds
from bench.burst import Seen, burst
from bench.figures import Goal, report, table
from bench.nginx import start_upstream
from bench.programs import require_programs
from ledger_chaos import world
from ledger_chaos.fleet import Fleet
from ledger_chaos.view import until_built
from redis_parts.redis_server import RedisServer

REQUESTS = 10_000
LIMIT = 500
BURST = 100
RATE = 200
_SLIDING_SECONDS = 2
_CONNECTIONS = 24


@dataclass(frozen=True)
class Shape:
    """A limit under test: its name, quotas and rate limits, and the seconds of a calendar window (0: none)."""

    name: str
    quotas: Mapping[str, worlds.Manifest] = field(default_factory=dict)
    rate_limits: Sequence[worlds.Manifest] = ()
    calendar_seconds: int = 0
    sliding_seconds: int = 0


@dataclass(frozen=True)
class Outcome:
    """`worst` is the largest share of what a stretch may let in that one let in; `edges` is how many were crossed."""

    name: str
    requests: int
    admitted: int
    edges: int
    seconds: float
    worst: float
    statuses: Mapping[int, int]

    def row(self) -> tuple[str, ...]:
        """A line of the table."""
        said = " ".join(f"{status}:{count}" for status, count in sorted(self.statuses.items()))
        return (
            *(self.name, str(self.requests), f"{self.seconds:.1f}", str(self.edges), str(self.admitted)),
            *(f"{self.worst:.3f}", said),
        )


def shapes(accuracy: str) -> list[Shape]:
    """What is tried: a second, a minute, a sliding window, a rate with burst."""

    def quota(amount: int, window: worlds.Manifest) -> dict[str, worlds.Manifest]:
        limits = [{"unit": "Requests", "amount": str(amount), "window": window}]
        return {"edge": {"per": "Namespace", "accuracy": accuracy, "limits": limits}}

    rate = {"name": "edge", "per": "Namespace", "requests": RATE, "period": "1s", "burst": BURST, "accuracy": accuracy}
    return [
        Shape("calendar second", quota(LIMIT, {"calendar": "Second"}), calendar_seconds=1),
        Shape("calendar minute", quota(LIMIT, {"calendar": "Minute"}), calendar_seconds=60),
        Shape("sliding 2 s", quota(LIMIT, {"sliding": f"{_SLIDING_SECONDS}s"}), sliding_seconds=_SLIDING_SECONDS),
        Shape(f"rate {RATE}/s, burst {BURST}", rate_limits=[rate]),
    ]


def main() -> int:
    """Run it; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="bench.window_edge", description=__doc__)
    arguments.add_argument("--requests", type=int, default=REQUESTS)
    arguments.add_argument("--planes", type=int, default=3)
    options = arguments.parse_args()
    require_programs("nginx")
    outcomes = [
        uvloop.run(_measure(f"{accuracy}, {shape.name}", shape, options.planes, options.requests))
        for accuracy in ("Exact", "Leased")
        for shape in shapes(accuracy)
    ]
    header = ("limit", "requests", "s", "edges", "admitted", "worst stretch", "statuses")
    worst = max(outcome.worst for outcome in outcomes)
    least = min(outcome.admitted for outcome in outcomes)
    return report(
        "window-edge",
        tables=[
            table(
                f"{options.requests:,} requests over {options.planes} data planes", header, [o.row() for o in outcomes]
            )
        ],
        goals=[
            Goal("most that a window let in, of limit (and burst)", f"{worst:.3f}", "<= 1", worst <= 1),
            Goal("least let in by any limit", str(least), f">= {LIMIT // 2}", least >= LIMIT // 2),
        ],
        data={"outcomes": [{**o.__dict__, "statuses": dict(o.statuses)} for o in outcomes]},
    )


async def _measure(name: str, shape: Shape, planes: int, requests: int) -> Outcome:
    print(f"  {name}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder, start_upstream(Path(folder)) as upstream:
        manifests = world.tenant(f"{upstream.url}/v1", quotas=shape.quotas, rate_limits=shape.rate_limits)
        body = Path(folder) / "body.json"
        body.write_bytes(worlds.chat_body(world.MODEL))
        redis = RedisServer(durable=False)
        async with redis, Fleet(manifests, count=planes, store=redis.url) as fleet:
            await until_built(redis)
            await _wait_for_edge(shape)
            began = time.time()
            seen = await burst(fleet.ports, body=body, key=world.KEY, requests=requests, connections=_CONNECTIONS)
            return _judge(name, shape, began, seen)


async def _wait_for_edge(shape: Shape) -> None:
    """Until a second and a half before the next minute; other windows have edges all the time."""
    if shape.calendar_seconds == 60:
        await asyncio.sleep((58.5 - time.time() % 60) % 60)


def _judge(name: str, shape: Shape, began: float, seen: list[Seen]) -> Outcome:
    let_in = sorted((item for item in seen if item.status == 200), key=lambda item: item.sent)
    seconds = max(item.answered for item in seen) - began
    if shape.calendar_seconds:
        worst = _worst_calendar(let_in, shape.calendar_seconds)
        edges = int((began + seconds) // shape.calendar_seconds) - int(began // shape.calendar_seconds)
    else:
        worst, edges = _worst_stretch(let_in, shape.sliding_seconds), len(let_in)
    statuses = Counter(item.status for item in seen)
    return Outcome(name, len(seen), len(let_in), edges, seconds, worst, statuses)


def _worst_calendar(let_in: Sequence[Seen], seconds: int) -> float:
    inside = Counter(int(item.sent // seconds) for item in let_in if item.sent // seconds == item.answered // seconds)
    return max(inside.values(), default=0) / LIMIT


def _worst_stretch(let_in: Sequence[Seen], sliding: int) -> float:
    """Every stretch that begins where a request was sent: of the sliding length, or (a rate) of any."""
    worst = 0.0
    for at, first in enumerate(let_in):
        ends = sorted(item.answered for item in let_in[at:])
        if sliding:
            worst = max(worst, bisect_left(ends, first.sent + sliding) / LIMIT)
        else:
            shares = (count / (BURST + RATE * (end - first.sent)) for count, end in enumerate(ends, 1))
            worst = max(worst, *shares)
    return worst


if __name__ == "__main__":
    sys.exit(main())
