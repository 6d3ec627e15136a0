"""A caller who may use thousands of models and asks for their list holds up nobody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from samples.snapshots import NOON, attach, backend, call, consumer, key_of, keys_only, route, runtime_of
from tidegate_dataplane.engine.catalogue import models_for
from tidegate_dataplane.engine.identify import identify
from tidegate_dataplane.errors import Failure
from tidegate_dataplane.proxy import listing
from tidegate_dataplane.proxy.listing import MAX_WAITING, Lister
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import Credential, Identity

ROUTES = 200
LOGIN = attach("team-a/login")


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    routes = [route(f"team-a/r{number}", models=(f"m{number}",), policies=LOGIN) for number in range(ROUTES)]
    return runtime_of(backend(), consumer(), keys_only(), *routes)


@pytest.fixture(autouse=True)
def short_slices(monkeypatch: Any) -> None:
    """Every route ends a slice, so that a fast machine needs several too."""
    monkeypatch.setattr(listing, "SLICE_SECONDS", 0.0)


def caller(runtime: Runtime) -> Identity:
    found = identify(runtime, (key_of("team-a/search"),), NOON)
    assert isinstance(found, Credential)
    return found.identity


@asynccontextmanager
async def beating() -> AsyncIterator[list[int]]:
    """Counts how often something else gets its turn."""
    beats = [0]

    async def beat() -> None:
        while True:
            beats[0] += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(beat())
    try:
        yield beats
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_others_get_their_turn_meanwhile(runtime: Runtime) -> None:
    async with beating() as beats:
        models = await Lister().models(runtime, call(keys=()), caller(runtime), NOON)
    assert models == models_for(runtime, call(keys=()), caller(runtime), NOON)
    assert isinstance(models, list)
    assert len(models) == ROUTES
    assert beats[0] >= ROUTES - 1


async def test_many_long_ones_take_no_more_of_each_turn_than_one(runtime: Runtime) -> None:
    lister, identity = Lister(), caller(runtime)
    async with beating() as beats:
        await asyncio.gather(*(lister.models(runtime, call(keys=()), identity, NOON) for _ in range(5)))
    assert beats[0] >= 5 * (ROUTES - 1)


async def test_too_many_at_once_are_told_to_come_back(runtime: Runtime) -> None:
    lister, identity = Lister(), caller(runtime)
    asked = [asyncio.create_task(lister.models(runtime, call(keys=()), identity, NOON)) for _ in range(MAX_WAITING + 5)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    refused = [one for one in outcomes if isinstance(one, BaseException)]
    assert len(refused) == 4
    assert all(isinstance(one, Failure) and (one.status, one.code) == (503, "overloaded") for one in refused)
    assert await lister.models(runtime, call(keys=()), identity, NOON)
