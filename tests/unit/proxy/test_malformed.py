"""Whatever a caller sends, it gets a 4xx in OpenAI's error shape, and the gateway goes on serving.

A real listener on a real socket: half of these never get as far as an application.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataplane.factory import KEY, bundle_of, shard
from dataplane.planes import running
from dataplane.raw_http import RawAnswer, chat, connect, exchange, read_answer, request
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.settings import Limits

LIMITS = Limits(head_seconds=0.5, body_seconds=0.5)


@pytest.fixture
async def plane() -> AsyncIterator[DataPlane]:
    async with running(bundle_of(shard()), limits=LIMITS) as found:
        yield found


def check(answer: RawAnswer, status: int, code: str | None = None, param: str | None = None) -> None:
    """The answer is this 4xx, in shape, with a request id."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert error["message"]
    if code is not None:
        assert error["code"] == code
    assert error["param"] == param


async def check_alive(plane: DataPlane) -> None:
    assert (await exchange(plane, request(chat(), key=KEY))).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"hello",
        b'{"model": "chat-fast", "messages": [}',
        b'{"model": NaN}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"\xef\xbb\xbf{}",
    ],
    ids=["empty", "cut", "array", "null", "text", "broken", "nan", "deep array", "deep object", "byte order mark"],
)
async def test_a_body_that_is_no_json_object(plane: DataPlane, body: bytes) -> None:
    check(await exchange(plane, request(body, key=KEY)), 400, "invalid_json")
    await check_alive(plane)


@pytest.mark.parametrize(
    "body",
    [b'{"model": "chat-fast", "messages": ["\xff"]}', b'{"\xc3\x28": 1}', b'{"model": "\xf0\x9f"}'],
    ids=["in a value", "in a name", "cut"],
)
async def test_a_body_that_is_not_utf_8(plane: DataPlane, body: bytes) -> None:
    check(await exchange(plane, request(body, key=KEY)), 400, "invalid_encoding")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 7}, "model"),
        ({"model": None}, "model"),
        ({"model": ["chat-fast"]}, "model"),
        ({"model": ""}, "model"),
        ({"model": "x" * 1000}, "model"),
        ({"model": "a\nb"}, "model"),
        ({"messages": "hello"}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": ["hello"]}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": True}, "stream_options"),
        ({"stream_options": {"include_usage": "yes"}}, "include_usage"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
    ],
    ids=str,
)
async def test_a_field_of_the_wrong_type_is_named(plane: DataPlane, fields: dict[str, object], param: str) -> None:
    check(await exchange(plane, request(chat(**fields), key=KEY)), 400, param=param)


async def test_a_model_that_is_no_unicode(plane: DataPlane) -> None:
    body = b'{"model": "\\ud800", "messages": []}'
    check(await exchange(plane, request(body, key=KEY)), 400, "invalid_json")


@pytest.mark.parametrize(("missing", "path"), [("model", "chat/completions"), ("messages", "chat/completions")])
async def test_a_missing_field_is_named(plane: DataPlane, missing: str, path: str) -> None:
    fields = json.loads(chat())
    del fields[missing]
    answer = await exchange(plane, request(json.dumps(fields).encode(), path=f"/v1/{path}", key=KEY))
    check(answer, 400, "missing_required_parameter", param=missing)


async def test_an_unknown_model(plane: DataPlane) -> None:
    check(await exchange(plane, request(chat(model="nobody"), key=KEY)), 404, "model_not_found", param="model")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/chat",
        "/v1/chat/completions/",
        "/v1//chat/completions",
        "/v1/./chat/completions",
        "/v1/../v1/chat/completions",
        "/v1/%2e%2e/v1/chat/completions",
        "/v1/chat%2fcompletions",
        "/v1/chat%5ccompletions",
        "/v1/chat/completions%00",
        "/v1/chat/completions;a=b",
        "/V1/CHAT/COMPLETIONS",
        "/" + "a" * 5000,
        "/%",
        "/%zz",
    ],
)
async def test_path_tricks_lead_nowhere(plane: DataPlane, path: str) -> None:
    answer = await exchange(plane, request(chat(), path=path, key=KEY))
    assert answer.status in (400, 404)
    check(answer, answer.status, answer.json()["error"]["code"], answer.json()["error"]["param"])


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_a_wrong_method(plane: DataPlane, method: str) -> None:
    answer = await exchange(plane, request(chat(), method=method, key=KEY))
    check(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


async def test_a_missing_or_odd_content_type_does_not_matter_when_the_body_is_json(plane: DataPlane) -> None:
    for headers in ((), ("content-type: text/plain",), ("content-type: nonsense",)):
        assert (await exchange(plane, request(chat(), key=KEY, headers=headers))).status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"GET\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost test\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n folded: b\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
        b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: nonsense\r\n\r\n",
        b"POST /v1/\xff HTTP/1.1\r\nhost: test\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nx: a\0b\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=repr,
)
async def test_what_is_not_http_is_answered_in_shape_too(plane: DataPlane, data: bytes) -> None:
    answer = await exchange(plane, data)
    check(answer, 400)
    await check_alive(plane)


