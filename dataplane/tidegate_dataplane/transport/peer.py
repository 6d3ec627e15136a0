"""The certificate at the other end of one TLS connection, and whether it holds at this moment."""

import ssl
from math import inf
from typing import Any, Final, Protocol

from cryptography import x509

from tidegate_dataplane.transport.certificate import UNREADABLE, ClientCertificate, from_x509
from tidegate_dataplane.transport.trust import Chain, ClientTrust, Fault

CERTIFICATE: Final = "tidegate.certificate"
"""In an ASGI scope: the caller's ClientCertificate, or the Fault of one that does not hold; absent without one."""


class Verifier(Protocol):
    """What judges; `generation` grows whenever `trust` is replaced."""

    @property
    def generation(self) -> int: ...

    @property
    def trust(self) -> ClientTrust | None: ...


class Peer:
    """`certificate` is what the caller showed in the handshake; ask `fault` before believing it."""

    __slots__ = ("_chain", "_fault", "_generation", "_until", "_verifier", "certificate")

    def __init__(self, chain: Chain, certificate: ClientCertificate, verifier: Verifier) -> None:
        self.certificate = certificate
        self._chain = chain
        self._verifier = verifier
        self._generation = -1
        self._until = -inf
        self._fault: Fault | None = None

    def fault(self, now: float) -> Fault | None:
        """Why the certificate does not hold at `now` (epoch seconds), or None.

        Two comparisons, unless the files have changed since the last time or something has expired.
        """
        verifier = self._verifier
        generation = verifier.generation
        if generation != self._generation or now >= self._until:
            self._judge(now, generation)
        return self._fault

    def _judge(self, now: float, generation: int) -> None:
        trust = self._verifier.trust
        self._fault = Fault.UNTRUSTED if trust is None else trust.fault_of(self._chain, now)
        # A certificate that does not hold does not come to hold by time passing; other files may change that.
        self._until = inf if trust is None or self._fault is not None else trust.changes_at(self._chain)
        self._generation = generation


class Unreadable(Peer):
    """A certificate that TLS accepted and that we cannot read: nothing is known of its holder."""

    __slots__ = ()

    def __init__(self, verifier: Verifier) -> None:
        super().__init__((), ClientCertificate(), verifier)

    def fault(self, now: float) -> Fault | None:
        return Fault.UNREADABLE


def peer_of(connection: ssl.SSLObject, verifier: Verifier) -> Peer | None:
    """The caller's certificate after the handshake; None when it showed none."""
    der = connection.getpeercert(True)
    if der is None:
        return None
    try:
        chain = _verified_chain(connection, der)
        return Peer(chain, from_x509(chain[0]), verifier)
    except UNREADABLE:
        return Unreadable(verifier)


def _verified_chain(connection: Any, der: bytes) -> Chain:
    """What OpenSSL verified, the client's certificate first.

    Python shows it from 3.13 on; before that, only the object within `SSLObject` does. Without it the certificate
    stands alone, and holds when an authority of the bundle signed it directly.
    """
    ask = getattr(connection, "get_verified_chain", None)
    if ask is None:
        ask = getattr(getattr(connection, "_sslobj", None), "get_verified_chain", None)
    found = [] if ask is None else ask() or []
    chain = tuple(_parse(each) for each in found)
    return chain or (x509.load_der_x509_certificate(der),)


def _parse(found: Any) -> x509.Certificate:
    if isinstance(found, bytes):
        return x509.load_der_x509_certificate(found)
    return x509.load_pem_x509_certificate(found.public_bytes().encode("ascii"))
