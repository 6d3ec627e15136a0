"""The webhook over TLS: what it answers when all is well, when it is slow, and when somebody means it ill."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from tidegate_operator.admission.configuration import path_of
from tidegate_operator.admission.findings import DEFAULT_DENIED, Change, Finding, Topic
from tidegate_operator.admission.keeper import Keeper, Place
from tidegate_operator.admission.review import Reviewer
from tidegate_operator.admission.server import MOST_WAITING, AdmissionServer
from tidegate_operator.admission.wire import MOST_BYTES
from tidegate_operator.kube import Api, ApiError
from tidegate_operator.world import Facts, World
from unit.admission.fake_api import FakeApi

EMPTY = World({})
KEY = "sk-secret"
PLACE = Place("tidegate-system", "tidegate-webhook", "tidegate-webhook", ("127.0.0.1",))


class _Slow(Reviewer):
    """A reviewer that waits until it is let go, or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__(Facts())
        self.go = threading.Event()
        self._fails = fails

    def review(self, world: World, change: Change, now: float) -> tuple[Finding, ...]:
        if self._fails:
            raise RuntimeError(f"what is in the object must not be told: {KEY}")
        self.go.wait(10)
        return (Finding(Topic.NOTE, "seen"),)


@dataclass
class Hook:
    """A running webhook, and a client that trusts it."""

    session: aiohttp.ClientSession
    url: str
    path: str
    registry: CollectorRegistry
    api: FakeApi

    async def ask(self, body: bytes | None = None, path: str = "") -> tuple[int, Any]:
        async with self.session.post(f"{self.url}{path or self.path}", data=io.BytesIO(body or review())) as response:
            text = await response.text()
            return response.status, json.loads(text) if response.status == 200 else text

    def count(self, verdict: str) -> float:
        name = "tidegate_operator_admission_requests_total"
        return self.registry.get_sample_value(name, {"verdict": verdict}) or 0.0


def review(name: str = "chat") -> bytes:
    metadata = {"name": name, "namespace": "team-a", "uid": "u", "generation": 1}
    spec = {"models": [name], "targets": [{"backendRef": {"name": "mock"}}]}
    request = {
        "uid": "abc",
        "resource": {"group": "tidegate.dev", "version": "v1alpha1", "resource": "airoutes"},
        "operation": "CREATE",
        "object": {"metadata": metadata, "spec": spec},
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


@asynccontextmanager
async def hooked(
    reviewer: Reviewer | None = None, *, world: World | None = EMPTY, within: float = 5.0
) -> AsyncIterator[Hook]:
    api, registry = FakeApi(), CollectorRegistry()
    keeper = Keeper(cast(Api, api), PLACE)
    await keeper.step()
    server = AdmissionServer(
        world=lambda: world,
        reviewer=reviewer or Reviewer(Facts()),
        keeper=keeper,
        registry=registry,
        denied=DEFAULT_DENIED,
        within=within,
    )
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    await server.start("127.0.0.1", port)
    assert api.configuration is not None
    client = api.configuration["webhooks"][0]["clientConfig"]
    context = ssl.create_default_context(cadata=base64.b64decode(client["caBundle"]).decode())
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=0)) as session:
            yield Hook(session, f"https://127.0.0.1:{port}", client["service"]["path"], registry, api)
    finally:
        if isinstance(reviewer, _Slow):
            reviewer.go.set()
        await server.stop()


async def test_a_review_is_answered_under_its_uid() -> None:
    async with hooked() as hook:
        status, said = await hook.ask()
        assert status == 200
        assert said["response"]["uid"] == "abc"
        assert said["response"]["allowed"] is True
        assert said["response"]["warnings"][0].startswith("spec.targets[0].backendRef: AIBackend team-a/mock")
        assert hook.count("Warned") == 1


async def test_an_answer_that_would_be_late_is_given_up() -> None:
    async with hooked(_Slow(), within=0.05) as hook:
        _, said = await hook.ask()
        assert said["response"]["allowed"] is True
        assert said["response"]["warnings"] == [
            "Tidegate did not look at what this change does to others: it took too long"
        ]
        assert hook.count("Unjudged") == 1


