"""Who is at the other end of a request's connection: the caller, or a trusted proxy that speaks for it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct

from tidegate_dataplane.transport.certificate import ClientCertificate
from tidegate_dataplane.transport.forwarded import CERTIFICATE_HEADER, client_address, forwarded_certificate
from tidegate_dataplane.transport.peer import CERTIFICATE, Verifier
from tidegate_dataplane.transport.proxies import TrustedProxies
from tidegate_dataplane.transport.trust import Fault

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Caller(Struct, frozen=True, gc=False):
    """What is known of a caller before it says who it is.

    `proxy_headers` are the request's headers when a trusted proxy sent them, else empty.
    """

    address: str
    certificate: ClientCertificate | None = None
    fault: Fault | None = None
    proxy_headers: Mapping[str, str] = NO_HEADERS


class Connections:
    """How a gateway is reached. `verifier` judges what forwarded certificates tell of issuer and serial number.

    With `forwarded_certificates`, trusted proxies verify the callers' certificates and pass them on in
    X-Forwarded-Client-Cert. They must replace or remove what a caller sends there, which is why nobody is believed
    just for being a proxy. A certificate that such a proxy shows for itself is then never the caller's.
    """

    def __init__(
        self,
        *,
        proxies: TrustedProxies | None = None,
        forwarded_certificates: bool = False,
        verifier: Verifier | None = None,
    ) -> None:
        self._proxies = proxies
        self._forwarded_certificates = forwarded_certificates
        self._verifier = verifier

    def describe(self, scope: Mapping[str, Any], headers: Mapping[str, str], peer: str, now: float) -> Caller:
        """The caller of a request from the TCP peer; header names in lower case, `now` in epoch seconds."""
        shown = scope.get(CERTIFICATE)
        if isinstance(shown, Fault):
            return Caller(peer, fault=shown)
        proxies = self._proxies
        if proxies is None or not proxies.trusts(peer):
            return Caller(peer, shown)
        address = client_address(peer, headers, proxies)
        if not self._forwarded_certificates:
            return Caller(address, shown, None, headers)
        given = headers.get(CERTIFICATE_HEADER)
        certificate = None if given is None else forwarded_certificate(given)
        fault = None if certificate is None else self._fault_of(certificate, now)
        return Caller(address, certificate if fault is None else None, fault, headers)

    def _fault_of(self, certificate: ClientCertificate, now: float) -> Fault | None:
        """The proxy verified it, in a handshake that may lie hours back."""
        if now >= certificate.not_after:
            return Fault.EXPIRED
        if now < certificate.not_before:
            return Fault.NOT_YET_VALID
        trust = None if self._verifier is None else self._verifier.trust
        if trust is not None and trust.revoked(certificate.issuer, certificate.serial):
            return Fault.REVOKED
        return None
