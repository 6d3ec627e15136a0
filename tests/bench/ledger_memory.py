"""What 100,000 consumers with three quotas each cost: Redis, the data plane, and every request.

A data plane serves a world of that many consumers. After one of them has called for a while, memory is what it is for a
single one; then all call in turn until each has its counters. A data plane grows by callers without quotas as well, by
what it remembers of keys, for one: the same is done with a world without quotas, and the difference is what they cost.
The same request is timed before and after.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import worlds
from bench.call import expect_answer
from bench.cores import LOAD_CORE
from bench.figures import Goal, report, table
from bench.gateway import Gateway, make_snapshot, start_gateway
from bench.nginx import start_upstream
from bench.programs import require_programs, require_two_cores
from bench.rounds import HEADER, Contender, Series, interleave
from bench.throughput import CONNECTIONS
from bench.wrk import Call, run_wrk
from ledger_chaos.view import until_built
from redis_parts.redis_server import RedisServer
from tidegate_dataplane.snapshot.bundle import encode_bundle

CONSUMERS = 100_000
QUOTAS = 3
_UNITS = ("Requests", "Tokens", "InputTokens")
_AMOUNT = "900000000000"
_ROUND_SECONDS = 10
_MOST_ROUNDS = 30
_MIB = 1024 * 1024


def main() -> int:
    """Run it; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="bench.ledger_memory", description=__doc__)
    arguments.add_argument("--consumers", type=int, default=CONSUMERS)
    arguments.add_argument("--accuracy", choices=("Leased", "Exact", "Local"), default="Leased")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=float, default=3, help="seconds of one measurement (whole ones)")
    options = arguments.parse_args()
    require_programs("wrk", "nginx", "taskset")
    require_two_cores()
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        without = measure(Path(name) / "without", options.consumers, "", rounds=1, seconds=options.seconds)
        found = measure(
            Path(name) / "with", options.consumers, options.accuracy, rounds=options.rounds, seconds=options.seconds
        )
    found["planeWithout"] = without["plane"]
    series = found.pop("series")
    counters = max(found["counters"], 1) / QUOTAS
    rows = [
        ("Redis", *_row(found["redis"], counters)),
        ("data plane", *_row(found["plane"], counters)),
        ("the same without quotas", *_row(found["planeWithout"], counters)),
        ("of which journal file", *_row(found["journal"], counters)),
    ]
    return report(
        "ledger-memory",
        tables=[
            table(
                f"{counters:,.0f} consumers with {QUOTAS} quotas each, {options.accuracy}",
                ("memory", "one consumer MiB", "all MiB", "bytes a consumer"),
                rows,
            ),
            table(f"the same request, medians of {options.rounds} rounds", HEADER, [item.row() for item in series]),
        ],
        goals=judge(found, counters, series),
        data={**found, "series": [item.data() for item in series]},
    )


def measure(folder: Path, consumers: int, accuracy: str, *, rounds: int, seconds: float) -> dict[str, Any]:
    """Bytes before and after of each, the number of counters, and the two series. No accuracy: no quotas."""
    folder.mkdir()
    redis = RedisServer(durable=False, prefix=("taskset", "-c", str(LOAD_CORE)))
    with ExitStack() as stack:
        upstream = stack.enter_context(start_upstream(folder))
        stack.callback(lambda: asyncio.run(redis.close()))
        asyncio.run(redis.start())
        _say(f"compiling {consumers:,} consumers")
        size = worlds.Size(1, consumers, endpoint=f"{upstream.url}/v1")
        snapshot = make_snapshot(_world(size, accuracy))
        (folder / "snapshot.json").write_bytes(encode_bundle(snapshot.bundle(1)))
        journal = folder / "journal"
        shared = accuracy not in ("", "Local")
        more = ("--store", redis.url, "--journal", journal) if shared else ()
        gateway = stack.enter_context(start_gateway(folder, folder / "snapshot.json", more=more))
        if shared:
            asyncio.run(until_built(redis))
        call = gateway.call(folder)
        expect_answer(call)
        before = _series("one consumer", call, gateway, rounds, seconds)
        first = asyncio.run(_memory(redis)), gateway.process.resident_bytes, _size(journal)
        counters = _call_all(folder, call, consumers, redis if shared else None)
        last = asyncio.run(_memory(redis)), gateway.process.resident_bytes, _size(journal)
        after = _series("all consumers", call, gateway, rounds, seconds)
    names = ("redis", "plane", "journal")
    return {
        **{name: (first[at], last[at]) for at, name in enumerate(names)},
        "counters": counters,
        "series": [before, after],
    }


