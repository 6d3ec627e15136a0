"""What a request costs: reserved before, settled after, given back when nothing was used."""

import asyncio

from dataplane.factory import KEY, NAMESPACE, bundle_of, http_backend, route, shard, source, target
from dataplane.planes import running
from dataplane.raw_http import RawAnswer, chat, connect, exchange, request
from dataplane.upstream import Asked, Script, answer, chunk, completion, delta, event, events_head, upstream
from dataplane.waiting import until
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.entries import (
    CalendarPeriod,
    LimitEntry,
    QuotaEntry,
    QuotaScope,
    TargetKind,
    TargetRef,
    Unit,
    WindowEntry,
)

DAY = WindowEntry(calendar=CalendarPeriod.DAY)


def world(endpoint: str, *limits: tuple[Unit, int]) -> Bundle:
    quota = QuotaEntry(
        source=source("daily"),
        target_refs=(TargetRef(kind=TargetKind.NAMESPACE),),
        per=QuotaScope.CONSUMER,
        limits=tuple(LimitEntry(unit=unit, amount=amount, window=DAY) for unit, amount in limits),
    )
    backend = http_backend("one", endpoint)
    routes = [route(targets=(target("one"),), quotas=("daily",), retry_attempts=0)]
    return bundle_of(shard(backends=[backend], routes=routes, quotas=[quota]))


async def ask(plane: DataPlane, **fields: object) -> RawAnswer:
    return await exchange(plane, request(chat(**fields), key=KEY))


def remaining(found: RawAnswer, unit: str = "tokens") -> int:
    return int(found.headers[f"x-ratelimit-remaining-{unit}"])


async def test_the_reservation_is_replaced_by_what_the_provider_reports() -> None:
    async with (
        upstream(answer(completion(usage=(100, 50)))) as provider,
        running(world(provider.url, (Unit.TOKENS, 10_000))) as plane,
    ):
        assert (await ask(plane, max_tokens=1000)).status == 200
        assert remaining(await ask(plane, max_tokens=10_000)) == 10_000 - 150


async def test_a_quota_that_is_used_up_refuses_and_names_itself() -> None:
    async with (
        upstream(answer(completion(usage=(40, 60)))) as provider,
        running(world(provider.url, (Unit.TOKENS, 150))) as plane,
    ):
        assert (await ask(plane, max_tokens=10)).status == 200
        refused = await ask(plane, max_tokens=100)
    assert refused.status == 429
    assert refused.json()["error"]["code"] == "quota_exceeded"
    assert f"Quota {NAMESPACE}/daily" in refused.json()["error"]["message"]
    assert refused.headers["x-ratelimit-limit-tokens"] == "150"
    assert remaining(refused) == 50
    assert len(provider.asked) == 1


async def test_without_max_tokens_a_default_is_reserved() -> None:
    async with upstream(answer(completion())) as provider, running(world(provider.url, (Unit.TOKENS, 1000))) as plane:
        assert (await ask(plane)).status == 429
        assert (await ask(plane, max_tokens=100)).status == 200


async def test_every_choice_is_reserved_for() -> None:
    async with (
        upstream(answer(completion())) as provider,
        running(world(provider.url, (Unit.OUTPUT_TOKENS, 1000))) as plane,
    ):
        assert (await ask(plane, max_tokens=300, n=4)).status == 429
        assert (await ask(plane, max_tokens=300, n=3)).status == 200


async def test_a_provider_that_fails_costs_nothing() -> None:
    async with (
        upstream(answer({"error": {}}, status=500)) as provider,
        running(world(provider.url, (Unit.REQUESTS, 2), (Unit.TOKENS, 2000))) as plane,
    ):
        for _ in range(5):
            assert (await ask(plane)).status == 500
        assert plane.ledger.outstanding == 0


async def test_a_request_that_the_provider_refuses_is_a_request_but_no_tokens() -> None:
    refusal: Script = answer({"error": {"message": "no"}}, status=400)
    async with (
        upstream(refusal) as provider,
        running(world(provider.url, (Unit.REQUESTS, 2), (Unit.TOKENS, 2000))) as plane,
    ):
        assert [(await ask(plane)).status for _ in range(3)] == [400, 400, 429]


async def test_a_caller_that_leaves_in_a_stream_pays_for_what_came() -> None:
    async def endless(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(events_head())
        for _ in range(50):
            writer.write(chunk(event(delta("word "))))
        await writer.drain()
        await asyncio.sleep(60)

    async with (
        upstream(endless, watch=True) as provider,
        running(world(provider.url, (Unit.OUTPUT_TOKENS, 10_000))) as plane,
    ):
        reader, writer = await connect(plane)
        writer.write(request(chat(stream=True, max_tokens=5000), key=KEY))
        await reader.readuntil(b"\n\n")
        await asyncio.sleep(0.1)  # lets the other chunks through; the bounds below hold for any number of them
        writer.close()
        await until(lambda: plane.ledger.outstanding == 0)
        spent = sum(value for (_, way, _), value in plane.metrics.tokens.values.items() if way == "output")
    assert 1 <= spent <= 100
