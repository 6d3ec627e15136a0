"""One run: planes, store, proxy, provider, callers and faults together, and then the reckoning."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from time import monotonic

from ledger_chaos import world
from ledger_chaos.accounts import Book, keep_books
from ledger_chaos.callers import Callers, End
from ledger_chaos.faults import Weather
from ledger_chaos.fleet import Fleet
from ledger_chaos.provider import Provider, providing
from ledger_chaos.view import Figures, LedgerView, journal_figures
from redis_parts.redis_server import RedisServer
from redis_parts.toxiproxy import Toxiproxy

_SAMPLE_SECONDS = 0.03
_QUIET_SECONDS = 1.5
_EXHAUST_DEADLINE = 80.0
_SETTLE_DEADLINE = 20.0
_RUN_DEADLINE = 180.0
_TOKENS_A_SECOND = 60.0
"""A stream's: slow enough that the quota lasts longer than the faults do."""


@dataclass(frozen=True)
class Plan:
    """What a run is to be. `seconds` is about how long faults go on; the callers go on until nothing is left.

    `kinds` is how many kinds of faults of the store there are (0: all).
    """

    accuracy: str
    seed: int
    planes: int = 6
    callers: int = 64
    kills: int = 4
    kinds: int = 0
    seconds: float = 14.0
    tokens: int = world.TOKENS
    dollars: int = world.DOLLARS


@dataclass
class Result:
    """What came of it. `granted` is the most that the store ever showed, of tokens and of micro-dollars."""

    plan: Plan
    step: str = "starting"
    problems: list[str] = field(default_factory=list)
    ends: Counter[End] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[float, str]] = field(default_factory=list)
    seconds: float = 0.0
    settle_seconds: float = 0.0
    samples: int = 0
    granted: tuple[int, int] = (0, 0)
    used: tuple[int, int] = (0, 0)
    delivered: tuple[int, int] = (0, 0)
    """Tokens that the callers counted, and what they cost without prompts."""
    expected: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    doubtful: int = 0

    @property
    def limits(self) -> tuple[int, int]:
        return self.plan.tokens, self.plan.dollars * 1_000_000

    @property
    def usable(self) -> float:
        """The share that was used of the limit that was reached first."""
        return max(used / limit for used, limit in zip(self.used, self.limits, strict=True))


async def run(plan: Plan) -> Result:
    """Never raises for what the ledger does wrong: that stands in `problems`."""
    result, began = Result(plan), monotonic()
    try:
        async with asyncio.timeout(_RUN_DEADLINE):
            await _run(plan, result)
    except TimeoutError:
        result.problems.append(f"it took longer than {_RUN_DEADLINE:g} s, and hung in: {result.step}")
    result.seconds = monotonic() - began
    return result


async def _run(plan: Plan, result: Result) -> None:
    chance = Random(f"weather:{plan.seed}")
    async with RedisServer() as redis, Toxiproxy() as toxiproxy, providing(plan.seed) as provider:
        provider.tokens_a_second = _TOKENS_A_SECOND
        proxy = await toxiproxy.proxy("redis", redis.address)
        manifests = world.manifests(provider.url, accuracy=plan.accuracy, tokens=plan.tokens, dollars=plan.dollars)
        async with Fleet(manifests, count=plan.planes, store=f"redis://{proxy.address}/0") as fleet:
            weather = Weather(chance, fleet, redis, proxy, plan.kills, plan.kinds, result.faults)
            callers = Callers(plan.seed, plan.callers, fleet.ports, world.KEY, world.MODEL)
            async with _watching(redis, result) as view:
                asking = asyncio.create_task(callers.run())
                result.step = "faults"
                await weather.run(plan.seconds)
                result.step = "using up what is left"
                await _until_nothing_is_left(callers, result)
                callers.stopped = True
                result.step = "the last calls"
                await asking
                result.step = "settling"
                await _settle(fleet, view, result)
            result.step = "stopping"
            await fleet.stop()
            _reckon(result, fleet, callers, provider)


