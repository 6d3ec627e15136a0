"""Who a request comes from, when proxies stand before the gateway."""

from urllib.parse import quote

import pytest

from dataplane.secured import Gate, Site, Wire, gate
from tidegate_dataplane.transport.proxies import TrustedProxies

LOOPBACK = TrustedProxies.parse(["127.0.0.0/8"])
ELSEWHERE = TrustedProxies.parse(["10.0.0.0/8"])
XFCC = 'x-forwarded-client-cert: By=x;Subject="CN=search";URI=spiffe://example.org/search'
HEADERS = ("x-forwarded-for: 203.0.113.9, 192.0.2.7", "x-device-posture: managed", XFCC)


async def ask(found: Gate, *headers: str) -> dict[str, object]:
    wire = await Wire.open(found.address, None)
    answer: dict[str, object] = (await wire.ask(headers=headers)).json()
    await wire.close()
    return answer


@pytest.mark.parametrize("proxies", [None, ELSEWHERE])
async def test_nobody_is_believed_who_is_not_a_trusted_proxy(proxies: TrustedProxies | None) -> None:
    async with gate(proxies=proxies, forwarded_certificates=True) as found:
        answer = await ask(found, *HEADERS)
        assert (answer["address"], answer["peer"]) == ("127.0.0.1", "127.0.0.1")
        assert answer["subject"] is None
        assert answer["proxyHeaders"] == []


async def test_a_trusted_proxy_tells_where_the_caller_is_and_what_it_knows_of_it() -> None:
    async with gate(proxies=LOOPBACK) as found:
        answer = await ask(found, *HEADERS)
        assert (answer["address"], answer["peer"]) == ("192.0.2.7", "127.0.0.1")
        assert "x-device-posture" in answer["proxyHeaders"]  # type: ignore[operator]  # a list
        assert answer["subject"] is None, "certificates are believed only where that is said"


async def test_a_proxy_that_verifies_certificates_tells_them() -> None:
    async with gate(proxies=LOOPBACK, forwarded_certificates=True) as found:
        answer = await ask(found, *HEADERS)
        assert (answer["subject"], answer["through"]) == ("CN=search", "x-forwarded-client-cert")
        assert (await ask(found, "x-forwarded-client-cert: nonsense"))["subject"] is None


async def test_the_proxys_own_certificate_is_not_the_callers(site: Site) -> None:
    proxy = site.callers.issue_client("proxy")
    settings = site.settings(client_ca=site.client_ca)
    async with gate(settings, proxies=LOOPBACK, forwarded_certificates=True) as found:
        wire = await Wire.open(found.address, site.client(proxy))
        assert (await wire.ask()).json()["subject"] is None
        assert (await wire.ask(headers=(XFCC,))).json()["subject"] == "CN=search"
        await wire.close()


async def test_forwarded_certificates_are_looked_up_in_the_lists_too(site: Site) -> None:
    search = site.callers.issue_client("search")
    site.revoke(search)
    pem = quote(search.certificate.decode(), safe="")
    settings = site.settings(client_ca=site.client_ca, client_crls=(site.crl,))
    async with gate(settings, proxies=LOOPBACK, forwarded_certificates=True) as found:
        wire = await Wire.open(found.address, site.client())
        answer = (await wire.ask(headers=(f'x-forwarded-client-cert: Cert="{pem}"',))).json()
        assert (answer["fault"], answer["subject"]) == ("Revoked", None)
        # The connection is the proxy's, and others come over it.
        assert (await wire.ask(headers=(XFCC,))).json()["subject"] == "CN=search"
        await wire.close()
