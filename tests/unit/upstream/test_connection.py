"""Moments too short for a real socket: events that fall between two turns of the loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tidegate_dataplane.upstream import ConnectFailed, ConnectionLost, Origin, UpstreamClient
from tidegate_dataplane.upstream.client import _exchange
from tidegate_dataplane.upstream.connection import Connection
from tidegate_dataplane.upstream.request_body import ONE_WRITE, send_chunked, send_sliced

WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class StillTransport(asyncio.Transport):
    """Takes what is written and reports nothing of its own accord."""

    def __init__(self, unsent: int = 0) -> None:
        super().__init__()
        self.unsent = unsent
        self.closed = self.aborted = False
        self.written = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += len(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


@dataclass
class Owner:
    events: list[str] = field(default_factory=list)

    def released(self, connection: Connection) -> None:
        self.events.append("released")

    def retired(self, connection: Connection) -> None:
        self.events.append("retired")

    def lost(self, connection: Connection) -> None:
        self.events.append("lost")


def connected(transport: StillTransport) -> tuple[Connection, Owner]:
    owner = Owner()
    connection = Connection(owner, asyncio.get_running_loop(), max_header_bytes=65536, read_high_water=65536)
    connection.connection_made(transport)
    return connection, owner


async def test_a_whole_exchange_releases_the_connection() -> None:
    connection, owner = connected(StillTransport())
    waiter = connection.begin(head_request=False, response_timeout=5)
    connection.data_received(WHOLE)
    assert (await waiter).complete
    assert owner.events == ["released"]
    connection.abort()


async def test_an_answer_to_a_question_that_was_never_asked_closes_the_connection() -> None:
    transport = StillTransport()
    connection, owner = connected(transport)
    connection.data_received(WHOLE)
    assert transport.aborted
    assert owner.events == ["retired"]


async def test_an_answer_while_the_request_is_still_in_our_buffer_ends_the_connection() -> None:
    transport = StillTransport(unsent=10)
    connection, owner = connected(transport)
    waiter = connection.begin(head_request=False, response_timeout=5)
    connection.data_received(WHOLE)
    assert (await waiter).complete
    assert transport.aborted
    assert owner.events == ["retired"]


@pytest.mark.parametrize(
    ("arrives", "ends"),
    [(WHOLE[:-1], ["retired"]), (WHOLE, ["released"])],
    ids=["its head", "all of it"],
)
async def test_a_request_that_is_cancelled_in_the_moment_its_response_comes(arrives: bytes, ends: list[str]) -> None:
    transport = StillTransport()
    connection, owner = connected(transport)
    request = asyncio.ensure_future(_exchange(connection, b"POST", b"head", b"body", 5.0))
    await asyncio.sleep(0)  # it waits for the response now
    connection.data_received(arrives)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert owner.events == ends
    assert transport.aborted == (ends == ["retired"])
    connection.abort()


async def test_a_response_for_a_caller_that_has_gone_closes_the_connection() -> None:
    transport = StillTransport()
    connection, owner = connected(transport)
    connection.begin(head_request=False, response_timeout=5).cancel()
    connection.data_received(WHOLE)
    assert transport.aborted
    assert owner.events == ["retired"]


async def test_a_connection_ends_once_however_often_it_is_told() -> None:
    connection, owner = connected(StillTransport())
    waiter = connection.begin(head_request=False, response_timeout=5)
    connection.connection_lost(ConnectionResetError())
    connection.abort()
    connection.eof_received()
    assert owner.events == ["retired", "lost"]
    with pytest.raises(ConnectionLost) as caught:
        await waiter
    assert not caught.value.sent  # nothing had been written yet


async def test_a_connection_that_dies_while_it_is_made_gives_its_place_back_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def create_connection(factory: Callable[[], Connection], *_: Any, **__: Any) -> tuple[Any, Connection]:
        transport, connection = StillTransport(), factory()
        connection.connection_made(transport)
        connection.connection_lost(None)
        return transport, connection

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create_connection)
    client = UpstreamClient(max_connections_per_origin=1)
    origin = Origin("http", "127.0.0.1", 1, None)
    for _ in range(3):
        with pytest.raises(ConnectFailed, match="closed at once"):
            await client.request(origin, b"GET", b"/", connect_timeout=1, response_timeout=1)
        assert client.connections(origin) == (0, 0)
    await client.aclose()


async def test_a_large_body_waits_while_the_transport_is_full() -> None:
    transport = StillTransport()
    connection, _ = connected(transport)
    waiter = connection.begin(head_request=False, response_timeout=5)
    connection.pause_writing()
    connection.write_in(send_sliced(connection, b"head", b"x" * (1 << 20), stall_timeout=5))
    for _ in range(20):
        await asyncio.sleep(0)
    assert transport.written == len(b"head") + ONE_WRITE
    connection.resume_writing()
    for _ in range(20):
        await asyncio.sleep(0)
    assert transport.written == len(b"head") + (1 << 20)
    connection.data_received(WHOLE)
    assert (await waiter).complete
    connection.abort()


async def test_after_a_full_transport_no_deadline_runs_while_the_caller_makes_its_body() -> None:
    connection, _ = connected(StillTransport())
    waiter = connection.begin(head_request=False, response_timeout=5)
    connection.pause_writing()

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.sleep(0.2)
        yield b"second"

    connection.write_in(send_chunked(connection, b"head", body(), stall_timeout=0.1))
    for _ in range(5):
        await asyncio.sleep(0)
    connection.resume_writing()
    await asyncio.sleep(0.15)  # longer than the provider may stall, shorter than the caller takes
    assert not waiter.done()
    connection.data_received(WHOLE)
    assert (await waiter).complete
    connection.abort()
