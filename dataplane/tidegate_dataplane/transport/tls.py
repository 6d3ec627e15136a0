"""Serving TLS from files that change: the certificate, its key, the authorities of client certificates, their lists.

New files make a new `ssl.SSLContext`, whole or not at all: what cannot be used leaves the one in force, and the state
in `/-/status` says why. Who listens is told, and takes the new context for the connections from then on.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Struct

from tidegate_dataplane.settings import TlsSettings
from tidegate_dataplane.source.files import PolledSource, Signature, signature_of
from tidegate_dataplane.source.state import Health, SourceState
from tidegate_dataplane.transport.trust import ClientTrust, moment

_log = logging.getLogger(__name__)

NAME: Final = "tls"
POLL_SECONDS: Final = 0.25
# With forward secrecy and authenticated encryption only, for TLS 1.2 (RFC 9325, section 4.2); 1.3 has no others.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
_MAX_BYTES: Final = 1024 * 1024
_MAX_CRL_BYTES: Final = 64 * 1024 * 1024


class _Built(Struct, frozen=True):
    """All that one reading of the files came to. `digest` is of what client certificates are judged by."""

    context: ssl.SSLContext
    trust: ClientTrust | None
    digest: bytes
    certificate: x509.Certificate


class ServerTls(PolledSource):
    """What a listener serves TLS with. `context` and `trust` are those in force; `generation` counts the latter's.

    Raises ValueError or OSError when the files cannot be used at the start.
    """

    def __init__(self, settings: TlsSettings, *, poll: float = POLL_SECONDS) -> None:
        super().__init__(NAME, settings.certificate, poll=poll)
        self._settings = settings
        self._listeners: list[Callable[[], Awaitable[None]]] = []
        self.generation = 0
        self._delivered = self.signature()
        self._built = _build(settings)
        self.state.set(Health.FOLLOWING)

    @property
    def context(self) -> ssl.SSLContext:
        return self._built.context

    @property
    def trust(self) -> ClientTrust | None:
        return self._built.trust

    @property
    def states(self) -> tuple[SourceState, ...]:
        if self.state.health is Health.FOLLOWING:
            self.state.message = self._standing(time.time())
        return (self.state,)

    def on_change(self, listener: Callable[[], Awaitable[None]]) -> None:
        """Be called after `context` was replaced."""
        self._listeners.append(listener)

    def signature(self) -> Signature:
        return tuple(signature_of(path) for path in self._settings.paths)

    async def deliver(self) -> bool:
        try:
            built = await asyncio.to_thread(_build, self._settings)
        except ValueError as error:
            message = f"the TLS files cannot be used, those from before stay in force: {error}"
            if self.state.message != message:
                _log.error("%s", message)
            self.state.set(Health.FAILING, message)
            return False
        if built.digest != self._built.digest:
            self.generation += 1
        self._built = built
        for listener in self._listeners:
            await listener()
        self.state.set(Health.FOLLOWING, self._standing(time.time()))
        _log.info("serving TLS anew: %s", self.state.message)
        return True

    def _standing(self, now: float) -> str:
        certificate, trust = self._built.certificate, self._built.trust
        ends = certificate.not_valid_after_utc.timestamp()
        verb = "expired at" if ends <= now else "valid until"
        found = [f"certificate {certificate.serial_number:x} {verb} {moment(ends)}"]
        if trust is not None:
            found.append(f"{len(trust.authorities)} client authorities")
            found += trust.warnings(now)
        return "; ".join(found)


def _build(settings: TlsSettings) -> _Built:
    """Read everything; raises ValueError that names the file, or OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    certificate = _load_certificate(context, settings)
    digest = sha256()
    if settings.client_ca is None:
        return _Built(context, None, digest.digest(), certificate)
    bundle = _read(settings.client_ca, _MAX_BYTES)
    crls = {str(path): _read(path, _MAX_CRL_BYTES) for path in settings.client_crls}
    for data in (bundle, *crls.values()):
        digest.update(sha256(data).digest())
    trust = ClientTrust.read(bundle, crls, crl_required=settings.client_crl_required)
    _ask_for_certificates(context, trust, required=settings.client_certificates_required)
    return _Built(context, trust, digest.digest(), certificate)


def _load_certificate(context: ssl.SSLContext, settings: TlsSettings) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificates(_read(settings.certificate, _MAX_BYTES))[0]
        context.load_cert_chain(settings.certificate, settings.key, password=_refuse_to_ask)
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        raise ValueError(f"{settings.certificate} with {settings.key}: {reason}") from None
    except ValueError as error:
        raise ValueError(f"{settings.certificate} with {settings.key}: {error}") from None
    return certificate


def _refuse_to_ask() -> str:
    """OpenSSL would ask on the terminal."""
    raise ValueError("the key is encrypted; give it in plain PEM, readable by this process alone")


def _ask_for_certificates(context: ssl.SSLContext, trust: ClientTrust, *, required: bool) -> None:
    pem = "".join(ssl.DER_cert_to_PEM_cert(each.public_bytes(Encoding.DER)) for each in trust.authorities)
    context.load_verify_locations(cadata=pem)
    context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    # Whatever stands in the bundle is trusted, an intermediate authority too.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    # A resumed session would bring its old verdict along.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{path} is larger than {limit} bytes")
    return data
