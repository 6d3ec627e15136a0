"""Calls that wait for a quota: one after another, as soon as there is something for them."""

from __future__ import annotations

import asyncio
import time
from typing import cast

from dataplane.waiting import until
from tidegate_dataplane.ledger.demand import Demand, Excess
from tidegate_dataplane.pressure.waiting import NEVER, QuotaLines
from tidegate_dataplane.snapshot.entries import Priority


class _Demand:
    """All that a line asks of a Demand is its key."""

    def __init__(self, key: str) -> None:
        self.key = key


class Quota:
    """An amount that `give` adds to; remembers when each try was, and whether two were at once."""

    def __init__(self, key: str = "k", *, left: int = 0, retry_after: float = 60.0, pause: float = 0.0) -> None:
        self.key = key
        self.left = left
        self.retry_after = retry_after
        self.pause = pause
        self.tries: list[str] = []
        self.trying = self.most = 0

    def excess(self) -> Excess:
        demand = cast(Demand, _Demand(self.key))
        return Excess(demand, used=0, limit=0, asked=1, reset_at=0.0, retry_after=self.retry_after)

    async def reserve(self, who: str) -> str | Excess:
        self.tries.append(who)
        self.trying += 1
        self.most = max(self.most, self.trying)
        await asyncio.sleep(self.pause)
        self.trying -= 1
        if self.left > 0:
            self.left -= 1
            return who
        return self.excess()


async def ask(
    lines: QuotaLines, quota: Quota, who: str, *, priority: Priority = Priority.NORMAL, longest: float = 5.0
) -> str | Excess:
    return await lines.reserve(
        lambda: quota.reserve(who), quota.excess(), priority=priority, consumer=who, longest=longest
    )


def asking(lines: QuotaLines, quota: Quota, *who: str, longest: float = 5.0) -> list[asyncio.Task[str | Excess]]:
    return [asyncio.create_task(ask(lines, quota, each, longest=longest)) for each in who]


async def begun(lines: QuotaLines, number: int) -> None:
    await until(lambda: lines.waiting >= number)


async def test_what_is_given_back_goes_to_the_first_in_line() -> None:
    lines, quota = QuotaLines(), Quota()
    first, second = asking(lines, quota, "a", "b")
    await begun(lines, 2)
    quota.left = 1
    lines.notify("k")
    assert await first == "a"
    assert not second.done()
    quota.left = 1
    lines.notify("k")
    assert await second == "b"
    assert lines.waiting == 0


async def test_a_window_that_begins_is_asked_one_at_a_time() -> None:
    lines, quota = QuotaLines(), Quota(retry_after=0.02, pause=0.001)
    tasks = asking(lines, quota, *(f"c{number}" for number in range(40)))
    await begun(lines, 40)
    quota.left = 25
    done, waiting = await asyncio.wait(tasks, timeout=0.4)
    assert len(done) == 25
    assert quota.most == 1, "no two tried at the same moment"
    assert len(waiting) == 15
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert lines.waiting == 0


async def test_higher_priorities_and_modest_consumers_first() -> None:
    lines, quota = QuotaLines(), Quota()
    served: list[str] = []

    async def run(who: str, priority: Priority) -> None:
        found = await lines.reserve(
            lambda: quota.reserve(who), quota.excess(), priority=priority, consumer=who, longest=5
        )
        assert found == who
        served.append(who)

    tasks = [asyncio.create_task(run("flood", Priority.NORMAL)) for _ in range(10)]
    tasks += [asyncio.create_task(run("modest", Priority.NORMAL)), asyncio.create_task(run("high", Priority.HIGH))]
    await begun(lines, 12)
    quota.left = 12
    lines.notify("k")
    await asyncio.gather(*tasks)
    assert served[0] == "high"
    assert served.index("modest") <= 2


async def test_time_is_up_and_the_refusal_stands() -> None:
    lines, quota = QuotaLines(), Quota()
    began = time.perf_counter()
    found = await ask(lines, quota, "a", longest=0.05)
    assert isinstance(found, Excess)
    assert 0.04 <= time.perf_counter() - began < 1
    assert lines.waiting == 0


async def test_what_can_never_fit_does_not_wait() -> None:
    lines, quota = QuotaLines(), Quota(retry_after=NEVER)
    assert isinstance(await ask(lines, quota, "a", longest=60), Excess)
    assert quota.tries == []


async def test_a_full_line_refuses_at_once() -> None:
    lines, quota = QuotaLines(most=2), Quota()
    tasks = asking(lines, quota, "a", "b")
    await begun(lines, 2)
    assert isinstance(await ask(lines, quota, "c"), Excess)
    quota.left = 2
    lines.notify("k")
    assert await asyncio.gather(*tasks) == ["a", "b"]


async def test_a_failing_try_and_one_that_goes_away_do_not_hold_up_the_rest() -> None:
    lines, quota = QuotaLines(), Quota(pause=0.1)

    async def broken() -> str | Excess:
        raise OSError("no store")

    first = asyncio.create_task(
        lines.reserve(broken, quota.excess(), priority=Priority.NORMAL, consumer="a", longest=5)
    )
    second, third = asking(lines, quota, "b", "c")
    await begun(lines, 3)
    quota.left = 2
    lines.notify("k")
    await until(lambda: quota.trying)
    second.cancel()
    results = await asyncio.gather(first, second, third, return_exceptions=True)
    assert isinstance(results[0], OSError)
    assert isinstance(results[1], asyncio.CancelledError)
    assert results[2] == "c"
    assert lines.waiting == 0


async def test_a_call_that_now_lacks_something_else_waits_there() -> None:
    lines = QuotaLines()
    tokens, requests = Quota("tokens"), Quota("requests")
    state = {"tokens": 0, "requests": 0}
    tried = ["tokens"]

    async def attempt() -> str | Excess:
        for quota in (tokens, requests):
            if not state[quota.key]:
                tried.append(quota.key)
                return quota.excess()
        return "served"

    task = asyncio.create_task(
        lines.reserve(attempt, tokens.excess(), priority=Priority.NORMAL, consumer="a", longest=5)
    )
    await begun(lines, 1)
    state["tokens"] = 1
    lines.notify("tokens")
    await until(lambda: tried == ["tokens", "requests"])
    state["requests"] = 1
    lines.notify("requests")
    assert await task == "served"
    assert lines.waiting == 0
