"""The real `openai` client works against the gateway unchanged."""

import asyncio
from collections.abc import AsyncIterator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from dataplane.factory import (
    KEY,
    OTHER_KEY,
    REPLY,
    bundle_of,
    consumer,
    mock_backend,
    policy,
    route,
    shard,
)
from dataplane.planes import running, url
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.snapshot.entries import (
    Effect,
    Operation,
    RateLimitEntry,
    RateLimitScope,
    RuleEntry,
)

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello!"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


@pytest.fixture
async def plane() -> AsyncIterator[DataPlane]:
    async with running(bundle_of(shard())) as found:
        yield found


def client_of(plane: DataPlane, key: str = KEY) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url(plane)}/v1", api_key=key, max_retries=0, timeout=10)


@pytest.fixture
async def client(plane: DataPlane) -> AsyncIterator[openai.AsyncOpenAI]:
    async with client_of(plane) as found:
        yield found


async def test_chat_answers_with_usage(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="chat-fast", messages=HELLO)
    assert answer.choices[0].message.content == REPLY
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 2


async def test_the_sync_client_too(plane: DataPlane) -> None:
    def ask() -> str | None:
        with openai.OpenAI(base_url=f"{url(plane)}/v1", api_key=KEY, max_retries=0, timeout=10) as sync:
            return sync.chat.completions.create(model="chat-fast", messages=HELLO).choices[0].message.content

    assert await asyncio.to_thread(ask) == REPLY


async def test_a_stream_joins_to_the_reply_and_hides_usage_nobody_asked_for(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="chat-fast", messages=HELLO, stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == REPLY
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


async def test_a_stream_ends_with_usage_when_asked_for(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="chat-fast", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


async def test_a_required_tool_is_called(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="chat-fast", messages=HELLO, tools=[WEATHER], tool_choice="required"
    )
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert [call.function.name for call in calls if call.type == "function"] == ["weather"]
    assert answer.choices[0].finish_reason == "tool_calls"


async def test_a_named_tool_is_called_in_a_stream(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="chat-fast",
        messages=HELLO,
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        stream=True,
    )
    deltas = [chunk.choices[0].delta async for chunk in stream]
    names = [call.function.name for each in deltas for call in each.tool_calls or [] if call.function]
    assert names[0] == "weather"


async def test_responses(client: openai.AsyncOpenAI) -> None:
    answer = await client.responses.create(model="chat-fast", input="Hello!")
    assert answer.output_text == REPLY
    assert answer.usage is not None
    assert answer.usage.output_tokens > 0


async def test_streamed_responses(client: openai.AsyncOpenAI) -> None:
    stream = await client.responses.create(model="chat-fast", input="Hello!", stream=True)
    events = [event async for event in stream]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == REPLY
    assert events[-1].type == "response.completed"


async def test_completions_embeddings_moderations_and_images(client: openai.AsyncOpenAI) -> None:
    completion = await client.completions.create(model="chat-fast", prompt="Hello!")
    assert completion.choices[0].text == REPLY
    embeddings = await client.embeddings.create(model="chat-fast", input=["one", "two"])
    assert [len(each.embedding) for each in embeddings.data] == [8, 8]
    moderation = await client.moderations.create(model="chat-fast", input="Hello!")
    assert moderation.results[0].flagged is False
    image = await client.images.generate(model="chat-fast", prompt="a pixel")
    assert image.data is not None
    assert image.data[0].b64_json is not None


async def test_a_fine_tuning_job_is_taken(client: openai.AsyncOpenAI) -> None:
    job = await client.fine_tuning.jobs.create(model="chat-fast", training_file="file-abc", suffix="mine")
    assert (job.object, job.model, job.training_file) == ("fine_tuning.job", "chat-fast", "file-abc")
    assert (job.status, job.fine_tuned_model, job.to_dict()["user_provided_suffix"]) == (
        "validating_files",
        None,
        "mine",
    )
    with pytest.raises(openai.BadRequestError, match="training_file"):
        await client.post("/fine_tuning/jobs", body={"model": "chat-fast"}, cast_to=object)


async def test_a_role_for_inference_does_not_reach_fine_tuning() -> None:
    rules = (RuleEntry(name="inference", effect=Effect.ALLOW, operations=(Operation.CHAT,)),)
    async with running(bundle_of(shard(policies=(policy(rules=rules),)))) as plane, client_of(plane) as client:
        assert (await client.chat.completions.create(model="chat-fast", messages=HELLO)).choices
        with pytest.raises(openai.PermissionDeniedError):
            await client.fine_tuning.jobs.create(model="chat-fast", training_file="file-abc")


async def test_models_are_listed_and_found(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["chat-fast"]
    assert (await client.models.retrieve("chat-fast")).id == "chat-fast"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("another")


async def test_an_unknown_key_is_an_authentication_error(plane: DataPlane) -> None:
    async with client_of(plane, OTHER_KEY) as stranger:
        with pytest.raises(openai.AuthenticationError) as caught:
            await stranger.chat.completions.create(model="chat-fast", messages=HELLO)
    assert caught.value.code == "invalid_api_key"
    assert caught.value.request_id


async def test_an_unknown_model_is_a_not_found_error(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model="another", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


async def test_a_wrong_type_is_a_bad_request_error(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="chat-fast", messages="Hello!")  # type: ignore[arg-type]
    assert caught.value.param == "messages"


async def test_a_deny_rule_is_a_permission_error_that_names_it() -> None:
    rule = RuleEntry(name="no-embeddings", effect=Effect.DENY, operations=(Operation.EMBEDDINGS,))
    async with running(bundle_of(shard(policies=[policy(rules=(rule,))]))) as plane, client_of(plane) as client:
        with pytest.raises(openai.PermissionDeniedError, match="no-embeddings"):
            await client.embeddings.create(model="chat-fast", input="one")


async def test_a_rate_limit_is_a_rate_limit_error_with_the_wait() -> None:
    limit = RateLimitEntry(name="slow", per=RateLimitScope.CONSUMER, requests=1, period_ms=60_000, burst=1)
    async with running(bundle_of(shard(policies=[policy(rate_limits=(limit,))]))) as plane, client_of(plane) as client:
        await client.chat.completions.create(model="chat-fast", messages=HELLO)
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(model="chat-fast", messages=HELLO)
    headers = caught.value.response.headers
    assert 1 <= int(headers["retry-after"]) <= 60
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("1", "0")
    assert headers["x-ratelimit-reset-requests"].endswith("s")


async def test_a_suspended_consumer_is_a_permission_error() -> None:
    world = shard(consumers=[consumer(suspended=True)], backends=[mock_backend()], routes=[route()])
    async with running(bundle_of(world)) as plane, client_of(plane) as client:
        with pytest.raises(openai.PermissionDeniedError) as caught:
            await client.chat.completions.create(model="chat-fast", messages=HELLO)
    assert caught.value.code == "consumer_suspended"
