"""Callers that read raw HTTP, remember what they got to the token, and leave in the middle when they feel like it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from time import monotonic
from typing import Any

from dataplane.raw_http import read_chunk, read_head

_PATH = "/v1/chat/completions"
_DEADLINE = 30.0
_TEXT = "Explain in two sentences how a tide gate keeps the sea out of a polder, and what it does at low water. " * 2


class End(StrEnum):
    """How a call ended, as its caller saw it."""

    FINISHED = "Finished"
    LEFT = "Left"
    """The caller closed the connection in the middle."""
    REFUSED = "Refused"
    """An error status: nothing was delivered."""
    BROKEN = "Broken"
    """The connection ended before the answer did."""
    UNREACHED = "Unreached"
    """No connection: the gateway never saw it."""


@dataclass
class Call:
    """One call. `received` counts the tokens of the answer that arrived; times are monotonic seconds."""

    request_id: str
    plane: int
    streamed: bool
    max_tokens: int
    began: float
    ended: float = 0.0
    end: End = End.UNREACHED
    status: int = 0
    code: str = ""
    received: int = 0
    wants_usage: bool = False
    reported: tuple[int, int] | None = None


@dataclass
class Callers:
    """`count` callers that ask and ask again. `addresses` are the traffic ports of the planes, `key` is their API key.

    A caller who is refused waits `pause` seconds, and asks for less the oftener it is refused, as somebody does who
    wants the last of a budget.
    """

    seed: int
    count: int
    ports: list[int]
    key: str
    model: str
    max_tokens: int = 200
    aborts: float = 0.25
    pause: float = 0.05
    calls: list[Call] = field(default_factory=list)
    stopped: bool = False
    _number: int = 0

    async def run(self) -> None:
        """Until `stopped`; calls under way then are finished."""
        await asyncio.gather(*(self._one(Random(f"{self.seed}:caller:{number}")) for number in range(self.count)))

    async def _one(self, chance: Random) -> None:
        patience = 0
        while not self.stopped:
            call = await self.ask(chance, largest=max(4, self.max_tokens >> min(patience, 6)))
            if call.end in (End.REFUSED, End.UNREACHED):
                patience += call.status == 429
                await asyncio.sleep(self.pause * chance.uniform(0.5, 1.5))
            else:
                patience = 0

    async def ask(self, chance: Random, *, largest: int) -> Call:
        """One call through a plane of chance; never raises."""
        self._number += 1
        call = Call(
            request_id=f"chaos-{self.seed}-{self._number}",
            plane=chance.randrange(len(self.ports)),
            streamed=chance.random() < 0.75,
            max_tokens=chance.randint(max(1, largest // 4), largest),
            began=monotonic(),
            wants_usage=chance.random() < 0.5,
        )
        self.calls.append(call)
        leave_after = chance.randint(1, max(1, call.max_tokens // 2)) if chance.random() < self.aborts else None
        try:
            async with asyncio.timeout(_DEADLINE):
                await self._exchange(call, leave_after)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            call.code = call.code or type(error).__name__
            if call.end is not End.UNREACHED:
                call.end = End.BROKEN
        call.ended = monotonic()
        return call

    async def _exchange(self, call: Call, leave_after: int | None) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[call.plane], limit=1 << 20)
        call.end = End.BROKEN
        try:
            writer.write(self._request(call))
            status, headers = await read_head(reader)
            call.status = status
            if headers.get("transfer-encoding") == "chunked":
                await _read_stream(call, reader, leave_after)
            else:
                _read_whole(call, await reader.readexactly(int(headers["content-length"])))
        finally:
            writer.close()

    def _request(self, call: Call) -> bytes:
        fields: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": _TEXT}],
            "max_tokens": call.max_tokens,
        }
        if call.streamed:
            fields["stream"] = True
            if call.wants_usage:
                fields["stream_options"] = {"include_usage": True}
        body = json.dumps(fields).encode()
        lines = [
            f"POST {_PATH} HTTP/1.1",
            "host: chaos",
            "content-type: application/json",
            f"content-length: {len(body)}",
            f"authorization: Bearer {self.key}",
            f"x-request-id: {call.request_id}",
            "connection: close",
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _read_stream(call: Call, reader: asyncio.StreamReader, leave_after: int | None) -> None:
    rest, done = b"", False
    while data := await read_chunk(reader):
        *events, rest = (rest + data).split(b"\n\n")
        for event in events:
            done = _read_event(call, event) or done
        if leave_after is not None and call.received >= leave_after and not done:
            call.end = End.LEFT
            return
    call.end = End.FINISHED if done else End.BROKEN


def _read_event(call: Call, event: bytes) -> bool:
    """Whether it was the last."""
    data = event.rpartition(b"data: ")[2]
    if data == b"[DONE]":
        return True
    found = json.loads(data)
    if "error" in found:
        call.code = str(found["error"].get("code"))
        return False
    for choice in found["choices"]:
        call.received += bool(choice["delta"].get("content"))
    if found.get("usage") is not None:
        call.reported = (found["usage"]["prompt_tokens"], found["usage"]["completion_tokens"])
    return False


def _read_whole(call: Call, body: bytes) -> None:
    found = json.loads(body)
    if call.status != 200:
        call.end = End.REFUSED
        call.code = str(found["error"]["code"])
        return
    call.end = End.FINISHED
    call.reported = (found["usage"]["prompt_tokens"], found["usage"]["completion_tokens"])
    call.received = call.reported[1]
