"""The places of one backend: taken, waited for, handed over, given back."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import pytest

from tidegate_dataplane.pressure.gate import Gate, Shed, ShedReason
from tidegate_dataplane.pressure.gates import Gates
from tidegate_dataplane.runtime.objects import Backend
from tidegate_dataplane.settings import Pressure
from tidegate_dataplane.snapshot.entries import (
    BackendEntry,
    ConcurrencyEntry,
    ConcurrencyMode,
    Priority,
    Provider,
    Source,
)


def fixed(limit: int) -> ConcurrencyEntry:
    return ConcurrencyEntry(ConcurrencyMode.FIXED, limit, limit, limit)


def gate(limit: int, *, queue: int = 100, wait: float = 5.0) -> Gate:
    return Gate(fixed(limit), Pressure(backend_queue=queue, wait_seconds=wait))


async def turns_of_the_loop(number: int = 3) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def waiting(at: Gate, consumer: str, priority: Priority = Priority.NORMAL) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(at.wait(consumer, priority, 60))


async def test_so_many_calls_and_no_more() -> None:
    at = gate(2)
    assert [at.take("a") for _ in range(3)] == [True, True, False]
    at.give_back("a")
    assert at.take("b")
    assert at.running == 2


async def test_a_place_goes_to_who_waits_and_not_to_a_newcomer() -> None:
    at = gate(1)
    assert at.take("a")
    first = waiting(at, "b")
    await turns_of_the_loop()
    at.give_back("a")
    assert not at.take("newcomer")
    await first
    assert at.running == 1
    assert at.waiting == 0


async def test_who_has_least_under_way_is_served_first() -> None:
    at = gate(3)
    for consumer in ("flood", "flood", "modest"):
        assert at.take(consumer)
    order: list[str] = []

    async def ask(consumer: str) -> None:
        await at.wait(consumer, Priority.NORMAL, 60)
        order.append(consumer)

    tasks = [asyncio.create_task(ask(consumer)) for consumer in ("flood", "modest", "idle")]
    await turns_of_the_loop()
    for _ in range(3):
        at.give_back("flood" if order else "modest")
        await turns_of_the_loop()
    await asyncio.gather(*tasks)
    assert order[0] in {"modest", "idle"}
    assert order[-1] == "flood" or Counter(order)["flood"] == 1
    assert order.index("idle") < order.index("flood")


async def test_a_full_line_turns_away_the_lowest() -> None:
    at = gate(1, queue=2)
    assert at.take("a")
    low, normal = waiting(at, "l", Priority.LOW), waiting(at, "n")
    await turns_of_the_loop()
    high = waiting(at, "h", Priority.HIGH)
    await turns_of_the_loop()
    with pytest.raises(Shed) as shed:
        await low
    assert shed.value.reason is ShedReason.PUSHED_OUT
    assert shed.value.retry_after >= 4
    with pytest.raises(Shed) as refused:
        await at.wait("l", Priority.LOW, 60)
    assert refused.value.reason is ShedReason.FULL
    at.give_back("a")
    await high
    assert not normal.done()
    at.give_back("h")
    await normal


async def test_low_waits_shortest_and_critical_longest() -> None:
    at = gate(1, wait=0.04)
    assert at.take("a")
    ended: list[Priority] = []

    async def ask(priority: Priority) -> None:
        with pytest.raises(Shed) as shed:
            await at.wait("b", priority, 60)
        assert shed.value.reason is ShedReason.TIMEOUT
        ended.append(priority)

    await asyncio.gather(*(ask(priority) for priority in reversed(Priority)))
    assert ended == list(Priority)
    assert at.waiting == 0


async def test_whoever_goes_away_leaves_the_line_and_loses_no_place() -> None:
    at = gate(1)
    assert at.take("a")
    gone, stays = waiting(at, "b"), waiting(at, "c")
    await turns_of_the_loop()
    gone.cancel()
    await turns_of_the_loop()
    assert at.waiting == 1
    at.give_back("a")
    await stays
    at.give_back("c")
    assert (at.running, at.waiting) == (0, 0)


@pytest.mark.parametrize("hand_over_first", [True, False])
async def test_a_place_handed_to_who_goes_away_in_that_moment_is_not_lost(*, hand_over_first: bool) -> None:
    at = gate(1)
    assert at.take("a")
    gone, stays = waiting(at, "b"), waiting(at, "c")
    await turns_of_the_loop()
    if hand_over_first:
        at.give_back("a")
        gone.cancel()
    else:
        gone.cancel()
        at.give_back("a")
    async with asyncio.timeout(1):
        await stays
    with pytest.raises(asyncio.CancelledError):
        await gone
    at.give_back("c")
    assert (at.running, at.waiting) == (0, 0)


async def test_a_higher_limit_lets_in_who_waits() -> None:
    at = gate(1)
    assert at.take("a")
    tasks = [waiting(at, "b") for _ in range(3)]
    await turns_of_the_loop()
    at.configure(fixed(3))
    await turns_of_the_loop()
    assert sum(task.done() for task in tasks) == 2
    at.configure(None)
    await asyncio.gather(*tasks)
    for _ in range(4):
        at.give_back("b")
    assert at.running == 0


async def test_a_lower_limit_lets_what_runs_go_on() -> None:
    at = gate(3)
    assert all(at.take("a") for _ in range(3))
    at.configure(fixed(1))
    at.give_back("a")
    at.give_back("a")
    assert not at.take("b")
    at.give_back("a")
    assert at.take("b")


def backend(concurrency: ConcurrencyEntry | None) -> Backend:
    entry = BackendEntry(Source("team", "models", 1), Provider.MOCK, concurrency=concurrency)
    return Backend("team/models", entry)


async def test_gates_outlive_reloads_and_only_a_reload_changes_them() -> None:
    gates = Gates(Pressure())
    before = backend(fixed(1))
    gates.follow({before.key: before})
    at = gates.of(before)
    assert at.take("a")
    after = backend(fixed(5))
    gates.follow({after.key: after})
    assert gates.of(before) is at, "a call that began before the reload does not bring the old limit back"
    assert (at.limit, at.running) == (5, 1)
    gates.follow({})
    assert gates.of(after) is at, "while a call runs there"
    at.give_back("a")
    gates.follow({"other": backend(None)})
    assert gates.all() == []


async def test_what_was_learnt_survives_a_reload_with_other_bounds() -> None:
    adaptive = ConcurrencyEntry(ConcurrencyMode.ADAPTIVE, max=100, min=1, initial=20)
    at = Gate(adaptive, Pressure())
    at.overloaded(1.0)
    assert at.limit == 18
    at.configure(ConcurrencyEntry(ConcurrencyMode.ADAPTIVE, max=50, min=1, initial=40))
    assert at.limit == 18
    at.configure(ConcurrencyEntry(ConcurrencyMode.ADAPTIVE, max=10, min=1, initial=5))
    assert at.limit == 10


@pytest.mark.parametrize("seed", range(5))
async def test_no_place_is_lost_or_made_up_however_callers_come_and_go(seed: int) -> None:
    random = Random(seed)
    at = gate(4, queue=10, wait=0.02)
    limits = [4]
    ended = Counter[str]()

    async def call(number: int) -> None:
        consumer = f"c{number % 5}"
        priority = random.choice(list(Priority))
        if not at.take(consumer):
            try:
                await at.wait(consumer, priority, 60)
            except Shed as shed:
                ended[shed.reason] += 1
                return
        assert at.running <= max(limits)
        try:
            await asyncio.sleep(random.choice([0, 0, 0.001, 0.003]))
        finally:
            at.give_back(consumer)
        ended["served"] += 1

    tasks = []
    for number in range(600):
        tasks.append(asyncio.create_task(call(number)))
        if random.random() < 0.3:
            random.choice(tasks).cancel()
        if random.random() < 0.05:
            limits.append(random.randint(1, 8))
            at.configure(fixed(limits[-1]))
        if random.random() < 0.5:
            await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (at.running, at.waiting) == (0, 0)
    assert ended["served"] > 0
    assert ended[ShedReason.FULL] > 0
    assert at.take("last")
