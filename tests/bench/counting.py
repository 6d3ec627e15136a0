"""How far what streams are charged is from what they used, and what counting costs.

    PYTHONPATH=tests .venv/bin/python -m bench.counting [--streams 60]

Streams go through a whole data plane on loopback, from a provider that cuts its text anywhere. The truth is the model's
tokenizer run over the whole text. `aborted`: the caller leaves after a random piece, and only pieces that it has got
are owed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import uvloop

from bench.figures import Goal, report, table
from bench.verification import microseconds
from dataplane.factory import KEY, bundle_of, http_backend, route, shard, target
from dataplane.planes import running
from dataplane.raw_http import chat, connect, read_chunk, read_head, request
from dataplane.upstream import Asked, Upstream, chunk, delta, event, events_head, upstream
from dataplane.waiting import until
from samples.texts import TEXTS
from tidegate_dataplane.counting.encodings import Encoding
from tidegate_dataplane.counting.remote import Worker
from tidegate_dataplane.counting.tokenizer import count, estimate
from tidegate_dataplane.ledger.learnt import Learnt
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.proxy.events import EventRelay
from tidegate_dataplane.snapshot.entries import Operation

COUNTED, UNKNOWN = "gpt-4o-mini", "some-open-model"
PROMPT = 9  # tokens of the request that `chat` makes
DONE = event(b"[DONE]")


def tokens(text: str) -> int:
    """By the tokenizer, of the whole text."""
    found = count(text, Encoding.O200K)
    if found is None:
        raise SystemExit("the tokenizer cannot be loaded: install the extra [dataplane]")
    return found


def pieces(text: str, source: random.Random) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = start + source.randint(1, 24)
        yield text[start:end]
        start = end


class Provider:
    """Sends the pieces of `text`, the next one only when it may."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.reports = False
        self.may_send = asyncio.Semaphore()

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(events_head())
        for part in self.parts:
            await self.may_send.acquire()
            writer.write(chunk(event(delta(part))))
            await writer.drain()
        if self.reports:
            writer.write(chunk(event(delta(None, usage=(PROMPT, tokens("".join(self.parts)))))))
        writer.write(chunk(DONE) + b"0\r\n\r\n")


@asynccontextmanager
async def plane_of(provider: Provider, model: str) -> AsyncIterator[tuple[DataPlane, Upstream]]:
    async with upstream(provider, watch=True) as found:
        routes = [route(targets=(target("one", model=model),), retry_attempts=0)]
        world = bundle_of(shard(backends=[http_backend("one", found.url)], routes=routes))
        async with running(world) as plane:
            yield plane, found


async def stream(plane: DataPlane, provider: Provider, parts: list[str], leave_after: int | None) -> tuple[int, str]:
    """What one stream is charged beside its prompt, and how that is known; to the end without `leave_after`."""
    provider.parts = parts
    provider.may_send = asyncio.Semaphore(len(parts) if leave_after is None else 0)
    plane.metrics.tokens.values.clear()
    reader, writer = await connect(plane)
    writer.write(request(chat(stream=True), key=KEY))
    if leave_after is None:
        await read_head(reader)
        while await read_chunk(reader):
            pass
    else:
        for number in range(leave_after):
            provider.may_send.release()
            if not number:
                await read_head(reader)
            await read_chunk(reader)
    writer.close()
    await until(lambda: bool(plane.metrics.tokens.values) and plane.metrics.in_flight == 0)
    (output,) = [(value, source) for (_, way, source), value in plane.metrics.tokens.values.items() if way == "output"]
    return output


async def errors(streams: int, model: str, *, reports: bool, aborts: bool) -> tuple[list[float], float, set[str]]:
    """Of each stream in percent; of all together; and the sources that were told."""
    source = random.Random(11)
    provider = Provider()
    provider.reports = reports
    found: list[float] = []
    sources: set[str] = set()
    owed = charged = 0
    async with plane_of(provider, model) as (plane, _):
        for number in range(streams):
            text = list(TEXTS.values())[number % len(TEXTS)]
            parts = list(pieces(text, source))
            leave = source.randint(1, len(parts) - 1) if aborts else None
            got, said = await stream(plane, provider, parts, leave)
            true = tokens("".join(parts[:leave]))
            sources.add(said)
            owed += true
            charged += got
            found.append(100 * (got - true) / true)
    return found, 100 * (charged - owed) / owed, sources