async def test_more_than_can_wait_are_let_pass_at_once() -> None:
    slow = _Slow()
    async with hooked(slow) as hook:
        asked = [asyncio.ensure_future(hook.ask()) for _ in range(MOST_WAITING + 5)]
        done, waiting = set[Any](), set(asked)
        async with asyncio.timeout(20):
            while len(done) < 5:
                done, waiting = await asyncio.wait(waiting | done, return_when=asyncio.FIRST_COMPLETED, timeout=0.05)
        assert {one.result()[1]["response"]["warnings"][0].rsplit(": ", 1)[1] for one in done} == {
            "too many changes at once"
        }
        slow.go.set()
        answers = [said["response"]["warnings"] for _, said in await asyncio.gather(*asked)]
        assert answers.count(["seen"]) == MOST_WAITING


async def test_before_everything_is_listed_nothing_is_judged() -> None:
    async with hooked(world=None) as hook:
        _, said = await hook.ask()
        assert said["response"]["allowed"] is True
        assert "the operator has just started" in said["response"]["warnings"][0]


async def test_a_defect_lets_pass_and_tells_the_caller_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with hooked(_Slow(fails=True)) as hook:
        _, said = await hook.ask()
        assert said["response"]["allowed"] is True
        assert said["response"]["warnings"] == [
            "Tidegate did not look at what this change does to others: an internal error, see the operator's log"
        ]
    assert "a review failed unexpectedly: RuntimeError" in caplog.text
    assert KEY not in caplog.text


async def test_who_means_it_ill_gets_nowhere() -> None:
    async with hooked() as hook:
        assert (await hook.ask(path=path_of("0" * 32)))[0] == 404
        assert (await hook.ask(b"{}"))[0] == 400
        assert (await hook.ask(b"[" * 200_000))[0] == 400
        assert (await hook.ask(b" " * (MOST_BYTES + 1)))[0] == 413
        async with hook.session.get(f"{hook.url}{hook.path}") as response:
            assert response.status == 405
        assert (await hook.ask())[0] == 200


async def test_logs_hold_nothing_of_the_object(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with hooked() as hook:
        await hook.ask(review("sk-secret-in-a-model"))
        await hook.ask(review()[:-40] + b'"sk-secret')
    told = [record.getMessage() for record in caplog.records if record.name.startswith("tidegate")]
    assert any("team-a/sk-secret-in-a-model" in line for line in told), "names are told"
    assert not any('"models"' in line or "mock" in line for line in told)


async def test_two_operators_that_begin_together_share_one_authority() -> None:
    api = FakeApi()
    keepers = [Keeper(cast(Api, api), PLACE) for _ in range(2)]
    outcomes = await asyncio.gather(*(keeper.step() for keeper in keepers), return_exceptions=True)
    lost = [outcome for outcome in outcomes if isinstance(outcome, ApiError)]
    assert [one.conflict for one in lost] == [True]
    for keeper in keepers:
        await keeper.step()
    assert keepers[0].token == keepers[1].token != ""
    assert keepers[0].ends == keepers[1].ends
    assert api.writes.count("secret") == 1


async def test_a_renewal_is_taken_by_the_other_one_and_keeps_what_a_chart_wrote() -> None:
    api, now = FakeApi(), datetime.now(UTC)
    clock = [now]
    keepers = [Keeper(cast(Api, api), PLACE, now=lambda: clock[0]) for _ in range(2)]
    for keeper in keepers:
        await keeper.step()
    assert api.secret is not None
    api.secret["metadata"]["annotations"] = {"meta.helm.sh/release-name": "tidegate"}
    clock[0] = now + timedelta(days=61)
    for keeper in keepers:
        await keeper.step()
    assert keepers[0].ends == keepers[1].ends > (now + timedelta(days=100)).timestamp()
    assert api.writes.count("secret") == 2
    assert api.secret["metadata"]["annotations"] == {"meta.helm.sh/release-name": "tidegate"}


async def test_what_somebody_else_wrote_into_the_configuration_is_put_right() -> None:
    api = FakeApi()
    keeper = Keeper(cast(Api, api), PLACE)
    await keeper.step()
    assert api.configuration is not None
    client = api.configuration["webhooks"][0]["clientConfig"]
    bundle = client.pop("caBundle")
    await keeper.step()
    assert client["caBundle"] == bundle


async def test_without_a_configuration_it_serves_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    api = FakeApi()
    api.configuration = None
    keeper = Keeper(cast(Api, api), PLACE)
    for _ in range(3):
        await keeper.step()
    assert keeper.ready.is_set()
    assert caplog.text.count("there is no ValidatingWebhookConfiguration tidegate-webhook") == 1
