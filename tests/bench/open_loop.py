"""Load at a constant rate, whatever the answers do (an open loop), which a program runs as its own process.

A closed loop such as wrk's asks less while the server stalls and so hides the stall. Here every request has a planned
time, and its latency counts from then: a request that waited for a free connection has waited.
`python -m bench.open_loop URL --body FILE --rate 2000 --seconds 10` prints one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from bench.cores import LOAD_CORE, pinned
from bench.figures import percentile
from bench.keepalive import answer_length, answer_status, request_bytes
from bench.wrk import Call, Load

# Requests that fall due within one tick are sent together. Seconds.
_TICK = 0.001
_DRAIN = 10.0


@dataclass(frozen=True)
class Tally:
    """What was planned, what failed, and each answer's latency in seconds."""

    planned: int
    errors: int
    latencies: list[float]


def run_open_loop(call: Call, *, rate: int, connections: int, seconds: float) -> Load:
    """Post `call` at `rate` a second from a process on the load core; raises CalledProcessError."""
    command = [sys.executable, "-m", "bench.open_loop", call.url, "--body", call.body, "--rate", str(rate)]
    command += ["--connections", str(connections), "--seconds", str(seconds)]
    environment = {
        **os.environ,
        "BENCH_HEADERS": json.dumps(dict(call.headers)),
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
    }
    ended = subprocess.run(pinned(LOAD_CORE, command), check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return Load(**json.loads(ended.stdout))


class Caller(asyncio.Protocol):
    """One keep-alive connection with at most one request on it."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._data = bytearray()
        self._due = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._driver.free(self)

    def send(self, request: bytes, due: float) -> None:
        """Post `request`, which was planned for the loop time `due`."""
        assert self._transport is not None
        self._due = due
        self._data.clear()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        length = answer_length(self._data)
        if length is None or len(self._data) < length:
            return
        self._driver.answered(self, self._due, answer_status(self._data))
        self._due = 0.0

    def connection_lost(self, exc: Exception | None) -> None:
        self._driver.lost(in_flight=self._due > 0)


class Driver:
    """Sends what is due on whatever connection is free."""

    def __init__(self, call: Call, *, rate: int, seconds: float) -> None:
        self._call = call
        self._request = request_bytes(call)
        self._rate, self._planned = rate, round(rate * seconds)
        self._free: deque[Caller] = deque()
        self._waiting: deque[float] = deque()
        self._latencies: list[float] = []
        self._errors = 0
        self._all_answered = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def run(self, connections: int) -> Tally:
        """Open the connections, send everything on time, and wait for the last answers."""
        for _ in range(connections):
            await self._connect()
        began = self._loop.time()
        sent = 0
        while sent < self._planned:
            now = self._loop.time()
            while sent < self._planned and (due := began + sent / self._rate) <= now:
                self._waiting.append(due)
                sent += 1
            self._flush()
            await asyncio.sleep(_TICK)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._all_answered.wait(), _DRAIN)
        unanswered = self._planned - len(self._latencies) - self._errors
        return Tally(self._planned, self._errors + unanswered, self._latencies)

    def free(self, caller: Caller) -> None:
        """The connection has nothing on it."""
        self._free.append(caller)
        self._flush()

    def answered(self, caller: Caller, due: float, status: int) -> None:
        """An answer is complete."""
        if status == 200:
            self._latencies.append(self._loop.time() - due)
        else:
            self._errors += 1
        if len(self._latencies) + self._errors >= self._planned:
            self._all_answered.set()
        self.free(caller)

    def lost(self, *, in_flight: bool) -> None:
        """The server closed a connection; with a request on it, that request failed."""
        self._errors += in_flight

    def _flush(self) -> None:
        while self._waiting and self._free:
            self._free.popleft().send(self._request, self._waiting.popleft())

    async def _connect(self) -> None:
        parts = urlsplit(self._call.url)
        await self._loop.create_connection(lambda: Caller(self), parts.hostname or "127.0.0.1", parts.port or 80)


def load_of(tally: Tally, seconds: float) -> dict[str, float | int]:
    """The tally as the fields of a Load."""
    micro = [latency * 1e6 for latency in tally.latencies] or [0.0]
    return {
        "requests": len(tally.latencies) + tally.errors,
        "seconds": seconds,
        "errors": tally.errors,
        "p50_us": round(percentile(micro, 0.50)),
        "p90_us": round(percentile(micro, 0.90)),
        "p99_us": round(percentile(micro, 0.99)),
        "max_us": round(max(micro)),
    }


def main() -> int:
    """Run one load and print it."""
    arguments = argparse.ArgumentParser(prog="bench.open_loop", description=__doc__)
    arguments.add_argument("url")
    arguments.add_argument("--body", type=Path, required=True)
    arguments.add_argument("--rate", type=int, required=True, help="requests a second")
    arguments.add_argument("--connections", type=int, default=32)
    arguments.add_argument("--seconds", type=float, required=True)
    options = arguments.parse_args()
    headers: Mapping[str, str] = json.loads(os.environ.get("BENCH_HEADERS", "{}"))
    call = Call(options.url, options.body, headers)

    async def run() -> Tally:
        driver = Driver(call, rate=options.rate, seconds=options.seconds)
        return await driver.run(options.connections)

    print(json.dumps(load_of(uvloop.run(run()), options.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
