"""A provider on loopback that speaks OpenAI's chat format, keeps its own books, and reports usage exactly.

A stream gives one token for each event, in writes of one to eight events. How many tokens an answer has depends on the
seed and the request id alone, so that a run can be repeated.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

PROMPT_TOKENS = 20
"""What every prompt is reported to have: fewer than a gateway estimates, as an estimate should err upwards."""

WORDS = (" tide", " gate", " sea", " low", " water", " wind", " north", " ship")
"""Each is one token in OpenAI's vocabularies."""


@dataclass
class Work:
    """One request as the provider saw it. `output` is how many tokens its answer has; `emitted` how many were sent."""

    request_id: str
    streamed: bool
    output: int
    emitted: int = 0
    finished: bool = False

    @property
    def total(self) -> int:
        """What the report says."""
        return PROMPT_TOKENS + self.output


@dataclass
class Provider:
    """`work` holds every request by its id; `repeated` are ids that came twice."""

    seed: int
    tokens_a_second: float = 250.0
    work: dict[str, Work] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a gateway."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in head.split("\r\n"))
                }
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                work = self._note(headers["x-request-id"], body)
                if work.streamed:
                    await self._stream(writer, work, wants_usage=_wants_usage(body))
                else:
                    await self._whole(writer, work)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _note(self, request_id: str, body: dict[str, Any]) -> Work:
        if request_id in self.work:
            self.repeated.append(request_id)
        chance = Random(f"{self.seed}:{request_id}")
        output = chance.randint(1, int(body["max_tokens"]))
        work = self.work[request_id] = Work(request_id, bool(body.get("stream")), output)
        return work

    async def _whole(self, writer: asyncio.StreamWriter, work: Work) -> None:
        await asyncio.sleep(work.output / self.tokens_a_second)
        text = "".join(WORDS[number % len(WORDS)] for number in range(work.output))
        body = _completion(text, work)
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        work.emitted = work.output
        await _send(writer, head.encode() + body)
        work.finished = True

    async def _stream(self, writer: asyncio.StreamWriter, work: Work, *, wants_usage: bool) -> None:
        chance = Random(f"{self.seed}:{work.request_id}:pace")
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        await _send(writer, head + _chunk(_event({"role": "assistant", "content": ""})))
        while work.emitted < work.output:
            count = min(chance.randint(1, 8), work.output - work.emitted)
            await asyncio.sleep(count / self.tokens_a_second)
            words = [WORDS[number % len(WORDS)] for number in range(work.emitted, work.emitted + count)]
            work.emitted += count
            await _send(writer, _chunk(b"".join(_event({"content": word}) for word in words)))
        last = _event({}, finish="stop") + (_usage(work) if wants_usage else b"") + b"data: [DONE]\n\n"
        await _send(writer, _chunk(last) + b"0\r\n\r\n")
        work.finished = True


@asynccontextmanager
async def providing(seed: int, *, tokens_a_second: float = 250.0) -> AsyncIterator[Provider]:
    """Listen on a free port."""
    provider = Provider(seed, tokens_a_second)
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0, backlog=1024)
    provider.port = server.sockets[0].getsockname()[1]
    try:
        yield provider
    finally:
        server.close()


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Raises ConnectionResetError when the gateway has gone, which loops say in different ways."""
    if writer.is_closing():
        raise ConnectionResetError
    writer.write(data)
    await writer.drain()


def _wants_usage(body: dict[str, Any]) -> bool:
    return bool((body.get("stream_options") or {}).get("include_usage"))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(delta: dict[str, str], *, finish: str | None = None) -> bytes:
    return _data({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}, "chat.completion.chunk")


def _usage(work: Work) -> bytes:
    return _data({"choices": [], "usage": _report(work)}, "chat.completion.chunk")


def _report(work: Work) -> dict[str, int]:
    return {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": work.output, "total_tokens": work.total}


def _data(fields: dict[str, Any], kind: str) -> bytes:
    return b"data: " + _json(fields, kind) + b"\n\n"


def _completion(text: str, work: Work) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return _json({"choices": [choice], "usage": _report(work)}, "chat.completion")


def _json(fields: dict[str, Any], kind: str) -> bytes:
    shape = {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "gpt-4o-mini", **fields}
    return json.dumps(shape, separators=(",", ":")).encode()