def _series(name: str, call: Call, gateway: Gateway, rounds: int, seconds: float) -> Series:
    contender = Contender(name, call, gateway.process.pid)
    return interleave([contender], connections=CONNECTIONS, rounds=rounds, seconds=seconds)[0]


def _call_all(folder: Path, call: Call, consumers: int, redis: RedisServer | None) -> int:
    """Let all consumers call in turn until each has its counters; returns how many counters there are."""
    bearers = folder / "bearers.txt"
    bearers.write_text("".join(f"{worlds.api_key(number)}\n" for number in range(consumers)))
    headers = {name: value for name, value in call.headers.items() if name != "authorization"}
    many = replace(call, headers=headers, bearers=bearers)
    wanted, called, errors = consumers * QUOTAS, 0, 0
    for _ in range(_MOST_ROUNDS):
        load = run_wrk(many, connections=CONNECTIONS, seconds=_ROUND_SECONDS)
        called, errors = called + load.requests, errors + load.errors
        counters = asyncio.run(_counters(redis)) if redis is not None else min(called, consumers) * QUOTAS
        _say(f"{counters:,} counters after {called:,} calls, {errors} errors")
        if counters >= wanted:
            break
        if load.requests < consumers:
            _split(bearers, load.requests)
    return counters


def _split(bearers: Path, called: int) -> None:
    """wrk begins with the first token again: those that were used go to the end."""
    lines = bearers.read_text().splitlines(keepends=True)
    bearers.write_text("".join([*lines[called:], *lines[:called]]))


async def _memory(redis: RedisServer) -> int:
    client = redis.client()
    try:
        return int((await client.info("memory"))["used_memory"])
    finally:
        await client.aclose()


async def _counters(redis: RedisServer) -> int:
    """All keys but the store's own few."""
    client = redis.client()
    try:
        return int(await client.dbsize())
    finally:
        await client.aclose()


def _world(size: worlds.Size, accuracy: str) -> Iterator[worlds.Manifest]:
    for manifest in worlds.manifests(size):
        if manifest["kind"] != "Quota":
            yield manifest
            continue
        for unit in _UNITS if accuracy else ():
            name = f"{unit.lower()}-quota"
            limits = [{"unit": unit, "amount": _AMOUNT, "window": {"calendar": "Year"}}]
            spec = {**manifest["spec"], "accuracy": accuracy, "limits": limits}
            yield {**manifest, "metadata": {**manifest["metadata"], "name": name}, "spec": spec}


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; sparse parts do not count."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()] if path.exists() else []
    return sum(file.stat().st_blocks * 512 for file in files)


def _row(span: tuple[int, int], consumers: float) -> tuple[str, ...]:
    first, last = span
    return f"{first / _MIB:.1f}", f"{last / _MIB:.1f}", f"{(last - first) / consumers:,.0f}"


def judge(found: dict[str, Any], consumers: float, series: list[Series]) -> list[Goal]:
    """The promises."""
    redis, plane, others = (
        (found[name][1] - found[name][0]) / consumers for name in ("redis", "plane", "planeWithout")
    )
    plane -= others
    before, after = series
    ratio = after.p99_us / before.p99_us if before.p99_us else 0.0
    errors = before.errors + after.errors
    return [
        Goal("Redis, bytes a consumer", f"{redis:,.0f}", "<= 1,024", redis <= 1_024),
        Goal("data plane, bytes a consumer beyond one without quotas", f"{plane:,.0f}", "<= 600", plane <= 600),
        # Two runs of the same differ by so much.
        Goal("p99 with all beside with one", f"{ratio:.2f}", "<= 1.15", ratio <= 1.15),
        Goal("errors", str(errors), "0", errors == 0),
    ]


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
