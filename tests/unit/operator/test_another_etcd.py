"""An API server whose etcd was wiped or restored is noticed by lists that are older than those before them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tidegate_operator.audit import Auditor
from tidegate_operator.kube import ClusterReplaced, ListMeta
from tidegate_operator.metrics import Metrics
from tidegate_operator.outputs import Gateway
from tidegate_operator.planes import Planes
from tidegate_operator.publish import Publisher
from tidegate_operator.store import Store
from tidegate_operator.watchdog import Watchdog


def _auditor(api: Any) -> Auditor:
    """Every list that `api` gives is empty, and as old as `api.version` was when it began."""

    async def pages(path: str, kind: Any, **query: str) -> AsyncIterator[Any]:
        version = api.version
        await asyncio.sleep(0)
        yield kind(metadata=ListMeta(resource_version=str(version)))

    api.pages = pages
    planes = Planes((), target=lambda: 0, on_change=lambda: None)
    publisher = Publisher(api, Gateway("default", "tidegate-system"))
    return Auditor(
        api, Store(), publisher, planes, service=None, metrics=Metrics(), on_repair=lambda: None, interval=3600
    )


async def test_an_older_list_is_another_etcd(api: Any) -> None:
    auditor = _auditor(api)
    await auditor.fill()
    api.version += 1
    await auditor.fill()
    api.version = 5
    with pytest.raises(ClusterReplaced, match="etcd was wiped or restored"):
        await auditor.fill()


async def test_what_was_asked_for_ends_the_auditor(api: Any) -> None:
    auditor = _auditor(api)
    await auditor.fill()
    api.version = 5
    auditor.request_all()
    with pytest.raises(ClusterReplaced):
        async with asyncio.timeout(5):
            await auditor.run()


async def test_lists_that_overtake_each_other_are_none(api: Any) -> None:
    auditor = _auditor(api)
    first = asyncio.create_task(auditor.fill())
    await asyncio.sleep(0)
    api.version += 50
    await asyncio.gather(first, auditor.fill())
    await auditor.fill()


def test_a_lease_that_goes_back_is_told() -> None:
    watchdog = Watchdog(lambda: 0.0)
    assert [watchdog.expect(version) for version in (7, 7, 9, 3, 10)] == [False, False, False, True, False]
