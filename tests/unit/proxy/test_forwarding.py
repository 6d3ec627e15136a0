"""What a provider sees, and what a caller gets when providers fail."""

import asyncio
import json
from typing import Any

import pytest

from dataplane.factory import KEY, bundle_of, http_backend, mock_backend, route, shard, target
from dataplane.planes import running
from dataplane.raw_http import RawAnswer, chat, exchange, request
from dataplane.upstream import Asked, Upstream, answer, completion, upstream
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.entries import BackendEntry, Operation, Provider, RetryOn, TargetEntry

SECRET = "sk-upstream-credential-abcdef"


def world(*backends: BackendEntry, targets: tuple[TargetEntry, ...] = (), **fields: Any) -> Bundle:
    """One route over these backends, each in a failover tier of its own unless `targets` says otherwise."""
    tiers = tuple(target(each.source.name, priority=number) for number, each in enumerate(backends))
    return bundle_of(shard(backends=backends, routes=[route(targets=targets or tiers, **fields)]))


def one(found: Upstream, **fields: Any) -> Bundle:
    return world(http_backend("one", found.url), **fields)


async def ask(plane: DataPlane, body: bytes | None = None, **fields: Any) -> RawAnswer:
    return await exchange(plane, request(body or chat(), key=KEY, **fields))