@asynccontextmanager
async def _watching(redis: RedisServer, result: Result) -> AsyncIterator[LedgerView]:
    """Look at what the store has granted all the time, past the proxy."""
    view = LedgerView(redis)

    async def look() -> None:
        while True:
            await asyncio.sleep(_SAMPLE_SECONDS)
            seen = await view.look()
            if seen is None:
                continue
            result.samples += 1
            granted = seen.granted
            result.granted = (max(granted[0], result.granted[0]), max(granted[1], result.granted[1]))

    task = asyncio.create_task(look())
    try:
        yield view
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await view.close()


async def _until_nothing_is_left(callers: Callers, result: Result) -> None:
    """Until every answer for a while was a refusal for lack of quota."""
    deadline = monotonic() + _EXHAUST_DEADLINE
    while monotonic() < deadline:
        await asyncio.sleep(0.1)
        now = monotonic()
        recent = [call for call in callers.calls[-4_000:] if call.began > now - _QUIET_SECONDS]
        busy = any(call.ended == 0.0 and call.began < now - 0.2 for call in callers.calls[-4_000:])
        if not busy and len(recent) > callers.count and all(call.status in (429, 0) for call in recent):
            return
    late = Counter((call.status, call.code) for call in callers.calls[-200:])
    result.problems.append(f"the quota was not used up within {_EXHAUST_DEADLINE:g} s; the last answers: {late}")


async def _settle(fleet: Fleet, view: LedgerView, result: Result) -> None:
    """Until the store says what the journals say, and nothing is held."""
    began = monotonic()
    why = "the store does not answer"
    while monotonic() - began < _SETTLE_DEADLINE:
        await asyncio.sleep(0.2)
        seen = await view.look()
        if seen is None:
            continue
        why = _unsettled(seen, journal_figures(fleet))
        if not why:
            break
    result.settle_seconds = monotonic() - began
    if why:
        result.problems.append(f"not settled within {_SETTLE_DEADLINE:g} s: {why}")
    if seen is not None:
        result.used = seen.used


def _unsettled(store: Figures, journals: Figures) -> str:
    if store.firm != store.used:
        return f"the store has firm {store.firm} and used {store.used}"
    if store.of_owner != journals.of_owner:
        return f"the store has {store.of_owner}, the journals have {journals.of_owner}"
    return ""


def _reckon(result: Result, fleet: Fleet, callers: Callers, provider: Provider) -> None:
    calls, problems = callers.calls, result.problems
    result.ends = Counter(call.end for call in calls)
    result.refusals = Counter(f"{call.status} {call.code}" for call in calls if call.end is End.REFUSED)
    books = keep_books(fleet.planes, calls, provider)
    final = journal_figures(fleet)
    for plane in fleet.planes:
        problems += books[plane.number].problems
        problems += _compare(plane.number, books[plane.number], final.of_plane(plane.number))
    result.expected = (_total([book.tokens for book in books.values()]), _total([book.cost for book in books.values()]))
    result.doubtful = sum(book.doubtful for book in books.values())
    received = sum(call.received for call in calls)
    result.delivered = (received, received * world.OUTPUT_PRICE)
    for what, figures in (("granted", result.granted), ("used", result.used), ("delivered", result.delivered)):
        for unit, amount, limit in zip(("tokens", "micro-dollars"), figures, result.limits, strict=True):
            if amount > limit:
                problems.append(f"{amount:,} {unit} were {what}, of a limit of {limit:,}")
    for unit, used, (least, most) in zip(("tokens", "micro-dollars"), result.used, result.expected, strict=True):
        if not least <= used <= most:
            problems.append(f"the ledger has {used:,} {unit}, delivered were {least:,} to {most:,}")
    if provider.repeated:
        problems.append(f"asked of the provider twice: {provider.repeated[:3]}")


def _compare(number: int, book: Book, used: tuple[int, int]) -> list[str]:
    return [
        f"plane {number}: the journal has {amount:,} {unit}, delivered were {least:,} to {most:,}"
        for unit, amount, (least, most) in zip(("tokens", "micro-dollars"), used, (book.tokens, book.cost), strict=True)
        if not least <= amount <= most
    ]


def _total(spans: list[tuple[int, int]]) -> tuple[int, int]:
    return sum(least for least, _ in spans), sum(most for _, most in spans)
