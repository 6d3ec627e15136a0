"""What rules leave out is never asked, not even when all that is left has failed."""

from contextlib import AsyncExitStack

from msgspec.structs import replace

from dataplane.factory import KEY, bundle_of, http_backend, policy, route, shard, target
from dataplane.planes import running
from dataplane.raw_http import chat, exchange, request
from dataplane.upstream import answer, completion, upstream
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.entries import BackendEntry, Effect, Location, RetryOn, RuleEntry

SENSITIVE = RuleEntry(
    name="sensitive-stays-here",
    effect=Effect.DENY,
    when="'x-sensitivity' in request.headers && backend.jurisdiction != 'EU'",
)


def world(*backends: BackendEntry) -> Bundle:
    tiers = tuple(target(each.source.name, priority=number) for number, each in enumerate(backends))
    guarded = policy(rules=(SENSITIVE,))
    aimed = route(targets=tiers, retry_attempts=4, retry_on=(RetryOn.SERVER_ERROR,))
    return bundle_of(shard(backends=backends, routes=(aimed,), policies=(guarded,)))


def at(name: str, url: str, jurisdiction: str) -> BackendEntry:
    return replace(http_backend(name, url), location=Location(jurisdiction=jurisdiction))


async def test_sensitive_calls_never_leave_the_jurisdiction_while_others_fail_over() -> None:
    broken = answer({"error": {"message": "busy"}}, status=503)
    async with AsyncExitStack() as stack:
        abroad = await stack.enter_async_context(upstream(answer(completion("abroad"))))
        here = await stack.enter_async_context(upstream(broken))
        spare = await stack.enter_async_context(upstream(answer(completion("spare"))))
        backends = (at("here", here.url, "EU"), at("abroad", abroad.url, "US"), at("spare", spare.url, "EU"))
        plane = await stack.enter_async_context(running(world(*backends)))
        plain = await exchange(plane, request(chat(), key=KEY))
        sensitive = await exchange(plane, request(chat(), key=KEY, headers=("x-sensitivity: high",)))
    assert (plain.status, sensitive.status) == (200, 200)
    assert (len(here.asked), len(abroad.asked), len(spare.asked)) == (2, 1, 1)
    assert sensitive.json()["choices"][0]["message"]["content"] == "spare"


async def test_a_call_without_a_target_left_is_refused_and_nobody_asked() -> None:
    async with upstream(answer(completion())) as abroad, running(world(at("abroad", abroad.url, "US"))) as plane:
        refused = await exchange(plane, request(chat(), key=KEY, headers=("x-sensitivity: high",)))
        assert (refused.status, refused.json()["error"]["code"]) == (403, "permission_denied")
        assert "sensitive-stays-here" in refused.json()["error"]["message"]
        assert not abroad.asked
        assert (await exchange(plane, request(chat(), key=KEY))).status == 200
