"""Two operators that both believe to lead, and answers that are lost: a key is replaced once, on a real API server."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.objects import secret
from cluster.harness.processes import wait_until
from tidegate_dataplane.apikey import issue_key
from tidegate_dataplane.snapshot.entries import ConsumerEntry, KeyEntry, KeyGeneration, SecretRef, Source
from tidegate_operator.compile.timestamps import format_timestamp
from tidegate_operator.keys.issuer import KeyIssuer
from tidegate_operator.kube import Api
from tidegate_operator.metrics import Metrics
from tidegate_operator.store import Store

OLD = "the-key-of-a-month-ago"
DAY = 86_400


class LossyApi(Api):
    """Loses the answer to its first write; the write itself arrives."""

    lost = 0

    async def request(self, method: str, path: str, **more: Any) -> bytes:
        answer = await super().request(method, path, **more)
        if method in ("POST", "PATCH") and not self.lost:
            self.lost += 1
            raise TimeoutError
        return answer


class MeetingApi(Api):
    """Each of two readers has the Secret before either of them writes."""

    meeting: asyncio.Barrier
    met = False

    async def request(self, method: str, path: str, **more: Any) -> bytes:
        if method in ("POST", "PATCH") and not self.met:
            self.met = True
            await self.meeting.wait()
        return await super().request(method, path, **more)


def consumer(namespace: str) -> ConsumerEntry:
    generate = KeyGeneration(rotate_ms=30 * DAY * 1000, overlap_ms=DAY * 1000)
    entry = KeyEntry("main", secret=SecretRef("app-key", "token"), generate=generate)
    return ConsumerEntry(Source(namespace, "app", 1, uid="11111111-2222-3333-4444-555555555555"), keys=(entry,))


def held(server: ApiServer, namespace: str) -> dict[str, str]:
    data = server.admin.get(f"/api/v1/namespaces/{namespace}/secrets/app-key")["data"]
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


@asynccontextmanager
async def issuing(api: Api, random: bytes, namespace: str) -> AsyncIterator[tuple[KeyIssuer, Metrics]]:
    """An issuer at work; every key that it makes is made of `random`."""
    metrics = Metrics()
    issuer = KeyIssuer(api, Store(), now=time.time, random=lambda _: random, metrics=metrics, on_change=lambda: None)
    task = asyncio.create_task(issuer.run())
    try:
        issuer.published((consumer(namespace),))
        yield issuer, metrics
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await api.close()


async def eventually(holds: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, holds, what="the issuer", deadline=15.0)


def steps(*all_metrics: Metrics) -> float:
    return sum(
        metrics.registry.get_sample_value("tidegate_operator_keys_issued_total", {"step": step}) or 0
        for metrics in all_metrics
        for step in ("create", "rotate")
    )


@pytest.fixture(params=["create", "rotate"])
def before(request: pytest.FixtureRequest, api_server: ApiServer, namespace: str) -> str:
    """What the Secret holds: nothing, or a key that is due."""
    if request.param == "create":
        return ""
    data = {"token": OLD, "token.issued-at": format_timestamp(int(time.time()) - 31 * DAY)}
    item = secret(namespace, "app-key", data)
    api_server.admin.create(f"/api/v1/namespaces/{namespace}/secrets", item)
    return OLD


async def test_a_lost_answer_does_not_replace_twice(api_server: ApiServer, namespace: str, before: str) -> None:
    api = await LossyApi.connect(api_server.admin_kubeconfig)
    async with issuing(api, b"1" * 32, namespace) as (issuer, metrics):
        await eventually(lambda: api.lost == 1)
        written = held(api_server, namespace)
        # The Secret is read again, nothing is due any more, and nothing is written.
        await eventually(lambda: not issuer.troubled)
        assert held(api_server, namespace) == written
        assert steps(metrics) == 0
    assert written["token"] == issue_key(b"1" * 32)
    assert written.get("token.previous", "") == before


async def test_of_two_leaders_one_replaces(api_server: ApiServer, namespace: str, before: str) -> None:
    apis = [await MeetingApi.connect(api_server.admin_kubeconfig) for _ in range(2)]
    apis[0].meeting = apis[1].meeting = asyncio.Barrier(2)
    async with (
        issuing(apis[0], b"1" * 32, namespace) as (one, first),
        issuing(apis[1], b"2" * 32, namespace) as (two, second),
    ):
        await eventually(lambda: steps(first, second) >= 1 and one.troubled + two.troubled > 0)
        await eventually(lambda: not one.troubled and not two.troubled)
        assert steps(first, second) == 1
    written = held(api_server, namespace)
    assert written["token"] in (issue_key(b"1" * 32), issue_key(b"2" * 32))
    assert written.get("token.previous", "") == before


async def test_who_no_longer_leads_writes_nothing(api_server: ApiServer, namespace: str) -> None:
    api = await Api.connect(api_server.admin_kubeconfig)
    async with issuing(api, b"1" * 32, namespace) as (issuer, metrics):
        issuer.reset()
        other = await Api.connect(api_server.admin_kubeconfig)
        async with issuing(other, b"2" * 32, namespace) as (_, others):
            await eventually(lambda: steps(others) == 1)
        assert steps(metrics) == 0
    assert held(api_server, namespace)["token"] == issue_key(b"2" * 32)
