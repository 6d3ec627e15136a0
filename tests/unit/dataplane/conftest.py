"""These tests run on uvloop, as the data plane does."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Asked for by pytest-asyncio."""
    return {"uvloop": uvloop.new_event_loop}