async def test_a_body_of_twenty_megabytes(plane: DataPlane) -> None:
    body = b'{"model": "chat-fast", "messages": ["' + b"a" * 20_000_000 + b'"]}'
    check(await exchange(plane, request(body, key=KEY)), 413, "request_too_large")
    chunked = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n"
    chunked += b"authorization: Bearer " + KEY.encode() + b"\r\n\r\n"
    chunked += b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    check(await exchange(plane, chunked), 413, "request_too_large")
    await check_alive(plane)


async def test_the_connection_serves_on_after_a_body_that_was_too_large() -> None:
    async with running(bundle_of(shard()), limits=Limits(body_bytes=1000)) as plane:
        reader, writer = await connect(plane)
        with contextlib.closing(writer):
            for size, status in ((2000, 413), (10, 200), (70_000, 413), (10, 200)):
                writer.write(request(chat(user="a" * size), key=KEY))
                assert (await asyncio.wait_for(read_answer(reader), 5)).status == status


async def test_a_slow_body(plane: DataPlane) -> None:
    head = request(chat(), key=KEY)
    check(await exchange(plane, head[:-10]), 408, "request_timeout")


async def test_slow_headers(plane: DataPlane) -> None:
    check(await exchange(plane, b"POST /v1/chat/completions HTTP/1.1\r\nhost: t"), 408, "request_timeout")


async def test_a_connection_that_says_nothing_is_closed(plane: DataPlane) -> None:
    reader, writer = await connect(plane)
    with contextlib.closing(writer):
        assert await asyncio.wait_for(reader.read(), 5) == b""


@pytest.mark.parametrize(
    "headers",
    [
        tuple(f"x-{number}: {number}" for number in range(1000)),
        ("x-long: " + "a" * 200_000,),
        tuple(f"x-{number}: " + "a" * 4000 for number in range(100)),
        ("x" * 100_000 + ": a",),
    ],
    ids=["many", "one long", "much", "long name"],
)
async def test_header_bombs(plane: DataPlane, headers: tuple[str, ...]) -> None:
    check(await exchange(plane, request(chat(), key=KEY, headers=headers)), 431, "headers_too_large")
    await check_alive(plane)


async def test_a_head_that_never_ends_is_cut_off(plane: DataPlane) -> None:
    answer = await exchange(plane, b"GET /" + b"a" * 1_000_000)
    check(answer, 431, "headers_too_large")


async def test_several_different_keys(plane: DataPlane) -> None:
    answer = await exchange(plane, request(chat(), key=KEY, headers=("api-key: another",)))
    check(answer, 401, "invalid_api_key")


async def test_a_caller_cannot_choose_a_request_id_that_is_not_one(plane: DataPlane) -> None:
    sane = await exchange(plane, request(chat(), key=KEY, headers=("x-request-id: abc-123",)))
    assert sane.headers["x-request-id"] == "abc-123"
    odd = await exchange(plane, request(chat(), key=KEY, headers=('x-request-id: <script>"',)))
    assert odd.headers["x-request-id"].isalnum()


async def test_the_same_request_id_twice_is_charged_twice(plane: DataPlane) -> None:
    for _ in range(2):
        assert (await exchange(plane, request(chat(), key=KEY, headers=("x-request-id: same",)))).status == 200
    assert plane.ledger.outstanding == 0
    assert sum(plane.metrics.requests.values.values()) == 2


GOOD = request(chat(), key=KEY, headers=("content-type: application/json",))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good request with a few places cut out, doubled, or overwritten."""
    data = bytearray(GOOD)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data) - 1))
        end = min(len(data), start + draw(st.integers(1, 40)))
        change = draw(st.sampled_from(["cut", "double", "overwrite"]))
        if change == "cut":
            del data[start:end]
        elif change == "double":
            data[start:start] = data[start:end]
        else:
            data[start:end] = draw(st.binary(min_size=0, max_size=40))
        if not data:
            return b"\r\n"
    return bytes(data)


def test_five_hundred_mutated_requests() -> None:
    """Each is served, or refused with a 4xx in shape, or still waited for when it is not whole; never a 5xx."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stack = contextlib.AsyncExitStack()
        plane = runner.run(stack.enter_async_context(running(bundle_of(shard()), limits=Limits(head_seconds=60))))

        @settings(max_examples=500, suppress_health_check=list(HealthCheck), database=None)
        @given(mutated())
        def try_one(data: bytes) -> None:
            runner.run(judge(plane, data))

        try:
            try_one()
            runner.run(check_alive(plane))
        finally:
            runner.run(stack.aclose())


async def judge(plane: DataPlane, data: bytes) -> None:
    reader, writer = await connect(plane)
    try:
        writer.write(data)
        writer.write(GOOD)  # completes what the mutation made longer, so that nothing waits for a timeout
        answer = await asyncio.wait_for(read_answer(reader), 5)
        assert answer.status == 200 or 400 <= answer.status < 500, (data, answer)
        if answer.status != 200:
            assert answer.json()["error"]["message"], (data, answer)
    except TimeoutError:
        pass  # a longer content length than everything that was sent
    finally:
        writer.close()
