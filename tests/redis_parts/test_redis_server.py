"""What tests do to a real Redis does what its name says."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from redis_parts.redis_server import RedisServer


async def test_a_kill_loses_nothing_and_a_restart_without_data_everything() -> None:
    async with RedisServer() as server:
        client = server.client()
        await client.set("key", "value")
        await server.restart()
        assert await client.get("key") == b"value"
        await server.restart(with_data=False)
        assert await client.get("key") is None
        await client.aclose()


async def test_stopped_it_refuses_connections_and_paused_it_keeps_silent() -> None:
    async with RedisServer(durable=False) as server:
        server.pause()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"PING\r\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await reader.readline()
        server.resume()
        assert await reader.readline() == b"+PONG\r\n"
        writer.close()
        await server.stop()
        client = server.client()
        with pytest.raises(RedisConnectionError):
            await client.ping()
        await client.aclose()
        await server.start()
        assert server.running
    assert not server.running
    assert not server.directory.exists()
