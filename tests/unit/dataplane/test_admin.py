"""The admin port, as an operator, a kubelet and Prometheus see it."""

import asyncio
import json
from typing import Any

from dataplane.factory import KEY, bundle_of, policy, shard
from dataplane.planes import running
from dataplane.raw_http import admin, chat, exchange, request
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.entries import Effect, RuleEntry


async def get(plane: DataPlane, path: str) -> tuple[int, Any]:
    answer = await admin(plane, path)
    return answer.status, answer.json() if "json" in answer.headers["content-type"] else answer.text


async def test_ready_only_with_a_snapshot_and_live_always() -> None:
    async with running() as plane:
        assert (await get(plane, "/-/live"))[0] == 200
        assert (await get(plane, "/-/ready"))[0] == 503
        answer = await exchange(plane, request(chat(), key=KEY))
        assert (answer.status, answer.json()["error"]["code"]) == (503, "not_ready")
        await plane.reloader.offer(bundle_of(shard()))
        assert (await get(plane, "/-/ready"))[0] == 200


async def test_status_tells_what_is_served_and_what_was_refused() -> None:
    async with running(bundle_of(shard(), revision=7)) as plane:
        _, status = await get(plane, "/-/status")
        assert (status["gateway"], status["revision"], status["ready"]) == ("default", 7, True)
        assert status["cluster"] == {"name": "test"}
        objects = {"routes": 1, "backends": 1, "consumers": 1, "policies": 1, "quotas": 0}
        assert status["counts"] == {**objects, "lists": 0, "listEntries": 0}
        assert (status["lastRefusal"], status["refusals"]) == (None, 0)
        await plane.reloader.offer(Bundle(b"{", {}))
        _, status = await get(plane, "/-/status")
        assert (status["revision"], status["refusals"]) == (7, 1)
        assert status["lastRefusal"]["reason"] == "Corrupted"
        assert "index" in status["lastRefusal"]["message"]


async def test_status_waits_for_a_revision() -> None:
    async with running(bundle_of(shard())) as plane:
        waiting = asyncio.create_task(get(plane, "/-/status?waitRevision=2&timeoutSeconds=30"))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await plane.reloader.offer(bundle_of(shard(), revision=2))
        _, status = await asyncio.wait_for(waiting, 2)
        assert status["revision"] == 2


async def test_status_stops_waiting_when_that_revision_is_refused_or_time_is_up() -> None:
    async with running(bundle_of(shard())) as plane:
        _, status = await get(plane, "/-/status?waitRevision=2&timeoutSeconds=0.05")
        assert status["revision"] == 1
        waiting = asyncio.create_task(get(plane, "/-/status?waitRevision=2&timeoutSeconds=30"))
        await asyncio.sleep(0.05)
        await plane.reloader.offer(bundle_of(shard(), revision=2, gateway="other"))
        _, status = await asyncio.wait_for(waiting, 2)
        assert status["lastRefusal"]["revision"] == 2
        assert (await get(plane, "/-/status?waitRevision=soon"))[0] == 400


async def test_metrics_count_requests_tokens_and_reloads() -> None:
    async with running(bundle_of(shard(), revision=3)) as plane:
        await exchange(plane, request(chat(), key=KEY))
        await exchange(plane, request(chat(), key="nobody"))
        _, text = await get(plane, "/metrics")
    lines = text.splitlines()
    assert 'tidegate_requests_total{code="",operation="Chat",route="team-a/chat",status="200"} 1.0' in lines
    assert 'tidegate_requests_total{code="invalid_api_key",operation="",route="(none)",status="401"} 1.0' in lines
    assert any(line.startswith('tidegate_tokens_total{direction="output"') for line in lines)
    assert "tidegate_revision 3.0" in lines
    assert 'tidegate_reloads_total{result="Loaded"} 1.0' in lines
    assert 'tidegate_upstream_seconds_count{route="team-a/chat"} 1.0' in lines


async def test_explain_answers_what_the_proxy_would_decide() -> None:
    rule = RuleEntry(name="no-chat", effect=Effect.DENY)
    async with running(bundle_of(shard(policies=[policy(rules=(rule,))]))) as plane:
        proxied = await exchange(plane, request(chat(), key=KEY))
        question = {"model": "chat-fast", "consumer": "team-a/search", "path": "/v1/chat/completions"}
        answer = (await admin(plane, "/-/explain", json.dumps(question).encode())).json()
        assert answer["admitted"] is False
        assert answer["denial"]["message"] == proxied.json()["error"]["message"]
        assert answer["consumer"] == "AIConsumer team-a/search"
        nobody = (await admin(plane, "/-/explain", b'{"model": "chat-fast"}')).json()
        assert nobody["denial"]["status"] == 401
        for wrong in (b"{", b"{}", b'{"model": "m", "consumer": "no/one"}', b'{"model": "m", "key": "k"}'):
            refused = await admin(plane, "/-/explain", wrong)
            assert refused.status == 400
            assert refused.json()["error"]
