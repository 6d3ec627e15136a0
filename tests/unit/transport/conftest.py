"""Sockets and TLS behave differently in the two event loops; the data plane runs on uvloop, embedders on either."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from dataplane.secured import Site


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)
