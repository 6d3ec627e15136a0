"""What ends a response, and what is refused because that is in doubt (RFC 9112, section 6)."""

import asyncio
from collections.abc import AsyncIterable

import pytest

from tidegate_dataplane.upstream import ConnectionLost, ProtocolError
from unit.upstream.scripted_server import Peer, Script, serve
from unit.upstream.sending import Sender

LIMIT = 1 << 20


async def collect(chunks: AsyncIterable[bytes], into: list[bytes]) -> None:
    async for chunk in chunks:
        into.append(chunk)


def answering(data: bytes, *, then_close: bool = True) -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(data)
        if not then_close:
            await peer.client_closes()

    return script


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
        (
            b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a="b;c";d\r\nhello\r\n0;x\r\nx-t: 1\r\n\r\n',
            b"hello",
        ),
    ],
    ids=["content-length", "empty", "chunked", "extensions and trailers"],
)
async def test_a_framed_body_is_read_and_the_connection_stays(send: Sender, answer: bytes, body: bytes) -> None:
    async with serve(answering(answer, then_close=False)) as server:
        response = await send(server.origin)
        assert (response.status, await response.read(limit=LIMIT)) == (200, body)
        assert response.complete
        assert send.client.connections(server.origin) == (1, 1)


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_without_framing_the_body_ends_with_the_connection(send: Sender, version: bytes) -> None:
    async with serve(answering(b"HTTP/%b 200 OK\r\n\r\nhello" % version)) as server:
        response = await send(server.origin)
        assert await response.read(limit=LIMIT) == b"hello"
        assert send.client.connections(server.origin) == (0, 0)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_204_and_304_have_no_body_whatever_they_say(send: Sender, status: bytes) -> None:
    async with serve(answering(b"HTTP/1.1 %b\r\ncontent-length: 7\r\n\r\n" % status, then_close=False)) as server:
        response = await send(server.origin)
        assert await response.read(limit=LIMIT) == b""
        assert send.client.connections(server.origin) == (1, 1)


@pytest.mark.parametrize("framing", [b"content-length: 7\r\n", b"transfer-encoding: chunked\r\n", b""])
async def test_the_answer_to_head_has_no_body_and_the_next_exchange_works(send: Sender, framing: bytes) -> None:
    async def script(peer: Peer) -> None:
        assert (await peer.request()).line == b"HEAD /v1/chat/completions HTTP/1.1"
        await peer.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n")
        await peer.request()
        await peer.answer(b"second")

    async with serve(script) as server:
        head = await send(server.origin, b"HEAD")
        assert (head.status, await head.read(limit=LIMIT)) == (200, b"")
        assert await (await send(server.origin)).read(limit=LIMIT) == b"second"
        assert server.connections == 1


async def test_a_body_after_head_spoils_the_connection(send: Sender) -> None:
    async with serve(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", then_close=False)) as server:
        head = await send(server.origin, b"HEAD")
        assert await head.read(limit=LIMIT) == b""
        assert send.client.connections(server.origin) == (0, 0)


async def test_informational_answers_are_skipped(send: Sender) -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 104 New\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    async with serve(answering(early + final, then_close=False)) as server:
        response = await send(server.origin)
        assert response.status == 200
        assert response.headers == [(b"content-length", b"2")]
        assert await response.read(limit=LIMIT) == b"ok"
        assert send.client.connections(server.origin) == (1, 1)


async def test_headers_come_as_sent_with_lower_case_names(send: Sender) -> None:
    head = b"HTTP/1.1 429 Too Many\r\nSet-Cookie: a\r\nset-cookie: b\r\nEmpty:\r\nX-Pad:  v \t\r\n"
    async with serve(answering(head + b"content-length: 0\r\n\r\n")) as server:
        response = await send(server.origin)
    assert response.status == 429
    assert response.headers == [
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"empty", b""),
        (b"x-pad", b"v"),
        (b"content-length", b"0"),
    ]