def speed() -> list[tuple[str, ...]]:
    """Microseconds for each KB of text, by encoding."""
    folder = Path(__file__).resolve().parents[2]
    prose = "".join(path.read_text() for path in sorted((folder / "docs" / "decisions").glob("*.md")))[:100_000]
    code = "".join(path.read_text() for path in sorted((folder / "dataplane").rglob("*.py")))[:100_000]
    source = random.Random(3)
    kinds = {
        "English prose": prose,
        "Python": code,
        "Chinese": TEXTS["Chinese"] * 80,
        "1 MB of 'a'": "a" * 1_000_000,
        "1 MB of spaces": " " * 1_000_000,
        "1 MB of random letters": "".join(source.choices("abcdefghijklmnopqrstuvwxyz", k=1_000_000)),
    }
    rows: list[tuple[str, ...]] = []
    for name, text in kinds.items():
        counted = [_per_kb(text, partial(count, encoding=encoding)) for encoding in Encoding]
        rows.append((name, *(f"{each:.1f}" for each in counted), f"{_per_kb(text, estimate):.2f}"))
    return rows


def _per_kb(text: str, measure: Callable[[str], int | None]) -> float:
    measure(text)
    return microseconds(lambda: measure(text), calls=1, rounds=5) / (len(text.encode()) / 1024)


def process() -> list[tuple[str, ...]]:
    """What the counting process takes: from nothing to its first number, then for a short text; and its memory."""
    found: list[tuple[str, ...]] = []
    for encoding in Encoding:
        worker = Worker()
        started = time.perf_counter()
        worker.count("warm", encoding)
        first = (time.perf_counter() - started) * 1000
        worker.count("warm " * 1000, encoding)
        short = microseconds(partial(worker.count, "Hello there!", encoding), calls=200, rounds=5)
        found.append((encoding.value, f"{first:.0f}", f"{short:.0f}", f"{_resident(worker.pid):.0f}"))
        worker.close()
    return found


def _resident(pid: int | None) -> float:
    """Megabytes in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def path_cost() -> list[tuple[str, str]]:
    """What a stream pays while it runs."""
    one = event(delta(" word"))
    telling = event({**delta(" word"), "usage": {"prompt_tokens": 9, "completion_tokens": 9}})
    relay = EventRelay(hide_usage=True)

    def relayed() -> None:
        relay.passed(relay.feed(one))

    def reported() -> None:
        relay.passed(relay.feed(telling))

    learnt = Learnt()
    name = "team-a/one gpt-4o"
    learn = microseconds(lambda: learnt.learn(name, Operation.CHAT, 317), calls=20_000, rounds=5)
    reserve = microseconds(lambda: learnt.reserve(name, Operation.CHAT), calls=20_000, rounds=5)
    return [
        ("an event of a stream, kept for a count", f"{microseconds(relayed, calls=20_000, rounds=5):.2f}"),
        ("an event that reports usage", f"{microseconds(reported, calls=20_000, rounds=5):.2f}"),
        ("reserve by what a model usually writes", f"{reserve:.2f}"),
        ("learn what it wrote", f"{learn:.2f}"),
    ]


def estimates() -> list[tuple[str, ...]]:
    """How far a quarter token a byte is off."""
    rows: list[tuple[str, ...]] = []
    for name, text in TEXTS.items():
        true = [count(text, encoding) or 1 for encoding in Encoding]
        rows.append((name, *(f"{100 * (estimate(text) / each - 1):+.0f} %" for each in true)))
    return rows


async def charged(streams: int) -> dict[str, tuple[list[float], float, set[str]]]:
    return {
        "reported": await errors(streams, COUNTED, reports=True, aborts=False),
        "counted, silent provider": await errors(streams, COUNTED, reports=False, aborts=False),
        "counted, aborted": await errors(streams, COUNTED, reports=False, aborts=True),
        "estimated, silent provider": await errors(streams, UNKNOWN, reports=False, aborts=False),
        "estimated, aborted": await errors(streams, UNKNOWN, reports=False, aborts=True),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=60, help="for each line of the first table (%(default)s)")
    options = parser.parse_args()
    found = uvloop.run(charged(options.streams))
    rows = [
        (name, "+".join(sorted(sources)), f"{max(map(abs, each)):.2f} %", f"{total:+.2f} %")
        for name, (each, total, sources) in found.items()
    ]
    worst = {name: max(map(abs, each)) for name, (each, _, _) in found.items()}
    goals = [
        Goal("reported", f"{worst['reported']:.2f} %", "exact", worst["reported"] == 0),
        *(Goal(name, f"{worst[name]:.2f} %", "1 %", worst[name] <= 1) for name in worst if name.startswith("counted")),
    ]
    encodings = [encoding.value for encoding in Encoding]
    title = f"charged, {options.streams} streams each, {len(TEXTS)} texts"
    tables = [
        table(title, ("", "source", "worst", "together"), rows),
        table("an estimate beside the count", ("text", *encodings), estimates()),
        table("microseconds a KB", ("text", *encodings, "estimate"), speed()),
        table("the counting process", ("", "first, ms", "short text, us", "MB"), process()),
        table("microseconds on the way", ("", "us"), path_cost()),
    ]
    return report("counting", tables=tables, goals=goals, data={"worst_percent": worst})


if __name__ == "__main__":
    raise SystemExit(main())
