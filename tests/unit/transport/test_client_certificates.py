"""Callers prove themselves by certificates, over real sockets, while authorities and revocation lists change."""

import asyncio
import socket
import ssl
import time
from datetime import timedelta

import pytest

from dataplane.secured import Site, Wire, failing, gate, replace
from dataplane.waiting import until
from pki.authority import Authority, Issued
from tidegate_dataplane.settings import Address

SPIFFE = "spiffe://example.org/search"


@pytest.fixture
def search(site: Site) -> Issued:
    return site.callers.issue_client("search", uris=[SPIFFE])


async def refused(site: Site, address: Address, context: ssl.SSLContext) -> bool:
    """Whether the handshake fails; with TLS 1.3 a client learns of it only as it reads."""
    try:
        wire = await Wire.open(address, context)
    except OSError:
        return True
    try:
        await wire.ask()
    except (OSError, asyncio.IncompleteReadError):
        return True
    finally:
        await wire.close()
    return False


async def test_a_certificate_tells_who_calls(site: Site, search: Issued) -> None:
    async with gate(site.settings(client_ca=site.client_ca)) as found:
        wire = await Wire.open(found.address, site.client(search))
        for _ in range(2):
            answer = (await wire.ask()).json()
            assert (answer["subject"], answer["uris"], answer["through"]) == ("CN=search", [SPIFFE], "tls")
            assert answer["fault"] is None
        await wire.close()


async def test_an_optional_certificate_may_be_left_out(site: Site) -> None:
    async with gate(site.settings(client_ca=site.client_ca)) as found:
        wire = await Wire.open(found.address, site.client())
        assert (await wire.ask()).json()["subject"] is None
        await wire.close()


async def test_a_required_one_may_not(site: Site, search: Issued) -> None:
    settings = site.settings(client_ca=site.client_ca, client_certificates_required=True)
    async with gate(settings) as found:
        assert await refused(site, found.address, site.client())
        assert not await refused(site, found.address, site.client(search))


@pytest.mark.parametrize("required", [True, False])
async def test_a_certificate_of_another_authority_is_refused(site: Site, required: bool) -> None:
    stranger = Authority.create("Test Callers").issue_client("search", uris=[SPIFFE])  # of the same name
    settings = site.settings(client_ca=site.client_ca, client_certificates_required=required)
    async with gate(settings) as found:
        assert await refused(site, found.address, site.client(stranger))


async def test_a_serving_certificate_is_no_clients(site: Site) -> None:
    async with gate(site.settings(client_ca=site.client_ca)) as found:
        assert await refused(site, found.address, site.client(site.callers.issue("search", ["search.example"])))


async def test_a_revoked_certificate_ends_its_connection(site: Site, search: Issued) -> None:
    site.revoke()
    other = site.callers.issue_client("other")
    async with gate(site.settings(client_ca=site.client_ca, client_crls=(site.crl,))) as found:
        wire = await Wire.open(found.address, site.client(search))
        bystander = await Wire.open(found.address, site.client(other))
        assert (await wire.ask()).json()["fault"] is None
        site.revoke(search)
        await until(lambda: found.tls is not None and found.tls.generation)
        assert (await wire.ask()).json()["fault"] == "Revoked"
        assert await wire.ended()
        assert (await bystander.ask()).json()["subject"] == "CN=other"
        again = await Wire.open(found.address, site.client(search))
        answer = (await again.ask()).json()
        assert (answer["fault"], answer["subject"]) == ("Revoked", None)
        for each in (wire, bystander, again):
            await each.close()


async def test_a_certificate_that_expires_ends_its_connection(site: Site) -> None:
    brief = site.callers.issue_client("brief", lifetime=timedelta(seconds=2))
    async with gate(site.settings(client_ca=site.client_ca)) as found:
        wire = await Wire.open(found.address, site.client(brief))
        assert (await wire.ask()).json()["subject"] == "CN=brief"
        ends = brief.parsed.not_valid_after_utc.timestamp()
        # OpenSSL asks time(2), whose second turns up to a tick of the kernel (10 ms) after that of the finer clock.
        await until(lambda: time.time() >= ends + 0.05)
        answer = (await wire.ask()).json()
        assert (answer["fault"], answer["subject"]) == ("Expired", None)
        assert await wire.ended()
        assert await refused(site, found.address, site.client(brief))
        await wire.close()


async def test_authorities_rotate_with_an_overlap(site: Site, search: Issued) -> None:
    fresh = Authority.create("Test Callers 2")
    moved = fresh.issue_client("search", uris=[SPIFFE])
    async with gate(site.settings(client_ca=site.client_ca)) as found:
        tls = found.tls
        assert tls is not None
        wire = await Wire.open(found.address, site.client(search))
        assert (await wire.ask()).json()["subject"] == "CN=search"
        assert await refused(site, found.address, site.client(moved))

        site.trust(site.callers, fresh)
        await until(lambda: tls.generation == 1)
        assert (await wire.ask()).json()["subject"] == "CN=search"
        assert not await refused(site, found.address, site.client(moved))
        assert not await refused(site, found.address, site.client(search))

        site.trust(fresh)
        await until(lambda: tls.generation == 2)
        assert (await wire.ask()).json()["fault"] == "Untrusted"
        assert await wire.ended()
        assert await refused(site, found.address, site.client(search))
        assert not await refused(site, found.address, site.client(moved))
        await wire.close()


