"""HTTP by hand: what a real client library would refuse to send, and answers without anybody's interpretation."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from tidegate_dataplane.plane import DataPlane


@dataclass(frozen=True)
class RawAnswer:
    """`headers` have lower-case names."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


async def connect(plane: DataPlane) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", plane.address.port)


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split(" ")[1]), headers


async def read_answer(reader: asyncio.StreamReader) -> RawAnswer:
    """Read one whole answer; one that is chunked is put together."""
    status, headers = await read_head(reader)
    if headers.get("transfer-encoding") == "chunked":
        return RawAnswer(status, headers, b"".join([chunk async for chunk in _chunks(reader)]))
    if "content-length" in headers:
        return RawAnswer(status, headers, await reader.readexactly(int(headers["content-length"])))
    return RawAnswer(status, headers, await reader.read())


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    """One chunk of a chunked body; b"" is the last."""
    size = int((await reader.readuntil(b"\r\n")).strip(), 16)
    return (await reader.readexactly(size + 2))[:-2]


async def _chunks(reader: asyncio.StreamReader) -> Any:
    while chunk := await read_chunk(reader):
        yield chunk


async def admin(plane: DataPlane, path: str, body: bytes | None = None) -> RawAnswer:
    """GET a path of the admin port, or POST `body` to it."""
    data = request(body or b"", method="GET" if body is None else "POST", path=path)
    return await exchange(plane, data, port=plane.admin_address.port, deadline=60)


async def exchange(plane: DataPlane, data: bytes, *, port: int | None = None, deadline: float = 10.0) -> RawAnswer:
    """Send bytes as they are on a connection of their own, and read the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port or plane.address.port)
    try:
        async with asyncio.timeout(deadline):
            writer.write(data)
            return await read_answer(reader)
    finally:
        writer.close()


def request(
    body: bytes,
    *,
    method: str = "POST",
    path: str = "/v1/chat/completions",
    key: str | None = None,
    headers: tuple[str, ...] = (),
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: test", f"content-length: {len(body)}", *headers]
    if key is not None:
        lines.append(f"authorization: Bearer {key}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chat(**fields: Any) -> bytes:
    """A chat request's body for the factory's route."""
    body = {"model": "chat-fast", "messages": [{"role": "user", "content": "Hello!"}], **fields}
    return json.dumps(body).encode()
