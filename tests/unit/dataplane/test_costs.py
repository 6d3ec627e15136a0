"""What calls cost, as the audit log and the metrics of a real data plane tell it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from dataplane.factory import KEY, bundle_of, http_backend, mock_backend, route, shard, source, target
from dataplane.planes import running
from dataplane.raw_http import admin, chat, exchange, request
from dataplane.upstream import Asked, answer, chunk, completion, delta, event, events_head, upstream
from tidegate_dataplane.snapshot.entries import (
    BackendEntry,
    CalendarPeriod,
    DefaultPrice,
    LimitEntry,
    OnExceed,
    PriceEntry,
    PriceTable,
    Provider,
    QuotaEntry,
    QuotaScope,
    Shard,
    TargetKind,
    TargetRef,
    Unit,
    WindowEntry,
)

PRICE = PriceEntry(input=150_000, output=600_000, cached_input=75_000)
TABLE = PriceTable(provider=Provider.OPEN_AI, hash="0123456789abcdef" * 4, models={"gpt-4o-mini": PRICE})


def world(backend: BackendEntry, *, model: str = "gpt-4o-mini") -> Shard:
    made = shard(backends=[backend], routes=[route(targets=(target(backend.source.name, model=model),))])
    return replace(made, prices=(TABLE,))


def lines(path: Path) -> list[dict[str, Any]]:
    """Those of requests."""
    return [line for line in map(json.loads, path.read_text().splitlines()) if "event" not in line]


async def told(made: Shard, log: Path, *, calls: int = 1, **fields: Any) -> tuple[dict[str, Any], list[str]]:
    """The last audit line, and the samples of the metrics."""
    async with running(bundle_of(made), audit=log) as plane:
        for _ in range(calls):
            await exchange(plane, request(chat(**fields), key=KEY))
        samples = (await admin(plane, "/metrics")).text.splitlines()
    return lines(log)[-1], samples


async def test_a_served_call_has_the_tables_price(tmp_path: Path) -> None:
    async with upstream(answer(completion(usage=(1000, 100)))) as provider:
        line, samples = await told(world(http_backend("one", provider.url)), tmp_path / "audit.jsonl", calls=2)
    assert (line["cost"], line["priceSource"], line["priceTable"]) == (210, "Table", "0123456789abcdef")
    assert (line["team"], line["tier"]) == ("search", "premium")
    assert 'tidegate_cost_microdollars_total{backend="team-a/one",route="team-a/chat",source="Table"} 420.0' in samples


async def test_a_backends_own_price_holds_instead(tmp_path: Path) -> None:
    async with upstream(answer(completion(usage=(1000, 100)))) as provider:
        own = replace(http_backend("one", provider.url), prices={"gpt-4o-mini": PriceEntry(request=1)})
        line, _ = await told(world(own), tmp_path / "audit.jsonl")
    assert (line["cost"], line["priceSource"]) == (1, "Override")
    assert len(line["priceTable"]) == 16
    assert line["priceTable"] != "0123456789abcdef"


async def test_an_unknown_price_is_told_and_counted_and_never_nothing(tmp_path: Path) -> None:
    async with upstream(answer(completion(usage=(1000, 100)))) as provider:
        line, samples = await told(world(http_backend("one", provider.url), model="llama"), tmp_path / "audit.jsonl")
    assert line["priceSource"] == "Unknown"
    assert "cost" not in line
    assert 'tidegate_unpriced_requests_total{backend="team-a/one",route="team-a/chat"} 1.0' in samples
    assert not any(sample.startswith("tidegate_cost_microdollars_total{") for sample in samples)


async def test_what_costs_nothing_is_said_to_cost_nothing(tmp_path: Path) -> None:
    free = replace(mock_backend(), prices={"chat-fast": PriceEntry()})
    line, _ = await told(world(free, model=""), tmp_path / "audit.jsonl")
    assert (line["cost"], line["priceSource"]) == (0, "Override")


@pytest.mark.parametrize(
    ("asked", "given", "cost"),
    [
        (None, None, 210),
        (None, "default", 210),
        (None, "priority", 420),  # a project's setting, which no request shows
        ("priority", "priority", 420),
        ("priority", "default", 210),  # the provider had no room
        ("priority", None, 420),
        ("auto", None, 210),
        ("unheard-of", None, 210),
        (17, {"not": "a name"}, 210),
    ],
)
async def test_a_service_tier_has_its_own_price(tmp_path: Path, asked: Any, given: Any, cost: int) -> None:
    priority = PriceEntry(input=300_000, output=1_200_000)
    table = replace(TABLE, models={"gpt-4o-mini": replace(PRICE, services={"priority": priority})})
    body = completion(usage=(1000, 100)) | ({} if given is None else {"service_tier": given})
    fields = {} if asked is None else {"service_tier": asked}
    async with upstream(answer(body)) as provider:
        made = replace(world(http_backend("one", provider.url)), prices=(table,))
        line, _ = await told(made, tmp_path / "audit.jsonl", **fields)
    assert line["cost"] == cost
    assert line["tokens"].get("service") == ("priority" if given == "priority" else None)


async def test_a_stream_costs_what_its_last_event_reports(tmp_path: Path) -> None:
    priority = PriceEntry(input=300_000, output=1_200_000, cached_input=150_000)
    table = replace(TABLE, models={"gpt-4o-mini": replace(PRICE, services={"priority": priority})})
    last = delta(None, usage=(1000, 100)) | {"service_tier": "priority"}
    last["usage"]["prompt_tokens_details"] = {"cached_tokens": 400}

    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(events_head())
        for data in (delta("Hi"), delta(None, finish="stop") | {"choices": []}, last, b"[DONE]"):
            writer.write(chunk(event(data)))
        writer.write(chunk(b""))
        await writer.drain()

    async with upstream(script) as provider:
        made = replace(world(http_backend("one", provider.url)), prices=(table,))
        line, _ = await told(made, tmp_path / "audit.jsonl", stream=True)
    assert line["tokens"] == {
        "input": 1000,
        "output": 100,
        "source": "Reported",
        "cached": 400,
        "service": "priority",
    }
    assert line["cost"] == 600 * 3 // 10 + 400 * 15 // 100 + 100 * 12 // 10


@pytest.mark.parametrize("status", [400, 500])
async def test_a_call_that_no_provider_did_has_no_cost(tmp_path: Path, status: int) -> None:
    async with upstream(answer({"error": {"message": "no"}}, status=status)) as provider:
        line, _ = await told(world(http_backend("one", provider.url)), tmp_path / "audit.jsonl")
    assert not {"cost", "priceSource", "priceTable"} & line.keys()


async def test_a_changed_price_holds_from_the_reload_on(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    async with upstream(answer(completion(usage=(1000, 100)))) as provider:
        made = world(http_backend("one", provider.url))
        dearer = replace(TABLE, hash="f" * 64, models={"gpt-4o-mini": PriceEntry(input=300_000, output=1_200_000)})
        async with running(bundle_of(made), audit=log) as plane:
            await exchange(plane, request(chat(), key=KEY))
            await plane.reloader.offer(bundle_of(replace(made, prices=(dearer,)), revision=2))
            await exchange(plane, request(chat(), key=KEY))
            await plane.reloader.offer(bundle_of(replace(made, prices=()), revision=3))
            await exchange(plane, request(chat(), key=KEY))
    assert [(line.get("cost"), line.get("priceTable")) for line in lines(log)] == [
        (210, "0123456789abcdef"),
        (420, "f" * 16),
        (None, None),
    ]


def budget(amount: int, default: DefaultPrice | None = None) -> QuotaEntry:
    """So many micro-dollars a day for the whole gateway."""
    limit = LimitEntry(
        unit=Unit.COST, amount=amount, window=WindowEntry(calendar=CalendarPeriod.DAY), default_price=default
    )
    return QuotaEntry(
        source=source("budget"),
        target_refs=(TargetRef(kind=TargetKind.NAMESPACE),),
        per=QuotaScope.GATEWAY,
        limits=(limit,),
    )


def limited(made: Shard, quota: QuotaEntry) -> Shard:
    routes = tuple(replace(each, quotas=("team-a/budget",)) for each in made.routes)
    return replace(made, routes=routes, quotas=(quota,))


async def statuses(made: Shard, log: Path, *, calls: int, **fields: Any) -> list[int]:
    async with running(bundle_of(made), audit=log) as plane:
        return [(await exchange(plane, request(chat(**fields), key=KEY))).status for _ in range(calls)]


async def test_a_budget_is_charged_with_what_calls_cost_and_never_exceeded(tmp_path: Path) -> None:
    """A call may cost at most 1000 output tokens at 0.6 micro-dollars and its prompt; it does cost 210."""
    log = tmp_path / "audit.jsonl"
    async with upstream(answer(completion(usage=(1000, 100)))) as provider:
        made = limited(world(http_backend("one", provider.url)), budget(1_300))
        found = await statuses(made, log, calls=6, max_tokens=1000)
    assert found == [200, 200, 200, 200, 429, 429]
    assert sum(line.get("cost", 0) for line in lines(log)) == 840


async def test_a_budget_refuses_what_nobody_knows_the_price_of(tmp_path: Path) -> None:
    async with upstream(answer(completion())) as provider:
        made = limited(world(http_backend("one", provider.url), model="llama"), budget(1_000_000))
        assert await statuses(made, tmp_path / "audit.jsonl", calls=1) == [403]
        assert not provider.asked
    (line,) = lines(tmp_path / "audit.jsonl")
    assert line["code"] == "price_unknown"


async def test_a_budget_of_others_does_not_ask_for_a_price(tmp_path: Path) -> None:
    """It speaks of the tier free, and the caller is of premium."""
    async with upstream(answer(completion())) as provider:
        of_others = replace(budget(1), tiers=("free",))
        made = limited(world(http_backend("one", provider.url), model="llama"), of_others)
        assert await statuses(made, tmp_path / "audit.jsonl", calls=2) == [200, 200]


async def test_an_expression_over_cost_knows_what_calls_cost(tmp_path: Path) -> None:
    """Micro-dollars: a call may cost at most about 600 of 1,300, and does cost 210."""
    limit = LimitEntry(
        unit=Unit.EXPRESSION,
        amount=1_300,
        expression="usage.cost * 1000000.0",
        window=WindowEntry(calendar=CalendarPeriod.DAY),
    )
    quota = replace(budget(1), limits=(limit,))
    async with upstream(answer(completion(usage=(1000, 100)))) as provider:
        made = limited(world(http_backend("one", provider.url)), quota)
        assert await statuses(made, tmp_path / "one.jsonl", calls=6, max_tokens=1000) == [200, 200, 200, 200, 429, 429]
        unknown = limited(world(http_backend("one", provider.url), model="llama"), quota)
        assert await statuses(unknown, tmp_path / "other.jsonl", calls=1) == [403]


async def test_a_budget_may_say_what_is_charged_where_nobody_knows(tmp_path: Path) -> None:
    default = DefaultPrice(input=1_000_000, output=2_000_000)
    async with upstream(answer(completion(usage=(1000, 100)))) as provider:
        made = limited(world(http_backend("one", provider.url), model="llama"), budget(1_000_000, default))
        line, samples = await told(made, tmp_path / "audit.jsonl")
    assert (line["cost"], line["priceSource"]) == (1_200, "Default")
    assert (
        'tidegate_cost_microdollars_total{backend="team-a/one",route="team-a/chat",source="Default"} 1200.0' in samples
    )


async def test_what_a_quota_charges_beyond_its_amount_is_booked_apart(tmp_path: Path) -> None:
    """1,000 tokens a day, and ten micro-dollars for each one beyond; a call takes 1,100."""
    log = tmp_path / "audit.jsonl"
    limit = LimitEntry(
        unit=Unit.TOKENS,
        amount=1_000,
        window=WindowEntry(calendar=CalendarPeriod.DAY),
        on_exceed=OnExceed.CHARGE,
        overage_price=10_000_000,
    )
    async with upstream(answer(completion(usage=(1000, 100)))) as provider:
        made = limited(world(http_backend("one", provider.url)), replace(budget(1), limits=(limit,)))
        assert await statuses(made, log, calls=2) == [200, 200]
    assert [(line["cost"], line["overage"]) for line in lines(log)] == [(210, 1_000), (210, 11_000)]


async def test_a_cheaper_tier_that_is_only_asked_for_saves_nothing_of_the_reservation() -> None:
    """The provider may answer in its standard tier: a call that would then go over the budget is not let in."""
    flex = PriceEntry(input=15_000, output=60_000)
    table = replace(TABLE, models={"gpt-4o-mini": replace(PRICE, services={"flex": flex})})
    budget = QuotaEntry(
        source=source("budget"),
        target_refs=(TargetRef(kind=TargetKind.NAMESPACE),),
        per=QuotaScope.CONSUMER,
        limits=(LimitEntry(unit=Unit.COST, amount=300, window=WindowEntry(calendar=CalendarPeriod.YEAR)),),
    )
    async with upstream(answer(completion(usage=(10, 1000)))) as provider:
        routes = [route(targets=(target("one", model="gpt-4o-mini"),), quotas=("budget",))]
        made = shard(backends=[http_backend("one", provider.url)], routes=routes, quotas=[budget])
        async with running(bundle_of(replace(made, prices=(table,)))) as plane:
            found = await exchange(plane, request(chat(service_tier="flex", max_tokens=1000), key=KEY))
    assert found.status == 429
