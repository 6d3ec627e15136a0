"""So many calls begin in one turn of the event loop."""

from __future__ import annotations

import asyncio

from tidegate_dataplane.pressure.gate import Shed, ShedReason
from tidegate_dataplane.pressure.turns import Turns
from tidegate_dataplane.settings import Pressure
from tidegate_dataplane.snapshot.entries import Priority


def turns(*, calls: int = 2, queue: int = 1000, wait: float = 5.0) -> Turns:
    return Turns(Pressure(calls_per_turn=calls, process_queue=queue, wait_seconds=wait))


async def call(at: Turns, consumer: str, log: list[str], priority: Priority = Priority.NORMAL) -> None:
    if not at.begin():
        await at.wait(consumer, priority)
    log.append(consumer)


async def test_a_call_at_a_time_never_waits() -> None:
    at = turns(calls=1)
    for _ in range(100):
        assert at.begin()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert at.held_back == 0


async def test_a_flood_does_not_go_before_a_modest_consumer() -> None:
    at = turns(calls=2)
    log: list[str] = []
    tasks = [asyncio.create_task(call(at, "flood", log)) for _ in range(500)]
    tasks += [asyncio.create_task(call(at, name, log)) for name in "abcde"]
    await asyncio.gather(*tasks)
    assert len(log) == 505
    assert max(log.index(name) for name in "abcde") < 15
    assert at.waiting == 0


async def test_no_turn_begins_more_than_it_may() -> None:
    at = turns(calls=3)
    log: list[str] = []
    tasks = [asyncio.create_task(call(at, "a", log)) for _ in range(50)]
    seen = 0
    while len(log) < 50:
        await asyncio.sleep(0)
        assert len(log) - seen <= 3
        seen = len(log)
    await asyncio.gather(*tasks)


async def test_higher_priorities_begin_first() -> None:
    at = turns(calls=1)
    log: list[str] = []
    tasks = [asyncio.create_task(call(at, priority.value, log, priority)) for priority in Priority for _ in range(3)]
    await asyncio.gather(*tasks)
    assert log[1:4] == ["Critical"] * 3, "the first one had the loop to itself"
    assert log[-1] == "Low"


async def test_who_finds_no_room_is_told_to_come_again() -> None:
    at = turns(calls=1, queue=2)
    assert at.begin()
    first, second, third = await asyncio.gather(
        *(at.wait("a", Priority.NORMAL) for _ in range(3)), return_exceptions=True
    )
    assert first is second is None
    assert isinstance(third, Shed)
    assert third.reason is ShedReason.FULL
    assert third.retry_after >= 1


async def test_who_goes_away_takes_no_turn() -> None:
    at = turns(calls=1)
    assert at.begin()
    log: list[str] = []
    gone = [asyncio.create_task(call(at, "gone", log)) for _ in range(20)]
    stays = asyncio.create_task(call(at, "stays", log))
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    await stays
    assert log.count("gone") <= 2
    await asyncio.gather(*gone, return_exceptions=True)
    assert at.waiting == 0
