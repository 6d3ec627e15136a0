"""A provider inside this process: answers without a network, so that a folder of resources runs on its own."""

import asyncio
import secrets
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from tidegate_dataplane.errors import INVALID_REQUEST, encode_error
from tidegate_dataplane.providers.answer import Question
from tidegate_dataplane.providers.mock_call import Json, MockCall, Rejected
from tidegate_dataplane.providers.mock_shapes import answer, events
from tidegate_dataplane.snapshot.entries import MockAnswer, Operation
from tidegate_dataplane.upstream import ResponseTimeout

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_JSON = [(b"content-type", b"application/json")]
_EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


class WholeAnswer:
    """An answer whose body is here already."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.headers = _JSON
        self._body = body

    async def read(self, *, limit: int, idle_timeout: float | None = None) -> bytes:
        body, self._body = self._body, b""
        return body

    async def next_chunk(self, *, idle_timeout: float | None = None) -> bytes:
        return await self.read(limit=len(self._body))

    async def aclose(self) -> None:
        self._body = b""


class EventAnswer:
    """A stream of server-sent events, `delay` seconds apart."""

    def __init__(self, found: Iterator[tuple[str, Json]], *, delay: float, done: bool) -> None:
        self.status = 200
        self.headers = _EVENTS
        self._delay = delay
        self._chunks = _frames(found, done=done)
        self._first = True

    async def read(self, *, limit: int, idle_timeout: float | None = None) -> bytes:
        return b"".join(self._chunks)

    async def next_chunk(self, *, idle_timeout: float | None = None) -> bytes:
        if self._delay and not self._first:
            await asyncio.sleep(self._delay)
        elif not self._first:
            await asyncio.sleep(0)  # others must run while a long reply streams
        self._first = False
        return next(self._chunks, b"")

    async def aclose(self) -> None:
        self._chunks = iter(())


class MockConnector:
    """Answers what the backend's `mock` section says."""

    def __init__(self, mock: MockAnswer) -> None:
        self._mock = mock

    async def ask(self, question: Question, *, response_timeout: float) -> WholeAnswer | EventAnswer:
        latency = self._mock.latency_ms / 1000
        if latency:
            await asyncio.sleep(min(latency, response_timeout))
            if latency > response_timeout:
                raise ResponseTimeout(f"no answer within {response_timeout:g} s", sent=True)
        body = _decode(question.body)
        call = MockCall(question.operation, body, self._mock.reply, secrets.token_hex(12), int(time.time()))
        try:
            if body.get("stream") is True:
                found = events(call)
                first = next(found)  # a request that is refused is refused before the stream begins
                chat = question.operation is not Operation.RESPONSES  # which has no [DONE]
                return EventAnswer(_chained(first, found), delay=self._mock.chunk_delay_ms / 1000, done=chat)
            return WholeAnswer(200, _encode(answer(call)))
        except Rejected as rejected:
            error = encode_error(str(rejected), type=INVALID_REQUEST, code="invalid_value", param=rejected.param)
            return WholeAnswer(400, error)


def _chained(first: tuple[str, Json], rest: Iterator[tuple[str, Json]]) -> Iterator[tuple[str, Json]]:
    yield first
    yield from rest


def _frames(found: Iterator[tuple[str, Json]], *, done: bool) -> Iterator[bytes]:
    for name, data in found:
        event = f"event: {name}\n".encode() if name else b""
        yield event + b"data: " + _encode(data) + b"\n\n"
    if done:
        yield b"data: [DONE]\n\n"
