"""TLS: who the server must prove to be, what it is told, and what its abrupt end means."""

import asyncio
import ssl
from pathlib import Path

import pytest

from tidegate_dataplane.upstream import ConnectFailed, ConnectionLost, ConnectTimeout, Origin, UpstreamResponse
from unit.upstream.certificates import Authority
from unit.upstream.scripted_server import Peer, serve, until
from unit.upstream.sending import Sender

LIMIT = 16 << 20


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("tls"), "authority")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("tls"), "stranger")


async def forever(peer: Peer) -> None:
    while True:
        request = await peer.request()
        await peer.answer(request.body)


async def ask(
    send: Sender, tls: ssl.SSLContext, authority: Authority, host: str, *, body: bytes = b"{}", script: object = forever
) -> UpstreamResponse:
    assert callable(script)
    async with serve(script, tls=tls) as server:
        origin, _ = Origin.from_url(f"https://{host}:{server.origin.port}", ca_file=authority.ca_file)
        response = await send(origin, body=body)
        await response.read(limit=LIMIT)
        return response


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_trusted_server_is_used_and_the_connection_stays(send: Sender, authority: Authority, host: str) -> None:
    async with serve(forever, tls=authority.server_context(host)) as server:
        origin, _ = Origin.from_url(f"https://{host}:{server.origin.port}", ca_file=authority.ca_file)
        for body in (b"hello", bytes(range(256)) * 20_000):
            assert await (await send(origin, body=body)).read(limit=LIMIT) == body
        assert server.connections == 1


