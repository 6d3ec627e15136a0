"""What becomes of calls that go beyond a quota, through a real data plane."""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from dataplane.factory import (
    KEY,
    NAMESPACE,
    OTHER_KEY,
    bundle_of,
    consumer,
    mock_backend,
    policy,
    route,
    shard,
    source,
    target,
)
from dataplane.planes import running
from dataplane.raw_http import RawAnswer, admin, chat, exchange, request
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.entries import (
    Accuracy,
    CalendarPeriod,
    ConsumerEntry,
    Effect,
    ExtraAmount,
    KeyScope,
    LimitEntry,
    OnExceed,
    QuotaEntry,
    QuotaScope,
    RuleEntry,
    TargetEntry,
    TargetKind,
    TargetRef,
    Unit,
    WindowEntry,
)

YEAR = WindowEntry(calendar=CalendarPeriod.YEAR)
HERE = (TargetRef(kind=TargetKind.NAMESPACE),)


def requests(amount: int, **fields: Any) -> LimitEntry:
    defaults: dict[str, Any] = {"window": YEAR}
    return LimitEntry(unit=Unit.REQUESTS, amount=amount, **(defaults | fields))


def quota(*limits: LimitEntry, name: str = "budget", **fields: Any) -> QuotaEntry:
    defaults: dict[str, Any] = {"per": QuotaScope.CONSUMER, "target_refs": HERE}
    return QuotaEntry(source=source(name), limits=limits, **(defaults | fields))


def world(
    *quotas: QuotaEntry,
    attached: Sequence[str] = ("budget",),
    targets: tuple[TargetEntry, ...] = (target("main"),),
    consumers: Sequence[ConsumerEntry] = (),
    rules: tuple[RuleEntry, ...] | None = None,
    models: tuple[str, ...] = ("chat-fast",),
    latency_ms: int = 0,
) -> Bundle:
    backends = [mock_backend(name, reply=f"from {name}", latency_ms=latency_ms) for name in ("main", "other", "cheap")]
    routes = [route(targets=targets, quotas=tuple(attached), models=models, retry_attempts=0)]
    return bundle_of(
        shard(backends=backends, routes=routes, quotas=quotas, consumers=consumers, policies=[policy(rules=rules)])
    )


CHEAP = replace(target("cheap"), fallback=True)


async def ask(plane: DataPlane, *, key: str = KEY, **fields: Any) -> RawAnswer:
    return await exchange(plane, request(chat(**fields), key=key))


def said(found: RawAnswer) -> str:
    return str(found.json()["choices"][0]["message"]["content"])


def refused(found: RawAnswer) -> str:
    assert found.status == 429, found
    return str(found.json()["error"]["message"])


async def test_the_refusal_says_which_quota_whose_used_limit_and_when_it_resets() -> None:
    async with running(world(quota(requests(1)))) as plane:
        assert (await ask(plane)).status == 200
        found = await ask(plane)
    message = refused(found)
    year = time.gmtime().tm_year + 1
    assert f"Quota {NAMESPACE}/budget rule" not in message
    assert f"Quota {NAMESPACE}/budget Requests of {NAMESPACE}/search is used up (1 of 1" in message
    assert f"resets at {year}-01-01T00:00:00Z" in message
    assert int(found.headers["retry-after"]) > 0
    assert (found.headers["x-ratelimit-limit-requests"], found.headers["x-ratelimit-remaining-requests"]) == ("1", "0")


async def test_fallback_goes_to_the_cheaper_target_and_says_so() -> None:
    limit = requests(1, on_exceed=OnExceed.FALLBACK)
    async with running(world(quota(limit), targets=(target("main"), CHEAP))) as plane:
        first, second, third = [await ask(plane) for _ in range(3)]
    assert (said(first), "x-tidegate-fallback" in first.headers) == ("from main", False)
    assert (said(second), said(third)) == ("from cheap", "from cheap")
    assert second.headers["x-tidegate-fallback"] == f"Quota {NAMESPACE}/budget Requests"


async def test_fallback_without_a_fallback_target_refuses() -> None:
    async with running(world(quota(requests(1, on_exceed=OnExceed.FALLBACK)))) as plane:
        assert (await ask(plane)).status == 200
        refused(await ask(plane))


