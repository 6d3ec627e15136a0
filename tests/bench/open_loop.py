"""Load at a constant rate, whatever the answers do (an open loop), which a program runs as its own process.

A closed loop such as wrk's asks less while the server stalls and so hides the stall. Here every request has a planned
time, and its latency counts from then: a request that waited for a free connection has waited.
`python -m bench.open_loop URL --body FILE --rate 2000 --seconds 10` prints one JSON line.
"""

from __future__ import annotations

import argparse
import http
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.cores import LOAD_CORE, pinned
from bench.figures import percentile
from bench.keepalive import answer_length, answer_status, request_bytes
from bench.wrk import Call, Load

# Seconds.
_DRAIN = 5.0
_TIMEOUT = 5.0
_LOST = 0


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


class _Connection:
    """One keep-alive connection with at most one request on it; `due` is that request's planned time."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._data = bytearray()
        self.due: float | None = None
        self.socket: socket.socket | None = None

    def send(self, request: bytes, due: float) -> bool:
        """Post `request`; False when the server cannot be reached."""
        try:
            if self.socket is None:
                self.socket = socket.create_connection(self._address, _TIMEOUT)
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.sendall(request)
        except OSError:
            self.close()
            return False
        self.due = due
        return True

    def receive(self) -> int | None:
        """Read what is there; the status once the answer is complete, 0 when the connection ended, else None."""
        assert self.socket is not None
        try:
            received = self.socket.recv(65536)
        except OSError:
            received = b""
        if not received:
            self.close()
            return _LOST
        self._data += received
        length = answer_length(self._data)
        if length is None or len(self._data) < length:
            return None
        status = answer_status(self._data)
        self._data.clear()
        return status

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        self._data.clear()


class OpenLoop:
    """Sends what is due on whatever connection is free. select() waits with the precision that asyncio's loops lack."""

    def __init__(self, call: Call, *, rate: int, connections: int, seconds: float) -> None:
        parts = urlsplit(call.url)
        address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._request = request_bytes(call)
        self._rate, self._planned = rate, round(rate * seconds)
        self._free = [_Connection(address) for _ in range(connections)]
        self._busy: dict[socket.socket, _Connection] = {}
        self._latencies: list[float] = []
        self._errors = 0

    def run(self) -> Tally:
        """Send everything on time and wait for the last answers."""
        began = time.perf_counter()
        give_up = began + self._planned / self._rate + _DRAIN
        sent = 0
        while len(self._latencies) + self._errors < self._planned:
            now = time.perf_counter()
            if now > give_up:
                break
            while sent < self._planned and self._free and (due := began + sent / self._rate) <= now:
                self._send(due)
                sent += 1
            until = give_up if sent == self._planned or not self._free else began + sent / self._rate
            self._receive(max(until - time.perf_counter(), 0.0))
        for connection in (*self._free, *self._busy.values()):
            connection.close()
        return Tally(self._planned, self._planned - len(self._latencies), self._latencies)

    def _send(self, due: float) -> None:
        connection = self._free.pop()
        if connection.send(self._request, due):
            assert connection.socket is not None
            self._busy[connection.socket] = connection
        else:
            self._errors += 1
            self._free.append(connection)

    def _receive(self, seconds: float) -> None:
        readable, _, _ = select.select(list(self._busy), [], [], seconds)
        for each in readable:
            connection = self._busy[each]
            status = connection.receive()
            if status is None:
                continue
            if status == http.HTTPStatus.OK and connection.due is not None:
                self._latencies.append(time.perf_counter() - connection.due)
            else:
                self._errors += 1
            del self._busy[each]
            self._free.append(connection)


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
    loop = OpenLoop(call, rate=options.rate, connections=options.connections, seconds=options.seconds)
    print(json.dumps(load_of(loop.run(), options.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
