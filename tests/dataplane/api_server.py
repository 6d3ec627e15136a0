"""The parts of a Kubernetes API server that a data plane talks to, and the faults of one that a real one shows rarely.

What the real one does is proved in tests/cluster; here a test decides when a watch breaks, lies or falls silent.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]


class FakeApi:
    """Objects by (kind, name). `put` and `remove` send events to whoever watches."""

    def __init__(self) -> None:
        self.port = 0
        self.version = 1
        self.requests: list[str] = []
        self.tokens: list[str] = []
        self.refuse_with: int | None = None
        self.gone: set[tuple[str, str]] = set()  # whose next watch is too old
        self.hang_watches = False
        self._objects: dict[tuple[str, str], Json] = {}
        self._watchers: dict[tuple[str, str], list[asyncio.StreamWriter]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, kind: str, name: str, data: Mapping[str, bytes]) -> None:
        self.version += 1
        known = (kind, name) in self._objects
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        found: Json = {"metadata": {"name": name, "resourceVersion": str(self.version)}}
        found["binaryData" if kind == "configmaps" else "data"] = encoded
        self._objects[kind, name] = found
        self._send(kind, name, {"type": "MODIFIED" if known else "ADDED", "object": found})

    def remove(self, kind: str, name: str) -> None:
        self.version += 1
        found = self._objects.pop((kind, name))
        self._send(kind, name, {"type": "DELETED", "object": found})

    def bookmark(self, kind: str, name: str) -> None:
        found = {"kind": "ConfigMap", "metadata": {"resourceVersion": str(self.version)}}
        self._send(kind, name, {"type": "BOOKMARK", "object": found})

    def expire(self, kind: str, name: str) -> None:
        """Say in the stream that it is too old to go on."""
        status = {"kind": "Status", "code": 410, "message": "too old resource version"}
        self._send(kind, name, {"type": "ERROR", "object": status})

    def cut(self) -> None:
        """Break every watch."""
        for writers in self._watchers.values():
            for writer in writers:
                writer.transport.abort()
        self._watchers.clear()

    def end(self) -> None:
        """End every watch in order, as its timeout does."""
        for writers in self._watchers.values():
            for writer in writers:
                writer.write(b"0\r\n\r\n")
                writer.close()
        self._watchers.clear()

    def watching(self, kind: str, name: str) -> bool:
        return bool(self._watchers.get((kind, name)))

    def _send(self, kind: str, name: str, event: Json) -> None:
        data = json.dumps(event).encode() + b"\n"
        if self.hang_watches:
            return
        for writer in self._watchers.get((kind, name), []):
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                target = head.split(" ")[1]
                self.requests.append(target)
                self.tokens += [
                    line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("authorization")
                ]
                if self._answer(target, writer):
                    await reader.read()
                    return
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def _answer(self, target: str, writer: asyncio.StreamWriter) -> bool:
        """Return whether the connection now belongs to a watch."""
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        kind, _, name = parts.path.partition("/api/v1/namespaces/system/")[2].partition("/")
        if self.refuse_with is not None:
            _json(writer, {"message": "no"}, status=self.refuse_with)
            return False
        if name:
            found = self._objects.get((kind, name))
            _json(writer, found or {"message": "not found"}, status=200 if found else 404)
            return False
        name = query["fieldSelector"][0].removeprefix("metadata.name=")
        if "watch" in query:
            if (kind, name) in self.gone:
                self.gone.remove((kind, name))
                _json(writer, {"message": "too old"}, status=410)
                return False
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
            self._watchers.setdefault((kind, name), []).append(writer)
            return True
        found = self._objects.get((kind, name))
        items = [found] if found else []
        _json(writer, {"metadata": {"resourceVersion": str(self.version)}, "items": items})
        return False


def _json(writer: asyncio.StreamWriter, body: Json, *, status: int = 200) -> None:
    data = json.dumps(body).encode()
    writer.write(
        b"HTTP/1.1 %d x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (status, len(data), data)
    )


@asynccontextmanager
async def fake_api() -> AsyncIterator[FakeApi]:
    api = FakeApi()
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
    api.port = server.sockets[0].getsockname()[1]
    try:
        yield api
    finally:
        api.cut()
        server.close()
