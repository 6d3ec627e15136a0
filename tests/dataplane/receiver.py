"""A receiver of webhooks on loopback that answers as the test says, and remembers what came."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from dataplane.upstream import Asked, Upstream, upstream

SILENCE = 0
"""In place of a status: no answer at all."""


@dataclass
class Receiver:
    """`script` holds the statuses of the first answers; after them it answers 204. `came` grows with each request."""

    script: list[int] = field(default_factory=list)
    server: Upstream | None = None
    path: str = "/hooks/quota"

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.port}{self.path}"

    @property
    def came(self) -> list[Asked]:
        assert self.server is not None
        return self.server.asked

    @property
    def events(self) -> list[Any]:
        return [asked.json for asked in self.came]

    @property
    def ids(self) -> list[str | None]:
        return [asked.header("x-tidegate-event-id") for asked in self.came]

    async def answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        status = self.script.pop(0) if self.script else 204
        if status == SILENCE:
            await asyncio.sleep(3600)
        location = "location: /elsewhere\r\n" if 300 <= status < 400 else ""
        writer.write(f"HTTP/1.1 {status} x\r\n{location}content-length: 0\r\n\r\n".encode())
        await writer.drain()


@asynccontextmanager
async def receiver(script: Iterable[int] = ()) -> AsyncIterator[Receiver]:
    """Listen on loopback."""
    found = Receiver(list(script))
    async with upstream(found.answer, watch=True) as server:
        found.server = server
        yield found


def verified(asked: Asked, secret: bytes) -> bool:
    """What the documentation tells receivers to do."""
    timestamp = asked.header("x-tidegate-timestamp") or ""
    expected = hmac.new(secret, timestamp.encode() + b"." + asked.body, sha256).hexdigest()
    return hmac.compare_digest(f"v1={expected}", asked.header("x-tidegate-signature") or "")
