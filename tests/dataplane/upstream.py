"""A provider that does what a test's script says, byte by byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Asked:
    """A request as it arrived; header names in lower case, in order."""

    target: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)


Script = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Upstream:
    """`asked` grows with each request; `closed` is set when a caller's connection ended."""

    script: Script
    asked: list[Asked] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.rstrip().split("\r\n")
                pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
                body = await reader.readexactly(int(dict(pairs).get("content-length", "0")))
                asked = Asked(first.split(" ")[1], pairs, body)
                self.asked.append(asked)
                end = asyncio.create_task(reader.read(1)) if self._watches() else None
                work = asyncio.ensure_future(self.script(asked, writer))
                if end is not None:
                    await asyncio.wait({end, work}, return_when=asyncio.FIRST_COMPLETED)
                    if end.done():
                        work.cancel()
                        break
                    end.cancel()
                    await asyncio.gather(end, return_exceptions=True)
                await work
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.closed.set()
            writer.close()

    watch: bool = False

    def _watches(self) -> bool:
        return self.watch


@asynccontextmanager
async def upstream(script: Script, *, watch: bool = False) -> AsyncIterator[Upstream]:
    """Listen on loopback. With `watch`, the end of a connection is noticed while the script still runs."""
    found = Upstream(script, watch=watch)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()


def answer(
    body: Any, *, status: int = 200, headers: tuple[str, ...] = (), content_type: str = "application/json"
) -> Script:
    """Always this answer; a `body` that is no bytes becomes JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} x", f"content-type: {content_type}", f"content-length: {len(data)}", *headers]

    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        await writer.drain()

    return script


def events_head() -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(data: Any) -> bytes:
    return b"data: " + (data if isinstance(data, bytes) else json.dumps(data, separators=(",", ":")).encode()) + b"\n\n"


def completion(text: str = "Hi.", *, usage: tuple[int, int] | None = (5, 7)) -> dict[str, Any]:
    """A chat completion as OpenAI answers it."""
    found: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
    }
    if usage is not None:
        found["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return found


def delta(text: str | None, *, usage: tuple[int, int] | None = None, finish: str | None = None) -> dict[str, Any]:
    """A chunk of a streamed chat; `text` None with `usage` is the last one of include_usage."""
    found: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    found["choices"] = [] if text is None else [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]
    found["usage"] = None
    if usage is not None:
        found["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return found