async def test_fallback_keeps_within_the_other_limits() -> None:
    both = quota(requests(1, on_exceed=OnExceed.FALLBACK), requests(2, window=WindowEntry(sliding_ms=86_400_000)))
    async with running(world(both, targets=(target("main"), CHEAP))) as plane:
        assert [said(await ask(plane)) for _ in range(2)] == ["from main", "from cheap"]
        refused(await ask(plane))


async def test_fallback_goes_nowhere_where_the_rules_close_the_target() -> None:
    rules = (
        RuleEntry(name="all", effect=Effect.ALLOW),
        RuleEntry(name="not-cheap", effect=Effect.DENY, when="backend.name == 'cheap'"),
    )
    limit = requests(1, on_exceed=OnExceed.FALLBACK)
    async with running(world(quota(limit), targets=(target("main"), CHEAP), rules=rules)) as plane:
        assert said(await ask(plane)) == "from main"
        refused(await ask(plane))


async def test_a_fallback_target_takes_no_other_calls() -> None:
    async with running(world(quota(requests(100)), targets=(target("main"), replace(CHEAP, weight=1_000)))) as plane:
        assert {said(await ask(plane)) for _ in range(20)} == {"from main"}


async def test_charge_lets_pass_and_books_what_is_beyond_apart(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    limit = requests(2, on_exceed=OnExceed.CHARGE, overage_price=5_000_000_000)  # 5,000 USD a million: 5 milli-dollars
    async with running(world(quota(limit)), audit=log) as plane:
        assert [(await ask(plane)).status for _ in range(4)] == [200] * 4
    charged = [line.get("overage", 0) for line in map(json.loads, log.read_text().splitlines()) if "event" not in line]
    assert charged == [0, 0, 5_000, 5_000]


async def test_alert_lets_pass() -> None:
    async with running(world(quota(requests(1, on_exceed=OnExceed.ALERT)))) as plane:
        assert [(await ask(plane)).status for _ in range(3)] == [200] * 3


async def test_queue_waits_until_something_is_free_and_no_longer_than_it_may() -> None:
    limit = LimitEntry(unit=Unit.CONCURRENT, amount=1, on_exceed=OnExceed.QUEUE, queue_ms=5_000)
    async with running(world(quota(limit), latency_ms=200)) as plane:
        started = time.monotonic()
        found = await asyncio.gather(*(ask(plane) for _ in range(3)))
        assert [each.status for each in found] == [200] * 3
        assert time.monotonic() - started >= 0.6, "one after another"
    impatient = LimitEntry(unit=Unit.CONCURRENT, amount=1, on_exceed=OnExceed.QUEUE, queue_ms=50)
    async with running(world(quota(impatient), latency_ms=500)) as plane:
        found = await asyncio.gather(*(ask(plane) for _ in range(2)))
    assert sorted(each.status for each in found) == [200, 429]


async def test_concurrency_counts_calls_that_run() -> None:
    limit = LimitEntry(unit=Unit.CONCURRENT, amount=2)
    async with running(world(quota(limit), latency_ms=300)) as plane:
        found = await asyncio.gather(*(ask(plane) for _ in range(4)))
        assert sorted(each.status for each in found) == [200, 200, 429, 429]
        assert "calls are running" in refused(next(each for each in found if each.status == 429))
        assert (await ask(plane)).status == 200


async def test_a_used_up_backend_is_passed_by_and_then_refused() -> None:
    per_backend = quota(requests(2), per=QuotaScope.BACKEND)
    targets = (target("main", weight=1_000_000), target("other", priority=1))
    async with running(world(per_backend, targets=targets)) as plane:
        assert [said(await ask(plane)) for _ in range(4)] == ["from main", "from main", "from other", "from other"]
        assert f"of {NAMESPACE}/" in refused(await ask(plane))
        assert plane.ledger.outstanding == 0


async def test_each_model_has_its_own_and_inventing_models_gains_nothing() -> None:
    per_model = quota(requests(1), per=QuotaScope.MODEL)
    async with running(world(per_model, models=("*",))) as plane:
        assert (await ask(plane, model="a")).status == 200
        assert (await ask(plane, model="b")).status == 200
        refused(await ask(plane, model="a"))
    few = quota(requests(1), per=QuotaScope.KEY, key=KeyScope(expression="request.model", max_values=2))
    async with running(world(few, models=("*",))) as plane:
        statuses = [(await ask(plane, model=f"m{number}")).status for number in range(6)]
    assert statuses == [200, 200, 200, 429, 429, 429], "two of their own, and one for all others"


async def test_a_key_that_cannot_be_read_shares_one_counter() -> None:
    by_header = quota(
        requests(1), per=QuotaScope.KEY, key=KeyScope(expression="request.headers['x-project']", max_values=10)
    )
    async with running(world(by_header)) as plane:
        assert (await ask(plane)).status == 200
        assert "(error)" in refused(await ask(plane))
        project = request(chat(), key=KEY, headers=("x-project: one",))
        assert (await exchange(plane, project)).status == 200


async def test_a_parent_counts_the_children_of_all() -> None:
    team = quota(requests(3), name="team", per=QuotaScope.NAMESPACE, target_refs=())
    child = quota(requests(2), parent=f"{NAMESPACE}/team")
    people = [consumer("search"), consumer("ads", key=OTHER_KEY)]
    async with running(world(team, child, consumers=people)) as plane:
        assert [(await ask(plane)).status for _ in range(3)] == [200, 200, 429]
        assert (await ask(plane, key=OTHER_KEY)).status == 200
        assert f"{NAMESPACE}/team" in refused(await ask(plane, key=OTHER_KEY))


async def test_a_parent_that_is_missing_closes() -> None:
    async with running(world(quota(requests(2), parent=f"{NAMESPACE}/gone"))) as plane:
        found = await ask(plane)
    assert (found.status, found.json()["error"]["code"]) == (503, "policy_unavailable")


async def test_a_grant_adds_while_it_lasts_and_for_whom_it_is() -> None:
    now = int(time.time())
    grants = (
        ExtraAmount("launch", Unit.REQUESTS, 1, now + 3600, scope=f"{NAMESPACE}/search"),
        ExtraAmount("over", Unit.REQUESTS, 50, now - 1),
        ExtraAmount("later", Unit.REQUESTS, 50, now + 7200, now + 3600),
        ExtraAmount("tokens", Unit.TOKENS, 50, now + 3600),
    )
    people = [consumer("search"), consumer("ads", key=OTHER_KEY)]
    async with running(world(quota(requests(1), grants=grants), consumers=people)) as plane:
        assert [(await ask(plane)).status for _ in range(3)] == [200, 200, 429]
        assert [(await ask(plane, key=OTHER_KEY)).status for _ in range(2)] == [200, 429]


async def test_a_tier_has_its_own_amount_and_a_cluster_its_share() -> None:
    tiers = quota(requests(1, tier_amounts={"premium": 6}), share=50)
    people = [consumer("search"), replace(consumer("ads", key=OTHER_KEY), tier="free")]
    async with running(world(tiers, consumers=people)) as plane:
        assert [(await ask(plane)).status for _ in range(4)] == [200, 200, 200, 429]
        assert (await ask(plane, key=OTHER_KEY)).status == 429, "half of one is nothing"


async def test_an_expression_counts_as_it_says() -> None:
    weighted = LimitEntry(
        unit=Unit.EXPRESSION, amount=100_000, window=YEAR, expression="usage.requests * 40000 + usage.outputTokens"
    )
    async with running(world(quota(weighted))) as plane:
        assert [(await ask(plane, max_tokens=100)).status for _ in range(3)] == [200, 200, 429]


async def test_a_shared_limit_without_a_store_refuses_and_says_what_is_missing() -> None:
    async with running(world(quota(requests(5), accuracy=Accuracy.LEASED))) as plane:
        found = await ask(plane)
        assert (found.status, found.json()["error"]["code"]) == (503, "quota_unavailable")
        assert "--store" in found.json()["error"]["message"]
        assert (await admin(plane, "/-/ready")).status == 200
