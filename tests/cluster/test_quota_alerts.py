"""What people see of quotas with kubectl: use, bound, store and Events; and what a webhook hears. Two data planes, one
Redis, under the chart's roles."""

from __future__ import annotations

import asyncio
import hmac
import json
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.callers import ask
from cluster.harness.kubectl import Kubectl
from cluster.harness.objects import Manifest, custom, path_of, secret, tenant
from cluster.harness.processes import wait_until
from cluster.harness.system import System
from redis_parts.redis_server import RedisServer

SECRET = "webhook-secret-of-the-quota-tests"
AMOUNT = 10


@pytest.fixture(scope="module")
def store() -> Iterator[RedisServer]:
    """A Redis that loses nothing when it is killed."""
    server = RedisServer()
    asyncio.run(server.start())
    yield server
    asyncio.run(server.close())


@pytest.fixture(scope="module")
def system(
    api_server: ApiServer,
    crds: list[str],
    rbac: list[Any],
    store: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[System]:
    """As the shared fixture, with the store."""
    with System(api_server, tmp_path_factory.mktemp("system"), more=["--store", store.url]) as running:
        yield running


class Hook:
    """Takes webhooks, and remembers those whose signature is right."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.refused = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/quota"

    def take(self, timestamp: str, signature: str, body: bytes) -> bool:
        expected = hmac.new(SECRET.encode(), timestamp.encode() + b"." + body, sha256).hexdigest()
        if not hmac.compare_digest(f"v1={expected}", signature):
            self.refused += 1
            return False
        self.taken.append(json.loads(body))
        return True

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(hook) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                timestamp, signature = self.headers["x-tidegate-timestamp"], self.headers["x-tidegate-signature"]
                self.send_response(204 if hook.take(timestamp, signature, body) else 403)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                return

        return Handler


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()
    yield found
    found.close()


def _quota(namespace: str, hook: Hook | None = None, **more: Any) -> Manifest:
    limit = {"unit": "Requests", "amount": str(AMOUNT), "window": {"calendar": "Year"}, "alertAt": [50, 100]}
    notify = {"notify": {"url": hook.url, "secretRef": {"name": "hook", "key": "secret"}}} if hook else {}
    return custom(
        "Quota", namespace, "yearly", {"targetRefs": [{"kind": "Namespace"}], "limits": [limit], **notify, **more}
    )


def _key(namespace: str) -> str:
    return f"caller-key-of-{namespace}"


def _declare(system: System, namespace: str, quota: Manifest) -> None:
    system.apply(
        *tenant(namespace, _key(namespace), model=namespace), secret(namespace, "hook", {"secret": SECRET}), quota
    )
    system.wait_for(quota, "Ready")


def _use(system: System, model: str, calls: int) -> None:
    """So many calls that are let pass, from one data plane after the other."""
    admitted = 0

    def call() -> bool:
        nonlocal admitted
        for plane in system.planes:
            if admitted < calls and ask(plane.url, key=_key(model), model=model).status == 200:
                admitted += 1
        return admitted == calls

    wait_until(call, what=f"{calls} calls to be let pass", deadline=20.0)


def _status(system: System, quota: Manifest) -> Any:
    return system.admin.get(path_of(quota)).get("status", {})


def _events(system: System, namespace: str) -> list[Any]:
    return list(system.admin.list(f"/api/v1/namespaces/{namespace}/events"))


def _reasons(system: System, namespace: str) -> list[str]:
    return sorted(event["reason"] for event in _events(system, namespace))


def test_a_threshold_is_one_event_one_webhook_and_a_new_status(
    system: System, kubectl: Kubectl, namespace: str, hook: Hook
) -> None:
    quota = _quota(namespace, hook, accuracy="Exact")
    _declare(system, namespace, quota)
    wait_until(lambda: _status(system, quota).get("store") == "Connected", what="the store to be told", deadline=20.0)
    status = _status(system, quota)
    assert status["overrunBound"].startswith("0 (failureMode: Closed)")
    assert (status["used"], status["limit"], status["percent"]) == ("0", "10", 0)

    _use(system, namespace, 5)
    took = wait_until(lambda: len(_events(system, namespace)) == 1, what="the Event", deadline=5.0)
    assert took < 2
    (event,) = _events(system, namespace)
    assert (event["type"], event["reason"]) == ("Warning", "QuotaThresholdCrossed")
    assert event["message"].startswith(f"50 % of Requests per Year used by {namespace}/caller: 5 of 10, until ")
    assert event["involvedObject"]["uid"] == system.admin.get(path_of(quota))["metadata"]["uid"]
    assert "QuotaThresholdCrossed" in kubectl.run("describe", "quotas", "yearly", "-n", namespace)
    wait_until(lambda: _status(system, quota)["percent"] == 50, what="the status", deadline=5.0)
    wait_until(lambda: len(hook.taken) == 1, what="the webhook", deadline=5.0)

    # Whoever operates next must not tell it again.
    system.operator.kill9()
    system.start_operator()
    _use(system, namespace, 5)
    wait_until(lambda: len(_events(system, namespace)) == 2, what="the second Event", deadline=40.0)
    wait_until(lambda: _status(system, quota)["percent"] == 100, what="the status", deadline=10.0)
    wait_until(lambda: len(hook.taken) == 2, what="the second webhook", deadline=5.0)
    assert [told["threshold"] for told in hook.taken] == [50, 100]
    assert hook.refused == 0
    status = _status(system, quota)
    assert status["top"][0]["scope"] == f"{namespace}/caller"
    assert status["fullest"] == f"Requests per Year of {namespace}/caller"
    header, row = kubectl.run("get", "quotas", "-n", namespace).splitlines()
    assert header.split() == [
        *("NAME", "READY", "REASON", "ACCURACY", "USED", "LIMIT", "PERCENT", "RESETS", "PER", "AGE"),
    ]
    assert row.split()[:7] == ["yearly", "True", "Ready", "Exact", "10", "10", "100"]
    log = system.operator.log_text()
    assert "orbidden" not in log
    assert "rejected" not in log
    assert SECRET not in log + "".join(plane.process.log_text() for plane in system.planes)


def test_what_each_data_plane_counts_by_itself_is_added_up(system: System, namespace: str) -> None:
    quota = _quota(namespace)
    _declare(system, namespace, quota)
    wait_until(lambda: "overrunBound" in _status(system, quota), what="the bound", deadline=20.0)
    assert _status(system, quota)["overrunBound"].startswith("(2 - 1) x amount = 10 Requests per Year")
    _use(system, namespace, 14)
    # Each has crossed half of it, which is one threshold of one cluster.
    wait_until(lambda: _status(system, quota).get("percent") == 140, what="the sum", deadline=45.0)
    status = _status(system, quota)
    assert (status["used"], status["limit"], status["store"]) == ("14", "10", "NotUsed")
    assert _reasons(system, namespace) == ["QuotaThresholdCrossed"]


def test_a_store_that_goes_and_comes_back_is_told_on_those_quotas_that_need_it(
    system: System, store: RedisServer, make_namespace: Any
) -> None:
    shared, local = make_namespace("shared"), make_namespace("local")
    quota, other = _quota(shared, accuracy="Leased"), _quota(local)
    _declare(system, shared, quota)
    _declare(system, local, other)
    _use(system, shared, 1)
    wait_until(lambda: _status(system, quota).get("store") == "Connected", what="the store to be told", deadline=20.0)
    asyncio.run(store.kill())

    def lost() -> bool:
        return str(_status(system, quota).get("store", "")).startswith("Unavailable")

    wait_until(lost, what="the loss to be told", deadline=30.0)
    asyncio.run(store.start())
    wait_until(lambda: _status(system, quota).get("store") == "Connected", what="the store to be back", deadline=30.0)
    wait_until(lambda: len(_events(system, shared)) >= 2, what="both Events", deadline=10.0)
    assert _reasons(system, shared) == ["QuotaStoreRecovered", "QuotaStoreUnavailable"]
    assert _events(system, local) == []
    assert _status(system, other)["store"] == "NotUsed"