async def test_the_server_sees_the_name_it_is_asked_for_and_http_1_1(send: Sender, authority: Authority) -> None:
    seen: list[str | None] = []
    protocols: list[str | None] = []
    tls = authority.server_context("localhost")
    tls.set_alpn_protocols(["h2", "http/1.1"])
    tls.sni_callback = lambda _socket, name, _context: seen.append(name)

    async def script(peer: Peer) -> None:
        protocols.append(peer.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await peer.request()
        await peer.answer()

    await ask(send, tls, authority, "localhost", script=script)
    assert (seen, protocols) == (["localhost"], ["http/1.1"])


async def test_a_certificate_for_another_name_is_refused(send: Sender, authority: Authority) -> None:
    with pytest.raises(ConnectFailed, match=r"not trusted.*localhost") as caught:
        await ask(send, authority.server_context("other.test"), authority, "localhost")
    assert not caught.value.sent


async def test_a_certificate_of_an_unknown_authority_is_refused(
    send: Sender, authority: Authority, stranger: Authority
) -> None:
    with pytest.raises(ConnectFailed, match="not trusted"):
        await ask(send, stranger.server_context("localhost"), authority, "localhost")


async def test_an_expired_certificate_is_refused(send: Sender, authority: Authority) -> None:
    with pytest.raises(ConnectFailed, match="expired"):
        await ask(send, authority.server_context("localhost", expired=True), authority, "localhost")


async def test_a_server_that_speaks_no_tls_is_refused(send: Sender, authority: Authority) -> None:
    async def plain(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        await peer.client_closes()

    async with serve(plain) as server:
        origin, _ = Origin.from_url(f"https://localhost:{server.origin.port}", ca_file=authority.ca_file)
        with pytest.raises(ConnectFailed):
            await send(origin)
        assert send.client.connections(origin) == (0, 0)


async def test_a_handshake_that_never_ends_counts_as_connecting(send: Sender, authority: Authority) -> None:
    async def mute(peer: Peer) -> None:
        await peer.client_closes()

    async with serve(mute) as server:
        origin, _ = Origin.from_url(f"https://localhost:{server.origin.port}", ca_file=authority.ca_file)
        with pytest.raises(ConnectTimeout) as caught:
            await send(origin, connect_timeout=0.2)
        assert not caught.value.sent


@pytest.mark.parametrize("polite", [True, False], ids=["with close_notify", "without"])
async def test_only_a_proper_goodbye_ends_a_close_delimited_body(
    send: Sender, authority: Authority, polite: bool
) -> None:
    """Anybody on the path can send FIN; only the server can send close_notify (RFC 9112, section 9.8)."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        if polite:
            peer.writer.close()
            await peer.writer.wait_closed()
        else:
            peer.writer.transport.abort()

    async with serve(script, tls=authority.server_context("localhost")) as server:
        origin, _ = Origin.from_url(f"https://localhost:{server.origin.port}", ca_file=authority.ca_file)
        response = await send(origin)
        if polite:
            assert await response.read(limit=LIMIT) == b"hello"
        else:
            with pytest.raises(ConnectionLost):
                await response.read(limit=LIMIT)
        assert send.client.connections(origin) == (0, 0)


async def test_a_framed_body_needs_no_goodbye(send: Sender, authority: Authority) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"whole")
        peer.writer.transport.abort()

    async with serve(script, tls=authority.server_context("localhost")) as server:
        origin, _ = Origin.from_url(f"https://localhost:{server.origin.port}", ca_file=authority.ca_file)
        response = await send(origin)
        assert await response.read(limit=LIMIT) == b"whole"
        await until(lambda: send.client.connections(origin) == (0, 0))


async def test_an_idle_tls_connection_is_closed_with_a_goodbye(send: Sender, authority: Authority) -> None:
    ended = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(extra=b"connection: close\r\n")
        assert await peer.reader.read() == b""  # raises when the end is not close_notify
        ended.set()

    async with serve(script, tls=authority.server_context("localhost")) as server:
        origin, _ = Origin.from_url(f"https://localhost:{server.origin.port}", ca_file=authority.ca_file)
        await (await send(origin)).read(limit=LIMIT)
        await asyncio.wait_for(ended.wait(), 5)


async def test_a_large_tls_response_waits_for_its_reader(send: Sender, authority: Authority) -> None:
    body = bytes(range(256)) * 32768  # 8 MiB

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(body)
        await peer.client_closes()

    async with serve(script, tls=authority.server_context("localhost")) as server:
        origin, _ = Origin.from_url(f"https://localhost:{server.origin.port}", ca_file=authority.ca_file)
        response = await send(origin)
        await until(lambda: response.buffered > 256 * 1024)
        await asyncio.sleep(0.1)
        assert not response.complete
        assert response.buffered < 2 << 20
        assert b"".join([chunk async for chunk in response]) == body
        assert send.client.connections(origin) == (1, 1)


def test_equal_trust_gives_equal_origins_and_another_does_not(authority: Authority, stranger: Authority) -> None:
    def origin(ca_file: str | None) -> Origin:
        return Origin.from_url("https://api.example.com/v1", ca_file=ca_file)[0]

    assert origin(authority.ca_file) == origin(authority.ca_file)
    assert origin(authority.ca_file) != origin(stranger.ca_file)
    assert origin(None) == origin(None)


def test_a_ca_file_is_read_again_when_it_changes(authority: Authority, stranger: Authority, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    origins = []
    for source in (authority, stranger):
        file.write_bytes(Path(source.ca_file).read_bytes())
        origins.append(Origin.from_url("https://api.example.com", ca_file=str(file))[0])
    assert origins[0] != origins[1]


def test_a_bundle_may_name_its_authorities_in_any_script(authority: Authority, tmp_path: Path) -> None:
    file = tmp_path / "bundle.pem"
    file.write_bytes("# Főtanúsítvány\n".encode() + Path(authority.ca_file).read_bytes())
    from_file, _ = Origin.from_url("https://api.example.com", ca_file=str(file))
    from_text, _ = Origin.from_url("https://api.example.com", ca_data=file.read_text("utf-8"))
    assert from_file == from_text
    assert from_file.tls is not None
    assert len(from_file.tls.get_ca_certs()) == 1
