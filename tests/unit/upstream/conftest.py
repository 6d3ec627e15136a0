"""Every test here that runs a loop runs on both: the one of production, and plain asyncio."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from tidegate_dataplane.upstream import UpstreamClient
from unit.upstream.sending import Sender


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture
async def client() -> AsyncIterator[UpstreamClient]:
    client = UpstreamClient()
    yield client
    await client.aclose()


@pytest.fixture
def send(client: UpstreamClient) -> Sender:
    return Sender(client)
