"""A whole data plane that serves TLS, and what it says of itself."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from dataplane.factory import KEY, REPLY, bundle_of, consumer, policy, shard
from dataplane.planes import running
from dataplane.raw_http import admin, chat, exchange, request
from dataplane.secured import Site, Wire
from tidegate_dataplane.main import main
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.entries import CertificateMatchEntry, Method
from tidegate_dataplane.transport.proxies import TrustedProxies

SPIFFE = "spiffe://example.org/search"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def source(plane: DataPlane) -> dict[str, str]:
    """What the status says of TLS."""
    report = (await admin(plane, "/-/status")).json()
    found: dict[str, str] = next(each for each in report["sources"] if each["name"] == "tls")
    return found


async def test_chat_over_tls_and_a_revocation_that_is_enforced_in_a_second(site: Site, tmp_path: Path) -> None:
    search = site.callers.issue_client("search")
    site.revoke()
    tls = site.settings(client_ca=site.client_ca, client_crls=(site.crl,))
    audit = tmp_path / "audit"
    async with running(bundle_of(shard()), tls=tls, audit=audit) as plane:
        wire = await Wire.open(plane.address, site.client(search))
        data = request(chat(), key=KEY)
        assert REPLY in (await wire.ask(data)).text
        site.revoke(search)
        async with asyncio.timeout(1.0):
            while (refused := await wire.ask(data)).status == 200:
                pass
        assert refused.status == 401
        assert refused.json()["error"]["code"] == "invalid_client_certificate"
        assert refused.json()["error"]["type"] == "authentication_error"
        assert await wire.ended()
        metrics = (await admin(plane, "/metrics")).text
        assert 'tidegate_authentication_failures_total{reason="client_certificate_revoked"} 1.0' in metrics
        await wire.close()
    assert b"invalid_client_certificate" in audit.read_bytes()


async def test_the_status_tells_of_the_certificate_and_of_files_that_cannot_be_used(site: Site) -> None:
    async with running(bundle_of(shard()), tls=site.settings()) as plane:
        told = await source(plane)
        assert told["state"] == "Following"
        assert "valid until" in told["message"]
        site.secret.put(tls_crt=b"nonsense", tls_key=b"nonsense")
        while (told := await source(plane))["state"] == "Following":
            pass
        assert told["state"] == "Failing"
        assert "stay in force" in told["message"]
        wire = await Wire.open(plane.address, site.client())
        assert (await wire.ask(request(chat(), key=KEY))).status == 200
        await wire.close()


async def test_an_orderly_stop_lets_tls_requests_end(site: Site) -> None:
    async with running(bundle_of(shard()), tls=site.settings()) as plane:
        wire = await Wire.open(plane.address, site.client())
        assert (await wire.ask(request(chat(), key=KEY))).status == 200
        stopping = asyncio.create_task(plane.stop())
        assert await wire.ended()
        await wire.close()
        await stopping


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        (["--tls-certificate", "a"], "go together"),
        (["--tls-dir", "a", "--tls-key", "b"], "not both"),
        (["--client-ca", "a"], "--client-ca needs TLS"),
        (["--tls-dir", "a", "--client-crl", "b"], "need --client-ca"),
        (["--tls-dir", "a", "--client-certificates", "required"], "need --client-ca"),
        (["--tls-dir", "a", "--client-ca", "b", "--client-crl-required"], "needs --client-crl"),
        (["--trusted-proxy", "10.0.0.1/8"], "--trusted-proxy '10.0.0.1/8'"),
        (["--trusted-proxy", "0.0.0.0/0"], "believes every caller"),
        (["--trusted-proxy", "10.0.0.1", "--trusted-proxy-depth", "0"], "--trusted-proxy-depth"),
        (["--trust-client-certificate-header"], "needs --trusted-proxy"),
        (["--tls-dir", "/nonexistent"], "/nonexistent/tls.crt"),
    ],
)
def test_flags_that_cannot_be_meant_are_said_at_the_start(
    flags: list[str], hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--no-api", "--snapshot-dir", str(tmp_path), *flags]) == 1
    assert hint in capsys.readouterr().err


def test_a_wrong_rate_is_said_at_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--auth-failures-per-address", "many"])
    assert "60/1m" in capsys.readouterr().err


def mutual() -> Bundle:
    """A route for which a certificate suffices, and a consumer that is known by one."""
    known = CertificateMatchEntry(name="workload", uri=SPIFFE)
    holder = replace(consumer(), certificates=(known,))
    return bundle_of(shard(policies=(policy(methods=(Method.MTLS,)),), consumers=(holder,)))


async def test_a_certificate_stands_for_a_consumer(site: Site) -> None:
    issued = site.callers.issue_client("anything", uris=[SPIFFE])
    stranger = site.callers.issue_client("anything", uris=["spiffe://example.org/other"])
    async with running(mutual(), tls=site.settings(client_ca=site.client_ca)) as plane:
        for shown, key, expected in ((issued, None, 200), (stranger, None, 401), (None, None, 401), (None, KEY, 401)):
            wire = await Wire.open(plane.address, site.client(shown))
            assert (await wire.ask(request(chat(), key=key))).status == expected
            await wire.close()


@pytest.mark.parametrize(
    ("proxies", "believed", "expected"),
    [("127.0.0.1", True, 200), ("127.0.0.1", False, 401), ("10.0.0.0/8", True, 401)],
)
async def test_a_trusted_proxys_word_for_a_certificate(proxies: str, believed: bool, expected: int) -> None:
    trusted = TrustedProxies.parse([proxies])
    async with running(mutual(), proxies=trusted, forwarded_certificates=believed) as plane:
        header = f'x-forwarded-client-cert: By=x;Subject="CN=a";URI={SPIFFE}'
        answer = await exchange(plane, request(chat(), headers=(header,)))
        assert answer.status == expected
