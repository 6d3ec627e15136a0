"""The audit log: every decision once, nothing secret, and never in the way."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dataplane.factory import KEY, bundle_of, http_backend, policy, route, shard, target
from dataplane.planes import running
from dataplane.raw_http import chat, exchange, request
from dataplane.upstream import answer, completion, upstream
from dataplane.waiting import until
from tidegate_dataplane.audit import AuditRecord
from tidegate_dataplane.snapshot.entries import Effect, RuleEntry


def record(number: int = 0) -> AuditRecord:
    return AuditRecord(
        time=datetime.fromtimestamp(0, UTC),
        request_id=str(number),
        outcome="Served",
        status=200,
        gateway="default",
        revision=1,
        latency_ms=1.0,
        bytes_in=1,
        bytes_out=1,
    )


def lines(path: Path) -> list[dict[str, Any]]:
    """Those of requests."""
    return [line for line in map(json.loads, path.read_text().splitlines()) if "event" not in line]


async def test_a_served_request_leaves_one_line_with_all_that_was_decided(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    async with upstream(answer(completion(usage=(5, 7)))) as provider:
        backend = http_backend("one", provider.url)
        world = shard(backends=[backend], routes=[route(targets=(target("one", model="gpt-4o"),))])
        async with running(bundle_of(world, revision=4), audit=log) as plane:
            found = await exchange(plane, request(chat(), key=KEY))
    (line,) = lines(log)
    assert line["requestId"] == found.headers["x-request-id"]
    assert (line["outcome"], line["status"], line["revision"]) == ("Served", 200, 4)
    assert (line["consumer"], line["key"], line["method"]) == ("team-a/search", "main", "APIKey")
    assert (line["route"], line["model"], line["operation"]) == ("team-a/chat", "chat-fast", "Chat")
    assert line["target"] == {"backend": "team-a/one", "model": "gpt-4o"}
    assert line["tokens"] == {"input": 5, "output": 7, "source": "Reported"}
    assert line["bytesIn"] == len(chat())
    assert line["bytesOut"] == len(found.body)
    assert line["attempts"] == 1
    assert line["latencyMs"] >= line["upstreamMs"] > 0
    assert datetime.fromisoformat(line["time"]).tzinfo is not None


async def test_a_denial_names_the_rule_and_its_generation(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    rule = RuleEntry(name="closed", effect=Effect.DENY)
    async with running(bundle_of(shard(policies=[policy(rules=(rule,))])), audit=log) as plane:
        await exchange(plane, request(chat(), key=KEY))
    (line,) = lines(log)
    assert (line["outcome"], line["status"], line["code"]) == ("Denied", 403, "permission_denied")
    assert line["rule"] == {"kind": "AIPolicy", "key": "team-a/open", "generation": 1, "rule": "closed"}
    assert "tokens" not in line


async def test_a_malformed_request_leaves_a_line_too(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    async with running(bundle_of(shard()), audit=log) as plane:
        await exchange(plane, request(b"{", key=KEY))
    (line,) = lines(log)
    assert (line["outcome"], line["status"], line["code"]) == ("Rejected", 400, "invalid_json")


async def test_lines_are_there_soon_after_the_answer(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    async with running(bundle_of(shard()), audit=log) as plane:
        await exchange(plane, request(chat(), key=KEY))
        await until(lambda: lines(log))
