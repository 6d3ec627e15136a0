"""As many requests as can be over keep-alive connections to several data planes, each with its times."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import worlds
from bench.gateway import json_headers
from bench.keepalive import answer_length, answer_status, request_bytes
from bench.wrk import Call

_TIMEOUT = 60.0


@dataclass(frozen=True)
class Seen:
    """One request: sent and answered (seconds since the epoch), and the status."""

    sent: float
    answered: float
    status: int


async def burst(ports: Sequence[int], *, body: Path, key: str, requests: int, connections: int) -> list[Seen]:
    """So many requests, evenly over the planes' connections; raises TimeoutError after a minute."""
    left = iter(range(requests))
    seen: list[Seen] = []
    calls = [
        (port, request_bytes(Call(f"http://127.0.0.1:{port}{worlds.PATH}", body, json_headers(key)))) for port in ports
    ]
    async with asyncio.timeout(_TIMEOUT):
        await asyncio.gather(*(_ask(*calls[number % len(calls)], left, seen) for number in range(connections)))
    return seen


async def _ask(port: int, request: bytes, left: Iterator[int], seen: list[Seen]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for _ in left:
            sent = time.time()
            writer.write(request)
            data = bytearray(await reader.readuntil(b"\r\n\r\n"))
            length = answer_length(data) or 0
            await reader.readexactly(length - len(data))
            seen.append(Seen(sent, time.time(), answer_status(data)))
    finally:
        writer.close()