async def test_a_caller_brings_the_authority_between(site: Site) -> None:
    between = site.callers.subordinate("Test Issuer")
    issued = between.issue_client("search")
    async with gate(site.settings(client_ca=site.client_ca)) as found:
        tls = found.tls
        assert tls is not None
        wire = await Wire.open(found.address, site.client(issued, between))
        assert (await wire.ask()).json()["subject"] == "CN=search"
        # Judged again, without another handshake: the chain is still there.
        site.trust(site.callers, Authority.create("Another"))
        await until(lambda: tls.generation == 1)
        assert (await wire.ask()).json()["subject"] == "CN=search"
        # The authority between alone is enough to trust.
        site.trust(between)
        await until(lambda: tls.generation == 2)
        assert (await wire.ask()).json()["subject"] == "CN=search"
        assert not await refused(site, found.address, site.client(issued))
        await wire.close()


async def test_an_authority_between_can_be_revoked(site: Site) -> None:
    between = site.callers.subordinate("Test Issuer")
    issued = between.issue_client("search")
    site.revoke(Issued(between.pem, b""))
    async with gate(site.settings(client_ca=site.client_ca, client_crls=(site.crl,))) as found:
        wire = await Wire.open(found.address, site.client(issued, between))
        assert (await wire.ask()).json()["fault"] == "Revoked"
        await wire.close()


async def test_new_serving_certificates_do_not_judge_callers_anew(site: Site, search: Issued) -> None:
    async with gate(site.settings(client_ca=site.client_ca)) as found:
        tls = found.tls
        assert tls is not None
        before = tls.context
        site.serve()
        await until(lambda: tls.context is not before)
        assert tls.generation == 0


async def test_a_required_list_that_has_expired_refuses(site: Site, search: Issued) -> None:
    replace(site.crl, site.callers.revoke(lifetime=timedelta(hours=-1)))
    settings = site.settings(client_ca=site.client_ca, client_crls=(site.crl,), client_crl_required=True)
    async with gate(settings) as found:
        tls = found.tls
        assert tls is not None
        assert "are refused" in tls.states[0].message
        wire = await Wire.open(found.address, site.client(search))
        assert (await wire.ask()).json()["fault"] == "NoRevocationList"
        await wire.close()
        site.revoke()
        await until(lambda: tls.generation)
        assert "are refused" not in tls.states[0].message
        assert not (await one(site, found.address, search))["fault"]


async def test_an_expired_list_is_honoured_and_told(site: Site, search: Issued) -> None:
    other = site.callers.issue_client("other")
    replace(site.crl, site.callers.revoke(search, lifetime=timedelta(hours=-1)))
    async with gate(site.settings(client_ca=site.client_ca, client_crls=(site.crl,))) as found:
        assert found.tls is not None
        assert "expired" in found.tls.states[0].message
        assert (await one(site, found.address, search))["fault"] == "Revoked"
        assert (await one(site, found.address, other))["subject"] == "CN=other"


@pytest.mark.parametrize("broken", ["nonsense", "another signature", "no authorities"])
async def test_trust_that_cannot_be_read_leaves_the_one_in_force(site: Site, search: Issued, broken: str) -> None:
    site.revoke(search)
    async with gate(site.settings(client_ca=site.client_ca, client_crls=(site.crl,))) as found:
        match broken:
            case "nonsense":
                replace(site.crl, b"nonsense")
            case "another signature":
                replace(site.crl, Authority.create("Test Callers").revoke())
            case "no authorities":
                replace(site.client_ca, b"")
        await until(lambda: failing(found))
        assert (await one(site, found.address, search))["fault"] == "Revoked"


async def one(site: Site, address: Address, issued: Issued) -> dict[str, object]:
    wire = await Wire.open(address, site.client(issued))
    answer: dict[str, object] = (await wire.ask()).json()
    await wire.close()
    return answer


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_resumed_session_does_not_bring_a_revoked_certificate_back(
    site: Site, search: Issued, version: ssl.TLSVersion
) -> None:
    site.revoke()
    context = site.client(search)
    context.maximum_version = version
    async with gate(site.settings(client_ca=site.client_ca, client_crls=(site.crl,))) as found:
        tls = found.tls
        assert tls is not None
        session, answer = await asyncio.to_thread(ask_with_session, found.address.port, context, None)
        assert b"CN=search" in answer
        site.revoke(search)
        await until(lambda: tls.generation)
        _, answer = await asyncio.to_thread(ask_with_session, found.address.port, context, session)
        assert b"Revoked" in answer


def ask_with_session(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[ssl.SSLSession | None, bytes]:
    """One request on a connection of its own, offering to resume `session`."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    with context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as wire:
        wire.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = b""
        while chunk := wire.recv(65536):
            answer += chunk
        return wire.session, answer
