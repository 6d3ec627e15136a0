"""The audit log: every decision once, nothing secret, and never in the way."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import convert
from msgspec.structs import replace

from dataplane.factory import KEY, OTHER_KEY, bundle_of, http_backend, policy, route, shard, target
from dataplane.planes import running
from dataplane.raw_http import admin, chat, exchange, request
from dataplane.upstream import answer, completion, upstream
from dataplane.waiting import until
from tidegate_dataplane.engine.decision import Step
from tidegate_dataplane.engine.explain_text import deciding
from tidegate_dataplane.snapshot.entries import (
    Effect,
    Mode,
    PlanEntry,
    RateLimitEntry,
    RateLimitScope,
    RuleEntry,
    SubscriberEntry,
)


def lines(path: Path) -> list[dict[str, Any]]:
    """Those of requests."""
    return [line for line in map(json.loads, path.read_text().splitlines()) if "event" not in line]


async def test_a_served_request_leaves_one_line_with_all_that_was_decided(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    async with upstream(answer(completion(usage=(5, 7)))) as provider:
        backend = replace(http_backend("one", provider.url), versions={"gpt-4o": "2024-08-06"})
        world = shard(backends=[backend], routes=[route(targets=(target("one", model="gpt-4o"),))])
        async with running(bundle_of(world, revision=4), audit=log) as plane:
            found = await exchange(plane, request(chat(), key=KEY))
    (line,) = lines(log)
    assert line["requestId"] == found.headers["x-request-id"]
    assert (line["outcome"], line["status"], line["revision"]) == ("Served", 200, 4)
    assert (line["consumer"], line["key"], line["method"]) == ("team-a/search", "main", "APIKey")
    assert (line["route"], line["model"], line["operation"]) == ("team-a/chat", "chat-fast", "Chat")
    assert line["credentials"] == ["main"]
    assert line["target"] == {"backend": "team-a/one", "model": "gpt-4o"}
    assert line["version"] == "2024-08-06"
    assert line["tokens"] == {"input": 5, "output": 7, "source": "Reported"}
    assert line["bytesIn"] == len(chat())
    assert line["bytesOut"] == len(found.body)
    assert line["attempts"] == 1
    assert line["latencyMs"] >= line["upstreamMs"] > 0
    assert line["latencyMs"] >= line["decisionMs"] > 0
    assert "why" not in line
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


async def test_a_denial_says_why_in_the_words_of_explain(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    rules = (
        RuleEntry(name="staff", effect=Effect.ALLOW, roles=("staff",)),
        RuleEntry(name="open-model", effect=Effect.ALLOW, models=("open-*",)),
    )
    question = b'{"model": "chat-fast", "consumer": "team-a/search"}'
    async with running(bundle_of(shard(policies=[policy(rules=rules)])), audit=log) as plane:
        await exchange(plane, request(chat(), key=KEY))
        steps = convert((await admin(plane, "/-/explain", question)).json()["steps"], list[Step])
    (line,) = lines(log)
    assert line["why"] == deciding(steps)
    assert "AIPolicy team-a/open: none of its Allow rules matches" in line["why"]
    assert "the rule names [staff]" in line["why"]


async def test_refusals_before_and_after_the_rules_say_why_too(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    limit = RateLimitEntry(name="slow", per=RateLimitScope.CONSUMER, requests=1, period_ms=60_000, burst=1)
    async with running(bundle_of(shard(policies=[policy(rate_limits=(limit,))])), audit=log) as plane:
        for key in (KEY, KEY, OTHER_KEY, None):
            await exchange(plane, request(chat(), key=key))
    _, limited, unknown, keyless = lines(log)
    assert limited["why"].startswith("429 rate_limit_exceeded: AIPolicy team-a/open slow of team-a/search is reached")
    assert unknown["why"].startswith("401 invalid_api_key: The API key is not valid")
    # Nobody knows this caller: a flood of such calls must not be decided twice.
    assert keyless["why"].startswith("401 invalid_api_key: No API key was given")


async def test_a_line_names_the_subscription_that_gave_access_and_its_plan(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    subscriber = SubscriberEntry(subscription="team-a/search-chat", consumer="team-a/search", plan="gold")
    chosen = replace(route(), plans=(PlanEntry(name="gold"),), subscribers=(subscriber,))
    async with running(bundle_of(shard(routes=[chosen])), audit=log) as plane:
        assert (await exchange(plane, request(chat(), key=KEY))).status == 200
    (line,) = lines(log)
    assert (line["subscription"], line["plan"]) == ("team-a/search-chat", "gold")


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


async def test_what_a_caller_writes_stays_in_its_field_and_short(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    forged = '","outcome":"Served","x":"' + "y" * 3000
    async with running(bundle_of(shard()), audit=log) as plane:
        await exchange(plane, request(chat(), key=KEY, path="/v1/" + forged))
        await exchange(plane, request(chat(), key=KEY, headers=("x-request-id: a\u0085b", "Host: \u0085\u009b31m")))
    text = log.read_text()
    assert text.isascii()
    assert len(text.splitlines()) == text.count("\n") == 4
    rejected, served = lines(log)
    assert (rejected["outcome"], "x" in rejected) == ("Rejected", False)
    assert rejected["path"].startswith('/v1/","outcome":"Served"')
    assert len(rejected["path"]) <= 1024
    assert served["requestId"].isalnum()
    assert "\u0085" in served["host"]


async def test_a_rate_limit_that_is_only_tried_tells_whom_it_would_have_refused(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    limit = RateLimitEntry(name="slow", per=RateLimitScope.CONSUMER, requests=1, period_ms=3_600_000, burst=1)
    tried = replace(policy("tried", rate_limits=(limit,)), mode=Mode.SHADOW)
    world = shard(routes=[route(policies=("open", "tried"))], policies=[policy(), tried])
    async with running(bundle_of(world), audit=log) as plane:
        found = [(await exchange(plane, request(chat(), key=KEY))).status for _ in range(2)]
        samples = (await admin(plane, "/metrics")).text.splitlines()
    assert found == [200, 200]
    first, second = lines(log)
    assert "shadow" not in first
    assert second["shadow"] == [{"kind": "AIPolicy", "key": "team-a/tried", "generation": 1, "rule": "slow"}]
    assert any(
        sample.startswith("tidegate_shadow") and "slow" in sample and sample.endswith(" 1.0") for sample in samples
    )
