"""A real redis-server for each module, emptied for each test."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from redis_parts.redis_server import RedisServer
from store_parts.script import ScriptServer


@pytest.fixture(scope="module")
def server_port() -> Iterator[int]:
    server = RedisServer(durable=False)
    asyncio.run(server.start())
    yield server.port
    asyncio.run(server.close())


@pytest.fixture
def script(server_port: int) -> Iterator[ScriptServer]:
    """The script, with the test's clock, on an empty store."""
    script = ScriptServer(server_port)
    script.redis.flushdb()
    yield script
    script.close()