async def refused_port() -> int:
    """A port on which nobody listens."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()
    return port


async def test_the_provider_sees_its_own_key_and_none_of_the_callers_secrets() -> None:
    async with upstream(answer(completion())) as provider:
        backend = http_backend("one", provider.url, credential="team-a.openai")
        async with running(world(backend), credentials={"team-a.openai": SECRET.encode() + b"\n"}) as plane:
            headers = ("cookie: session=1", "x-api-key: " + KEY, "user-agent: tests", "openai-organization: mine")
            assert (await ask(plane, headers=(*headers, "x-forwarded-for: 10.1.1.1"))).status == 200
    seen = provider.asked[0]
    assert seen.target == "/v1/chat/completions"
    assert seen.header("authorization") == f"Bearer {SECRET}"
    assert seen.header("user-agent") == "tests"
    assert seen.header("content-type") == "application/json"
    assert {name for name, _ in seen.headers}.isdisjoint(
        {"cookie", "x-api-key", "openai-organization", "x-forwarded-for"}
    )
    assert KEY not in str(seen)


async def test_azure_gets_its_key_header_the_deployment_in_the_path_and_the_api_version() -> None:
    async with upstream(answer(completion())) as provider:
        backend = http_backend(
            "one",
            provider.url.removesuffix("/v1"),
            provider=Provider.AZURE_OPEN_AI,
            credential="azure",
            api_version="2024-10-21",
        )
        targets = (target("one", model="gpt 4o/mini"),)
        async with running(world(backend, targets=targets), credentials={"azure": SECRET.encode()}) as plane:
            assert (await ask(plane)).status == 200
            body = json.dumps({"model": "chat-fast", "input": "hi"}).encode()
            assert (await ask(plane, body, path="/v1/responses")).status == 200
            moderation = await ask(plane, body, path="/v1/moderations")
            tuning = json.dumps({"model": "chat-fast", "training_file": "file-1"}).encode()
            assert (await ask(plane, tuning, path="/v1/fine_tuning/jobs")).status == 200
    chat_request, responses_request, tuning_request = provider.asked
    assert chat_request.target == "/openai/deployments/gpt%204o%2Fmini/chat/completions?api-version=2024-10-21"
    assert chat_request.header("api-key") == SECRET
    assert chat_request.header("authorization") is None
    assert responses_request.target == "/openai/responses?api-version=2024-10-21"
    assert responses_request.json["model"] == "gpt 4o/mini"
    assert tuning_request.target == "/openai/fine_tuning/jobs?api-version=2024-10-21"
    assert tuning_request.json == {"model": "gpt 4o/mini", "training_file": "file-1"}
    assert (moderation.status, moderation.json()["error"]["code"]) == (502, "operation_not_supported")


async def test_the_model_is_replaced_and_the_rest_of_the_body_arrives_as_written() -> None:
    async with upstream(answer(completion())) as provider:
        bundle = world(http_backend("one", provider.url), targets=(target("one", model="gpt-4o-mini"),))
        async with running(bundle) as plane:
            body = b'{"model":"chat-fast","messages":[{"role":"user","content":"\\u00fc \xc3\xbc"}],"x":1e400,"y":1.10}'
            assert (await ask(plane, body)).status == 200
    assert provider.asked[0].body == body.replace(b"chat-fast", b"gpt-4o-mini")


async def test_of_a_field_that_stands_twice_only_the_judged_one_is_sent() -> None:
    async with upstream(answer(completion())) as provider, running(one(provider)) as plane:
        assert (await ask(plane, b'{"model":"secret-model","messages":[],"model":"chat-fast"}')).status == 200
    assert provider.asked[0].body.count(b'"model"') == 1
    assert provider.asked[0].json["model"] == "chat-fast"


async def test_of_the_providers_headers_only_harmless_ones_pass() -> None:
    headers = (
        "set-cookie: a=b",
        "openai-organization: ours",
        "x-ratelimit-remaining-requests: 7",
        "x-request-id: theirs",
        "server: s",
        "openai-processing-ms: 12",
    )
    async with upstream(answer(completion(), headers=headers)) as provider, running(one(provider)) as plane:
        found = await ask(plane)
    assert found.headers["openai-processing-ms"] == "12"
    assert set(found.headers) == {"content-type", "content-length", "date", "x-request-id", "openai-processing-ms"}
    assert found.headers["x-request-id"] != "theirs"


async def test_failover_when_nobody_listens() -> None:
    backend = http_backend("dead", f"http://127.0.0.1:{await refused_port()}/v1")
    async with running(world(backend, mock_backend())) as plane:
        assert (await ask(plane)).status == 200


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_failover_on_a_status_that_says_it_was_not_done(status: int) -> None:
    async with (
        upstream(answer({"error": {}}, status=status)) as provider,
        running(world(http_backend("one", provider.url), mock_backend())) as plane,
    ):
        assert (await ask(plane)).status == 200
    assert len(provider.asked) == 1


async def test_no_failover_on_what_the_caller_did_wrong() -> None:
    error = {"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length", "param": None}}
    async with (
        upstream(answer(error, status=400)) as provider,
        running(world(http_backend("one", provider.url), mock_backend())) as plane,
    ):
        found = await ask(plane)
    assert (found.status, found.json()) == (400, error)


async def test_no_repetition_after_a_lost_answer_for_it_may_have_been_paid_for() -> None:
    async def hang_up(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with (
        upstream(hang_up) as provider,
        running(world(http_backend("one", provider.url), mock_backend())) as plane,
    ):
        found = await ask(plane)
    assert (found.status, found.json()["error"]["code"]) == (502, "upstream_failed")
    assert len(provider.asked) == 1


async def test_no_repetition_when_the_route_does_not_list_the_failure() -> None:
    async with upstream(answer({"error": {}}, status=503)) as provider:
        backends = (http_backend("one", provider.url), mock_backend())
        async with running(world(*backends, retry_on=(RetryOn.CONNECT,))) as plane:
            assert (await ask(plane)).status == 503


async def test_a_single_backend_is_asked_again_as_often_as_the_route_says() -> None:
    answers = [answer({"error": {}}, status=503), answer({"error": {}}, status=503), answer(completion())]

    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await answers.pop(0)(asked, writer)

    async with upstream(script) as provider, running(one(provider, retry_attempts=2)) as plane:
        assert (await ask(plane)).status == 200
    assert len(provider.asked) == 3


async def test_the_last_failure_of_many_is_the_answer() -> None:
    async with (
        upstream(answer({"error": {"message": "busy"}}, status=429, headers=("retry-after: 7",))) as provider,
        running(one(provider, retry_attempts=1)) as plane,
    ):
        found = await ask(plane)
    assert (found.status, found.headers["retry-after"]) == (429, "7")
    assert found.json()["error"]["message"] == "busy"
    assert len(provider.asked) == 2


async def test_nobody_listens_anywhere() -> None:
    backend = http_backend("dead", f"http://127.0.0.1:{await refused_port()}/v1")
    async with running(world(backend, retry_attempts=1)) as plane:
        found = await ask(plane)
    assert (found.status, found.json()["error"]["code"]) == (502, "upstream_unreachable")
    assert "127.0.0.1" not in found.json()["error"]["message"]


async def test_the_timeout_of_the_route_holds_over_all_attempts() -> None:
    async def silent(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    async with upstream(silent, watch=True) as provider, running(one(provider, timeout_ms=200)) as plane:
        async with asyncio.timeout(3):
            found = await ask(plane)
        assert (found.status, found.json()["error"]["code"]) == (504, "upstream_timeout")
        await asyncio.wait_for(provider.closed.wait(), 1)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_credential_is_our_fault_and_says_nothing_of_it(status: int) -> None:
    error = {"error": {"message": f"Incorrect API key provided: {SECRET}", "type": "x", "code": "invalid_api_key"}}
    async with upstream(answer(error, status=status)) as provider:
        backend = http_backend("one", provider.url, credential="c")
        async with running(world(backend), credentials={"c": SECRET.encode()}) as plane:
            found = await ask(plane)
    assert (found.status, found.json()["error"]["code"]) == (502, "upstream_authentication")
    assert SECRET not in str(found)


async def test_a_missing_credential_is_never_replaced_by_none() -> None:
    async with upstream(answer(completion())) as provider:
        backend = http_backend("one", provider.url, credential="not-there")
        async with running(world(backend)) as plane:
            found = await ask(plane)
    assert (found.status, found.json()["error"]["code"]) == (502, "upstream_credential_missing")
    assert "/one" not in found.json()["error"]["message"], "callers need not know what backends are called"
    assert provider.asked == []


async def test_a_rotated_credential_is_used_from_the_next_request_on() -> None:
    async with upstream(answer(completion())) as provider:
        backend = http_backend("one", provider.url, credential="c")
        async with running(world(backend), credentials={"c": b"old"}) as plane:
            await ask(plane)
            plane.set_credentials({"c": b"new"})
            await ask(plane)
    assert [each.header("authorization") for each in provider.asked] == ["Bearer old", "Bearer new"]


async def test_an_error_in_another_shape_is_put_into_ours() -> None:
    async with (
        upstream(answer(b"<h1>no</h1>", status=404, content_type="text/html")) as provider,
        running(one(provider)) as plane,
    ):
        found = await ask(plane)
    assert (found.status, found.headers["content-type"]) == (404, "application/json")
    assert set(found.json()["error"]) == {"message", "type", "code", "param"}


async def test_a_redirect_is_not_passed_on() -> None:
    async with (
        upstream(answer(b"", status=302, headers=("location: http://elsewhere/",))) as provider,
        running(one(provider)) as plane,
    ):
        found = await ask(plane)
    assert (found.status, found.json()["error"]["code"]) == (502, "upstream_failed")


async def test_an_answer_that_breaks_off_is_an_error_and_not_half_an_answer() -> None:
    async def half(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{")
        await writer.drain()
        writer.close()

    async with upstream(half) as provider, running(one(provider)) as plane:
        found = await ask(plane)
    assert (found.status, found.json()["error"]["code"]) == (502, "upstream_failed")


async def test_weights_share_out_the_requests() -> None:
    async with upstream(answer(completion("left"))) as left, upstream(answer(completion("right"))) as right:
        backends = (http_backend("left", left.url), http_backend("right", right.url))
        targets = (target("left", weight=9), target("right", weight=1))
        async with running(world(*backends, targets=targets)) as plane:
            for _ in range(100):
                await ask(plane)
    assert len(left.asked) + len(right.asked) == 100
    assert len(left.asked) > 70  # 90 expected; below 71 once in 10^8 runs
    assert right.asked


async def test_every_operation_goes_to_its_own_path() -> None:
    prompts = {
        Operation.COMPLETION: ("completions", {"prompt": "x"}),
        Operation.EMBEDDINGS: ("embeddings", {"input": "x"}),
        Operation.IMAGE: ("images/generations", {"prompt": "x"}),
        Operation.MODERATION: ("moderations", {"input": "x"}),
        Operation.FINE_TUNE: ("fine_tuning/jobs", {"training_file": "file-1"}),
        Operation.RESPONSES: ("responses", {"input": "x"}),
    }
    async with upstream(answer({})) as provider, running(one(provider)) as plane:
        for path, fields in prompts.values():
            body = json.dumps({"model": "chat-fast", **fields}).encode()
            assert (await ask(plane, body, path=f"/v1/{path}")).status == 200
    assert [each.target for each in provider.asked] == [f"/v1/{path}" for path, _ in prompts.values()]
