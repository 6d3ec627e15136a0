"""The serving certificate changes while callers are there, and none of them notices."""

import asyncio
import ssl
from pathlib import Path

import pytest

from dataplane.secured import Site, Wire, failing, gate
from dataplane.waiting import until
from tidegate_dataplane.settings import Address, Limits
from tidegate_dataplane.transport.tls import ServerTls

RELOADS = 20


async def served_serial(site: Site, address: Address) -> int:
    """Of the certificate that a new connection is shown."""
    wire = await Wire.open(address, site.client())
    await wire.close()
    return wire.server_serial


async def test_callers_are_served_over_tls(site: Site) -> None:
    async with gate(site.settings()) as found:
        context = site.client()
        context.set_alpn_protocols(["h2", "http/1.1"])
        wire = await Wire.open(found.address, context)
        answer = await wire.ask()
        assert answer.json()["scheme"] == "https"
        assert answer.json()["subject"] is None
        tls = wire.writer.get_extra_info("ssl_object")
        assert (tls.selected_alpn_protocol(), tls.version()) == ("http/1.1", "TLSv1.3")
        await wire.close()


async def test_tls_1_2_only_with_forward_secrecy(site: Site) -> None:
    async with gate(site.settings()) as found:
        context = site.client()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        wire = await Wire.open(found.address, context)
        assert wire.writer.get_extra_info("cipher")[0].startswith("ECDHE")
        await wire.close()
        context.set_ciphers("AES256-GCM-SHA384")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await Wire.open(found.address, context)


async def test_a_new_certificate_is_served_within_a_second_and_open_connections_stay(site: Site) -> None:
    async with gate(site.settings()) as found:
        wire = await Wire.open(found.address, site.client())
        before = wire.server_serial
        issued = site.serve()
        async with asyncio.timeout(1.0):
            while (serial := await served_serial(site, found.address)) == before:
                pass
        assert serial == issued.parsed.serial_number
        assert (await wire.ask()).status == 200
        await wire.close()


@pytest.mark.parametrize("broken", ["other key", "half written", "empty", "encrypted", "missing"])
async def test_a_certificate_that_cannot_be_used_leaves_the_one_in_force(site: Site, broken: str) -> None:
    async with gate(site.settings()) as found:
        before = await served_serial(site, found.address)
        good, other = site.servers.issue("gateway", ["127.0.0.1"]), site.servers.issue("other", ["127.0.0.1"])
        encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"
        match broken:
            case "other key":
                site.secret.put(tls_crt=good.certificate, tls_key=other.key)
            case "half written":
                site.secret.put(tls_crt=good.certificate[: len(good.certificate) // 2], tls_key=good.key)
            case "empty":
                site.secret.put(tls_crt=b"", tls_key=b"")
            case "encrypted":
                site.secret.put(tls_crt=good.certificate, tls_key=encrypted)
            case "missing":
                site.secret.put(tls_crt=good.certificate)
        await until(lambda: failing(found))
        assert "tls." in failing(found)
        assert "PRIVATE KEY" not in failing(found)
        assert await served_serial(site, found.address) == before
        issued = site.serve()
        await until(lambda: not failing(found))
        assert await served_serial(site, found.address) == issued.parsed.serial_number


async def test_no_connection_is_lost_while_certificates_change(site: Site) -> None:
    """Callers connect without a pause, several at a time, over many reloads: not one is refused or cut."""
    async with gate(site.settings()) as found:
        context = site.client()
        stop = asyncio.Event()
        seen: set[int] = set()
        served = 0

        async def call() -> None:
            nonlocal served
            while not stop.is_set():
                wire = await Wire.open(found.address, context)
                assert (await wire.ask()).status == 200
                seen.add(wire.server_serial)
                await wire.close()
                served += 1

        async with asyncio.TaskGroup() as callers:
            for _ in range(8):
                callers.create_task(call())
            for _ in range(RELOADS):
                issued = site.serve()
                await until(lambda issued=issued: issued.parsed.serial_number in seen)  # type: ignore[misc]
            stop.set()
        assert len(seen) == RELOADS + 1
        assert served > RELOADS


async def test_reloads_leave_no_sockets_behind(site: Site) -> None:
    async with gate(site.settings()) as found:
        await served_serial(site, found.address)
        before = open_files()
        for _ in range(5):
            issued = site.serve()
            while await served_serial(site, found.address) != issued.parsed.serial_number:
                pass
        await until(lambda: open_files() <= before)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_long_request_goes_on_over_a_reload(site: Site) -> None:
    async with gate(site.settings()) as found:
        wire = await Wire.open(found.address, site.client())
        wire.writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n")
        await wire.writer.drain()
        issued = site.serve()
        await until(lambda: found.tls is not None and f"{issued.parsed.serial_number:x}" in found.tls.states[0].message)
        assert (await wire.ask(b"\r\n")).status == 200
        await wire.close()


async def test_plain_http_on_the_tls_port_is_closed(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async with gate(site.settings()) as found:
        wire = await Wire.open(found.address, None)
        wire.writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        async with asyncio.timeout(5):
            try:
                got = await wire.reader.read()
            except ConnectionError:
                got = b""
        assert not got.startswith(b"HTTP/")
        await wire.close()
        # And the port goes on.
        assert await served_serial(site, found.address)
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


@pytest.mark.parametrize("head_start", range(6))
async def test_a_reload_does_not_open_a_stopped_port_again(site: Site, head_start: int) -> None:
    async with gate(site.settings()) as found:
        assert found.tls is not None
        # The reader of the files is faster in some runs, so the stop begins at different points of the reload.
        reload = asyncio.create_task(found.tls.deliver())
        for _ in range(head_start):
            await asyncio.sleep(0.001)
        await found.listener.stop(0.1)
        await reload
        with pytest.raises(ConnectionError):
            await Wire.open(found.address, None)


async def test_bad_http_within_tls_is_answered(site: Site) -> None:
    async with gate(site.settings()) as found:
        wire = await Wire.open(found.address, site.client())
        answer = await wire.ask(b"NONSENSE\r\n\r\n")
        assert (answer.status, answer.json()["error"]["code"]) == (400, "malformed_request")
        assert await wire.ended()
        await wire.close()


async def test_a_handshake_that_stalls_is_cut(site: Site) -> None:
    async with gate(site.settings(), limits=Limits(head_seconds=0.2)) as found:
        wire = await Wire.open(found.address, None)
        async with asyncio.timeout(5):
            try:
                assert await wire.reader.read() == b""
            except ConnectionError:
                pass
        await wire.close()


async def test_a_start_with_unusable_files_says_which(site: Site) -> None:
    site.secret.put(tls_crt=b"nonsense", tls_key=b"nonsense")
    with pytest.raises(ValueError, match=r"tls\.crt"):
        ServerTls(site.settings())
    with pytest.raises(FileNotFoundError, match=r"clients\.crl"):
        ServerTls(site.settings(client_ca=site.client_ca, client_crls=(site.crl,)))
