"""The real Toxiproxy between two programs on loopback: it delays, cuts, starves and loses what passes.

Its API is described in the README of github.com/Shopify/toxiproxy: a proxy has toxics, each on the stream to the server
(`upstream`) or back from it (`downstream`), which hit a share of the connections.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from cluster.harness.binaries import find_toxiproxy
from cluster.harness.processes import ChildProcess, free_port, wait_for_http
from redis_parts.started import Started


class Way(StrEnum):
    """Which stream of a connection a toxic sits on."""

    TO_SERVER = "upstream"
    TO_CLIENT = "downstream"


@dataclass(frozen=True)
class Proxy:
    """One way through Toxiproxy. Times in milliseconds; `share` (0..1) is how many connections a toxic hits.

    Toxics have names, so that one way may have several; the name is the toxic's type unless said otherwise.
    """

    owner: Toxiproxy
    name: str
    port: int

    @property
    def address(self) -> str:
        """HOST:PORT of its listener."""
        return f"127.0.0.1:{self.port}"

    async def latency(self, ms: int, *, jitter: int = 0, way: Way = Way.TO_CLIENT, share: float = 1.0) -> None:
        """Delay everything."""
        await self._add("latency", {"latency": ms, "jitter": jitter}, way, share)

    async def black_hole(self, *, way: Way = Way.TO_CLIENT, share: float = 1.0) -> None:
        """Let nothing through, and say nothing: connections stay open until the toxic is removed."""
        await self._add("timeout", {"timeout": 0}, way, share)

    async def reset(self, *, after: int = 0, way: Way = Way.TO_CLIENT, share: float = 1.0) -> None:
        """Cut connections with TCP RST."""
        await self._add("reset_peer", {"timeout": after}, way, share)

    async def bandwidth(self, kilobytes_a_second: int, *, way: Way = Way.TO_CLIENT, share: float = 1.0) -> None:
        """Starve it; 0 is nothing at all."""
        await self._add("bandwidth", {"rate": kilobytes_a_second}, way, share)

    async def slice(self, size: int, *, delay_us: int = 0, way: Way = Way.TO_CLIENT, share: float = 1.0) -> None:
        """Cut the stream into pieces of about `size` bytes, each after a delay in microseconds."""
        attributes = {"average_size": size, "size_variation": size // 2, "delay": delay_us}
        await self._add("slicer", attributes, way, share)

    async def heal(self) -> None:
        """Remove all toxics and let connections in again. Connections that a black hole held are closed by it."""
        for toxic in await self.owner.ask("GET", f"/proxies/{self.name}/toxics"):
            await self.owner.ask("DELETE", f"/proxies/{self.name}/toxics/{toxic['name']}")
        await self.enable()

    async def disable(self) -> None:
        """Refuse connections, and cut those that are open."""
        await self.owner.ask("POST", f"/proxies/{self.name}", {"enabled": False})

    async def enable(self) -> None:
        """Let connections in."""
        await self.owner.ask("POST", f"/proxies/{self.name}", {"enabled": True})

    async def _add(self, kind: str, attributes: dict[str, int], way: Way, share: float) -> None:
        toxic = {"type": kind, "name": f"{kind}-{way}", "stream": way, "toxicity": share, "attributes": attributes}
        await self.owner.ask("POST", f"/proxies/{self.name}/toxics", toxic)


class Toxiproxy(Started):
    """One Toxiproxy. Use as an async context manager. `prefix` is put before its command."""

    def __init__(self, *, prefix: tuple[str, ...] = ()) -> None:
        """Nothing runs yet. Raises ToolsMissing when it is not built."""
        self._binary = find_toxiproxy()
        self._prefix = prefix
        self.directory = Path(tempfile.mkdtemp(prefix="tidegate-toxiproxy-"))
        self.port = free_port()
        self._process: ChildProcess | None = None

    async def start(self) -> None:
        """Start it and wait until it answers."""
        command: list[str | Path] = [*self._prefix, self._binary, "-host", "127.0.0.1", "-port", str(self.port)]
        process = ChildProcess("toxiproxy", command, log=self.directory / "toxiproxy.log", env={"LOG_LEVEL": "error"})
        self._process = process
        await asyncio.to_thread(wait_for_http, f"http://127.0.0.1:{self.port}/version", process=process)

    async def proxy(self, name: str, server: str) -> Proxy:
        """A way through to `server` (HOST:PORT), on a free port."""
        port = free_port()
        await self.ask("POST", "/proxies", {"name": name, "listen": f"127.0.0.1:{port}", "upstream": server})
        return Proxy(self, name, port)

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One call of its API; raises RuntimeError with its message."""
        return await asyncio.to_thread(self._ask, method, path, body)

    def _ask(self, method: str, path: str, body: Any) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"content-type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status >= 300:
            raise RuntimeError(f"Toxiproxy answers {response.status} to {method} {path}: {answer!r}")
        return json.loads(answer) if answer else None

    async def close(self) -> None:
        """Stop it and remove its folder."""
        if self._process is not None:
            await asyncio.to_thread(self._process.stop)
            self._process = None
        shutil.rmtree(self.directory, ignore_errors=True)