OK = b"HTTP/1.1 200 OK\r\n"
REFUSED = {
    "length and transfer-encoding": OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "transfer-encoding and length": OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "two lengths": OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nabc",
    "length list": OK + b"content-length: 2, 3\r\n\r\nabc",
    "signed length": OK + b"content-length: +2\r\n\r\nab",
    "huge length": OK + b"content-length: 99999999999999999999\r\n\r\nab",
    "unknown transfer coding": OK + b"transfer-encoding: gzip\r\n\r\nab",
    "chunked not last": OK + b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked from HTTP/1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "folded header": OK + b"a: b\r\n c\r\ncontent-length: 0\r\n\r\n",
    "bare CR in a value": OK + b"a: b\rc: d\r\ncontent-length: 0\r\n\r\n",
    "bare LF ends a line": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "NUL in a value": OK + b"a: b\0\r\ncontent-length: 0\r\n\r\n",
    "space before the colon": OK + b"content-length : 0\r\n\r\n",
    "garbage": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a request": b"GET / HTTP/1.1\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\ncontent-length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 What\r\ncontent-length: 0\r\n\r\n",
    "status 000": b"HTTP/1.1 000 What\r\ncontent-length: 0\r\n\r\n",
    "unasked upgrade": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nbinary",
}


@pytest.mark.parametrize("answer", REFUSED.values(), ids=REFUSED)
async def test_an_answer_in_doubt_is_refused(send: Sender, answer: bytes) -> None:
    async with serve(answering(answer, then_close=False)) as server:
        with pytest.raises(ProtocolError) as caught:
            await send(server.origin)
        assert caught.value.sent
        assert send.client.connections(server.origin) == (0, 0)


@pytest.mark.parametrize(
    "chunk", [b" 2\r\nab\r\n", b"2\nab\r\n", b"2\r\nabc\r\n", b"fffffffffffffffff\r\n", b"-1\r\n", b"zz\r\n"]
)
async def test_a_malformed_chunk_fails_the_body(send: Sender, chunk: bytes) -> None:
    first_read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"transfer-encoding: chunked\r\n\r\n4\r\ngood\r\n")
        await first_read.wait()
        await peer.send(chunk)
        await peer.client_closes()

    async with serve(script) as server:
        response = await send(server.origin)
        assert await response.next_chunk() == b"good"
        first_read.set()
        with pytest.raises(ProtocolError):
            await response.read(limit=LIMIT)
        assert not response.complete


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"content-length: 10\r\n\r\nhello",
        OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\na\r\nhello",
    ],
    ids=["content-length", "no last chunk", "no end of trailers", "inside a chunk"],
)
async def test_a_truncated_body_is_an_error_after_what_came(send: Sender, answer: bytes) -> None:
    async with serve(answering(answer)) as server:
        response = await send(server.origin)
        chunks: list[bytes] = []
        with pytest.raises(ConnectionLost) as caught:
            await collect(response, chunks)
        assert b"".join(chunks) == b"hello"
        assert caught.value.answered
        assert not response.complete
        with pytest.raises(ConnectionLost):
            await response.read(limit=LIMIT)


async def test_a_reset_does_not_end_a_close_delimited_body(send: Sender) -> None:
    first_read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"\r\nhello")
        await first_read.wait()
        peer.reset()

    async with serve(script) as server:
        response = await send(server.origin)
        assert await response.next_chunk() == b"hello"
        first_read.set()
        with pytest.raises(ConnectionLost):
            await response.next_chunk()


async def test_a_huge_head_is_refused_while_it_arrives(send: Sender) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"x-bomb: ")
        while True:
            await peer.send(b"a" * 65536)

    async with serve(script) as server:
        with pytest.raises(ProtocolError, match="65536 bytes"):
            await send(server.origin)
        assert send.client.connections(server.origin) == (0, 0)


@pytest.mark.parametrize(
    "endless",
    [b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", b"x-many: 1\r\n"],
    ids=["informational answers", "header lines"],
)
async def test_a_head_that_never_ends_is_refused(send: Sender, endless: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if endless.startswith(b"x"):
            await peer.send(OK)
        while True:
            await peer.send(endless * 100)

    async with serve(script) as server:
        with pytest.raises(ProtocolError, match="65536 bytes"):
            await send(server.origin)


@pytest.mark.parametrize("tail", [b"x-trailer: ", b"1;ext="], ids=["trailers", "chunk extension"])
async def test_bytes_that_are_no_body_are_bounded_after_the_head_too(send: Sender, tail: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        last = b"0\r\n" if tail.startswith(b"x") else b""
        await peer.send(OK + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n" + last + tail)
        while True:
            await peer.send(b"a" * 65536)

    async with serve(script) as server:
        response = await send(server.origin)
        with pytest.raises(ProtocolError, match="65536 bytes"):
            await response.read(limit=LIMIT)
