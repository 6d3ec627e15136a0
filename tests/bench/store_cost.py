"""What a batch costs the shared store and the data plane: microseconds of each, and bytes of Redis for a counter.

One data plane on a real Redis, calendar windows. Microseconds of Redis are its own count of EVALSHA (the least of some
rounds: on a busy machine the mean measures the neighbours); those of Python are CPU time of a whole `exchange`.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import uvloop

from bench.figures import machine, report, table
from redis_parts.redis_server import RedisServer
from store_parts.planes import DAY_MS, plane, ready, single, today, window
from tidegate_dataplane.store.protocol import Declared, Kind, Line
from tidegate_dataplane.store.redis_store import RedisStore

_ROUNDS = 20
_COUNTERS = 10_000
_OWNERS = 6
# Nothing here is about deadlines.
_PATIENCE = 2.0


@dataclass(frozen=True)
class Cost:
    """Microseconds of a batch of so many decisions."""

    name: str
    decisions: int
    redis: float
    python: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    costs, memory = uvloop.run(_measure())
    rows = []
    for cost in costs:
        each = max(1, cost.decisions)
        figures = (cost.redis, cost.python, cost.redis / each, cost.python / each)
        rows.append((cost.name, *(f"{figure:.1f}" for figure in figures)))
    columns = ("batch", "Redis, us", "Python, us", "Redis, us a decision", "Python, us a decision")
    tables = [
        table("A batch and a decision of three limits", columns, rows),
        table("Bytes of Redis for a counter, everything counted", ("data planes", "bytes"), list(memory.items())),
    ]
    data = {"machine": machine(), "costs": [asdict(cost) for cost in costs], "memory": memory}
    return report("store-cost", tables=tables, goals=[], data=data)


async def _measure() -> tuple[list[Cost], dict[int, int]]:
    async with RedisServer(durable=False) as server:
        settings = replace(single(server.port), deadline=_PATIENCE)
        store = await ready(settings)
        try:
            costs = await _costs(server, store)
        finally:
            await store.aclose()
    async with RedisServer(durable=False) as server:
        return costs, await _memory(server)


async def _costs(server: RedisServer, store: RedisStore) -> list[Cost]:
    keys = [secrets.token_bytes(16) for _ in range(96)]

    def decisions(count: int, *, shared: bool) -> list[list[Line]]:
        return [
            [window(key, limit=10**12, need=1) for key in (keys[:3] if shared else keys[3 * each : 3 * each + 3])]
            for each in range(count)
        ]

    shapes: list[tuple[str, Callable[[], list[list[Line]]]]] = [
        ("none (a heartbeat)", list),
        ("1 decision", lambda: decisions(1, shared=True)),
        ("32 decisions, the same counters", lambda: decisions(32, shared=True)),
        ("32 decisions, counters of their own", lambda: decisions(32, shared=False)),
    ]
    return [await _cost(server, store, name, make()) for name, make in shapes]


async def _cost(server: RedisServer, store: RedisStore, name: str, batch: list[list[Line]]) -> Cost:
    client = server.client()
    redis: list[float] = []
    python: list[float] = []
    try:
        for _ in range(_ROUNDS):
            await client.config_resetstat()
            begun = time.process_time()
            for _ in range(20):
                await store.exchange(batch)
            python.append((time.process_time() - begun) / 20 * 1e6)
            redis.append((await client.info("commandstats"))["cmdstat_evalsha"]["usec_per_call"])
    finally:
        await client.aclose()
    return Cost(name, len(batch), min(redis), min(python))


async def _memory(server: RedisServer) -> dict[int, int]:
    """Bytes of each counter by how many data planes have a part of it."""
    day = today()
    shape = (Kind.WINDOW, day, day + DAY_MS, day + 2 * DAY_MS)
    keys = [secrets.token_bytes(16) for _ in range(_COUNTERS)]
    rows = [Declared(key, *shape, day, 5_000_000, 123_456, 130_000, 150_000, 0) for key in keys]
    stores = [await plane(replace(single(server.port), deadline=_PATIENCE)) for _ in range(_OWNERS)]
    client = server.client()
    memory = {}
    try:
        before = (await client.info("memory"))["used_memory"]
        for count, store in enumerate(stores, start=1):
            await store.declare(rows, ())
            memory[count] = round(((await client.info("memory"))["used_memory"] - before) / _COUNTERS)
    finally:
        await client.aclose()
        await asyncio.gather(*(store.aclose() for store in stores))
    return memory


if __name__ == "__main__":
    sys.exit(main())
