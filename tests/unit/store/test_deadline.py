from __future__ import annotations

import asyncio
import time

import pytest

from tidegate_dataplane.store.deadline import Deadline


async def test_what_takes_too_long_ends() -> None:
    begun = time.perf_counter()
    with pytest.raises(TimeoutError):
        async with Deadline(0.05):
            await asyncio.Event().wait()
    assert 0.05 <= time.perf_counter() - begun < 1.0


async def test_what_is_done_in_time_is_left_alone_afterwards() -> None:
    async with Deadline(0.01):
        await asyncio.sleep(0)
    await asyncio.sleep(0.03)


async def test_an_answer_that_came_while_the_event_loop_was_held_up_is_not_late() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    try:
        async with Deadline(0.05):
            writer.write(b"ping")
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_soon(time.sleep, 0.2)
            assert await reader.readexactly(4) == b"ping"
    finally:
        writer.close()
        server.close()
        await server.wait_closed()


async def test_errors_and_cancellations_pass_through() -> None:
    with pytest.raises(KeyError):
        async with Deadline(1.0):
            raise KeyError
    task = asyncio.create_task(_waits())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _waits() -> None:
    async with Deadline(10.0):
        await asyncio.Event().wait()
