"""A burst of changes is one, and an unending stream of them is still published."""

import asyncio

from tidegate_operator.loop import Debounce


async def test_a_burst_passes_as_one() -> None:
    debounce = Debounce(quiet=0.05, longest=5)
    for _ in range(5):
        debounce.mark()
        await asyncio.sleep(0.01)
    assert await debounce.wait()
    assert not await debounce.wait(0.1)


async def test_it_does_not_wait_for_ever() -> None:
    debounce = Debounce(quiet=0.05, longest=0.2)

    async def stream() -> None:
        while True:
            debounce.mark()
            await asyncio.sleep(0.01)

    task = asyncio.create_task(stream())
    async with asyncio.timeout(3):
        assert await debounce.wait()
    task.cancel()


async def test_a_change_during_the_work_is_not_lost() -> None:
    debounce = Debounce(quiet=0.01, longest=1)
    debounce.mark()
    assert await debounce.wait()
    debounce.mark()
    assert await debounce.wait(1)
