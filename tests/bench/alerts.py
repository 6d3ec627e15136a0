"""A soft threshold at 80 % of a quota that six data planes share: how often its webhook is called, and how soon.

Each consumer has a counter of its own, so each round is another consumer. Requests go through all planes at once, past
the threshold and on to the limit. The delay counts from the answer with which 80 % had certainly been used. Then the
receiver is watched a while longer: a second call, by whichever plane, would be a defect.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from bench import worlds
from bench.burst import Seen, burst
from bench.figures import Goal, median, report, table
from bench.nginx import start_upstream
from bench.programs import require_programs
from ledger_chaos import world
from ledger_chaos.fleet import Fleet
from ledger_chaos.view import until_built
from redis_parts.redis_server import RedisServer

LIMIT = 1_000
PERCENT = 80
_CONNECTIONS = 24
_WATCH_SECONDS = 4.0


@dataclass
class Receiver:
    """A webhook's receiver: `calls` are (seconds since the epoch, body)."""

    calls: list[tuple[float, Any]] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a data plane."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = next(line for line in head.split("\r\n") if line.startswith("content-length:"))
                body = json.loads(await reader.readexactly(int(length.partition(":")[2])))
                self.calls.append((time.time(), body))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@dataclass(frozen=True)
class Round:
    """One consumer: how often the webhook was called for it, seconds from the crossing, and what was admitted."""

    accuracy: str
    calls: int
    delay: float
    admitted: int


def main() -> int:
    """Run it; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="bench.alerts", description=__doc__)
    arguments.add_argument("--rounds", type=int, default=10)
    arguments.add_argument("--planes", type=int, default=6)
    options = arguments.parse_args()
    require_programs("nginx")
    rounds = [
        each
        for accuracy in ("Exact", "Leased")
        for each in uvloop.run(_measure(accuracy, options.planes, options.rounds))
    ]
    rows = [
        (each.accuracy, str(number), str(each.calls), f"{each.delay * 1000:.0f}", str(each.admitted))
        for number, each in enumerate(rounds)
    ]
    calls, delays = {each.calls for each in rounds}, [each.delay for each in rounds]
    return report(
        "alerts",
        tables=[
            table(
                f"alert at {PERCENT} % with {options.planes} data planes",
                ("accuracy", "round", "calls", "delay ms", "admitted"),
                rows,
            )
        ],
        goals=[
            Goal("calls of the webhook, each round", f"{min(calls)} to {max(calls)}", "1", calls == {1}),
            Goal("longest delay", f"{max(delays):.2f} s, median {median(delays):.2f} s", "<= 2 s", max(delays) <= 2),
            Goal("most admitted", str(most := max(each.admitted for each in rounds)), f"<= {LIMIT}", most <= LIMIT),
        ],
        data={"rounds": [each.__dict__ for each in rounds]},
    )


async def _measure(accuracy: str, planes: int, rounds: int) -> list[Round]:
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder, start_upstream(Path(folder)) as upstream:
        body = Path(folder) / "body.json"
        body.write_bytes(worlds.chat_body(world.MODEL))
        redis = RedisServer(durable=False)
        async with _receiving() as receiver, redis:
            manifests = _world(f"{upstream.url}/v1", accuracy, f"http://127.0.0.1:{receiver.port}/alerts", rounds)
            async with Fleet(manifests, count=planes, store=redis.url) as fleet:
                await until_built(redis)
                return [await _round(accuracy, number, fleet, body, receiver) for number in range(rounds)]


async def _round(accuracy: str, number: int, fleet: Fleet, body: Path, receiver: Receiver) -> Round:
    print(f"  {accuracy}, round {number + 1}", file=sys.stderr, flush=True)
    before = len(receiver.calls)
    key = worlds.api_key(number)
    seen = await burst(fleet.ports, body=body, key=key, requests=LIMIT + 100, connections=_CONNECTIONS)
    await asyncio.sleep(_WATCH_SECONDS)
    calls = receiver.calls[before:]
    for _, alert in calls:
        if alert["threshold"] != PERCENT or not alert["scope"].endswith(f"app-{number:05d}"):
            raise RuntimeError(f"not the alert that was expected: {alert}")
    crossed = _crossing(seen)
    delay = calls[0][0] - crossed if calls else float("inf")
    return Round(accuracy, len(calls), delay, sum(item.status == 200 for item in seen))


def _crossing(seen: list[Seen]) -> float:
    """When the answer was there with which the threshold was certainly reached."""
    answered = sorted(item.answered for item in seen if item.status == 200)
    return answered[LIMIT * PERCENT // 100 - 1]


def _world(endpoint: str, accuracy: str, url: str, consumers: int) -> list[worlds.Manifest]:
    quota = {
        "per": "Consumer",
        "accuracy": accuracy,
        "notify": {"url": url},
        "limits": [{"unit": "Requests", "amount": str(LIMIT), "window": {"calendar": "Year"}, "alertAt": [PERCENT]}],
    }
    others = [worlds.consumer(number, world.NAMESPACE) for number in range(1, consumers)]
    return [*world.tenant(endpoint, quotas={"soft": quota}), *others]


@asynccontextmanager
async def _receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


if __name__ == "__main__":
    sys.exit(main())
