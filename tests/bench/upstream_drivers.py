"""One HTTP client at work against one server, as fast as it can; run as a process of its own by upstream_clients.py.

`python -m bench.upstream_drivers serve` is the instant server: it prints its port and answers every request with the
same bytes. `… drive CLIENT PORT CONCURRENCY SECONDS` prints its figures as JSON. Needs only uvloop and the client
itself, so that it runs in an environment without Tidegate.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

import uvloop

PATH = "/v1/chat/completions"
HEADERS = {
    "content-type": "application/json",
    "authorization": "Bearer not-a-key",
    "accept": "application/json",
    "x-request-id": "0123456789abcdef",
}
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 530}]}).encode()
ANSWER = json.dumps({"id": "c", "choices": [{"message": {"role": "assistant", "content": "y" * 250}}]}).encode()
WARM_UP = 0.5  # seconds

Ask = Callable[[], Awaitable[bytes]]


@asynccontextmanager
async def tidegate(port: int) -> AsyncIterator[Ask]:
    upstream = import_module("tidegate_dataplane.upstream")
    origin, _ = upstream.Origin.from_url(f"http://127.0.0.1:{port}")
    client = upstream.UpstreamClient()
    headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    path = PATH.encode()

    async def ask() -> bytes:
        response = await client.request(origin, b"POST", path, headers, BODY, connect_timeout=5, response_timeout=60)
        return bytes(await response.read(limit=1 << 20))

    yield ask
    await client.aclose()


@asynccontextmanager
async def aiohttp(port: int) -> AsyncIterator[Ask]:
    library = import_module("aiohttp")
    async with library.ClientSession(connector=library.TCPConnector(limit=0)) as session:

        async def ask() -> bytes:
            async with session.post(f"http://127.0.0.1:{port}{PATH}", data=BODY, headers=HEADERS) as response:
                return bytes(await response.read())

        yield ask


@asynccontextmanager
async def httpx(port: int) -> AsyncIterator[Ask]:
    library = import_module("httpx")
    async with library.AsyncClient(limits=library.Limits(max_connections=None)) as client:

        async def ask() -> bytes:
            response = await client.post(f"http://127.0.0.1:{port}{PATH}", content=BODY, headers=HEADERS)
            return bytes(response.content)

        yield ask


@asynccontextmanager
async def pyreqwest(port: int) -> AsyncIterator[Ask]:
    library = import_module("pyreqwest.client")
    async with library.ClientBuilder().build() as client:

        async def ask() -> bytes:
            request = client.post(f"http://127.0.0.1:{port}{PATH}").headers(HEADERS).body_bytes(BODY).build()
            return bytes(await (await request.send()).bytes())

        yield ask


CLIENTS: dict[str, Any] = {"tidegate": tidegate, "pyreqwest": pyreqwest, "aiohttp": aiohttp, "httpx": httpx}


async def drive(client: str, port: int, concurrency: int, seconds: float) -> dict[str, Any]:
    """Return requests/s, latencies and processor time per request, in seconds, over `seconds` after the warm-up.

    A wrong answer raises. The processor time tells the clients apart even on a machine that others use too.
    """
    latencies: list[float] = []
    asked = 0
    begin = time.perf_counter() + WARM_UP
    end = begin + seconds

    async def caller(ask: Ask) -> None:
        nonlocal asked
        while (started := time.perf_counter()) < end:
            if await ask() != ANSWER:
                raise RuntimeError(f"{client} returned another body than the server sent")
            asked += 1
            finished = time.perf_counter()
            if begin <= started and finished <= end:
                latencies.append(finished - started)

    async with CLIENTS[client](port) as ask:
        cpu_before = time.process_time()
        await asyncio.gather(*(caller(ask) for _ in range(concurrency)))
        cpu = time.process_time() - cpu_before
    latencies.sort()
    return {
        "rate": len(latencies) / seconds,
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[int(len(latencies) * 0.99)],
        "cpu": cpu / asked,
    }


class InstantServer(asyncio.Protocol):
    """Counts the request's bytes (all are alike) and answers each whole one; parsing would be its own benchmark."""

    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.received.endswith(BODY):
            self.received = b""
            self.transport.write(self.head + ANSWER)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(InstantServer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main(arguments: list[str]) -> None:
    if arguments[0] == "serve":
        uvloop.run(serve())
        return
    _, client, port, concurrency, seconds = arguments
    print(json.dumps(uvloop.run(drive(client, int(port), int(concurrency), float(seconds)))))


if __name__ == "__main__":
    main(sys.argv[1:])
