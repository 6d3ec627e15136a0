"""Which client certificates hold now: issued by an authority of the bundle, within their time, not revoked.

TLS has verified the chain when a connection began; here it is judged again, on the connections that are open, when the
bundle or a revocation list changed or a time has come. One object is one state of those files and never changes.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from math import inf
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtensionOID
from msgspec import Struct

from tidegate_dataplane.transport.certificate import UNREADABLE, name_text

_REMEMBERED: Final = 4096
_PEM_CRL: Final = b"-----BEGIN X509 CRL-----"
_PEM_CRL_END: Final = b"-----END X509 CRL-----"
# Critical extensions of a list that we honour (RFC 5280, section 5.2: a list with another must not be used).
_KNOWN: Final = frozenset({ExtensionOID.ISSUING_DISTRIBUTION_POINT, ExtensionOID.CRL_NUMBER})

Chain = tuple[x509.Certificate, ...]


class Fault(StrEnum):
    """Why a client certificate does not hold."""

    EXPIRED = "Expired"
    NOT_YET_VALID = "NotYetValid"
    REVOKED = "Revoked"
    UNTRUSTED = "Untrusted"
    NO_REVOCATION_LIST = "NoRevocationList"
    UNREADABLE = "Unreadable"


class Revocations(Struct, frozen=True):
    """What the lists of one issuer say together. `next_update` (epoch seconds) is the earliest of theirs.

    `verified` tells whether the issuer's certificate is in the bundle and signed every one of them.
    """

    issuer: str
    serials: frozenset[int]
    next_update: float
    verified: bool


class ClientTrust:
    """A bundle of authorities with its revocation lists. With `crl_required`, a certificate whose issuer has no
    verified and current list is refused."""

    def __init__(
        self,
        authorities: Iterable[x509.Certificate],
        revocations: Mapping[str, Revocations],
        *,
        crl_required: bool = False,
    ) -> None:
        self.authorities = tuple(authorities)
        self.revocations = revocations
        self._crl_required = crl_required
        self._anchors = frozenset(self.authorities)
        # Checking a signature takes as long as serving a request; a caller that connects anew is checked already.
        self._issuers = lru_cache(maxsize=_REMEMBERED)(self._find_issuers)

    @classmethod
    def read(cls, bundle: bytes, crls: Mapping[str, bytes], *, crl_required: bool = False) -> "ClientTrust":
        """From a PEM bundle and revocation lists (PEM or DER) by file name; raises ValueError naming what is wrong."""
        try:
            authorities = x509.load_pem_x509_certificates(bundle)
        except ValueError as error:
            raise ValueError(f"the client CA bundle holds no certificates in PEM: {error}") from None
        lists = [(name, each) for name, data in crls.items() for each in _read_lists(name, data)]
        return cls(authorities, _by_issuer(lists, authorities), crl_required=crl_required)

    def fault_of(self, chain: Chain, now: float) -> Fault | None:
        """Judge a chain that TLS has verified, the client's own certificate first; `now` in epoch seconds."""
        for certificate in chain:
            fault = _out_of_time(certificate, now)
            if fault is not None:
                return fault
            if certificate in self._anchors:
                return self._unchecked(chain[0], now)
            if self.revoked(name_text(certificate.issuer), certificate.serial_number):
                return Fault.REVOKED
            if any(_out_of_time(each, now) is None for each in self._issuers(certificate)):
                return self._unchecked(chain[0], now)
        return Fault.UNTRUSTED

    def changes_at(self, chain: Chain) -> float:
        """When a chain that holds now must be judged again, in epoch seconds."""
        times = [each.not_valid_after_utc.timestamp() for each in chain]
        for certificate in chain:
            times += [each.not_valid_after_utc.timestamp() for each in self._issuers(certificate)]
        if self._crl_required:
            times += [each.next_update for each in self.revocations.values()]
        return min(times)

    def revoked(self, issuer: str, serial: int) -> bool:
        """By the issuer's name (`name_text`) and the certificate's serial number."""
        found = self.revocations.get(issuer)
        return found is not None and serial in found.serials

    def warnings(self, now: float) -> list[str]:
        """What an operator should put right."""
        found = [
            f"client authority {name_text(each.subject)} {fault.lower()}"
            for each in self.authorities
            if (fault := _out_of_time(each, now)) is not None
        ]
        for each in self.revocations.values():
            if not each.verified:
                found.append(f"the revocation list of {each.issuer} is of no authority in the bundle (still honoured)")
            if each.next_update <= now:
                effect = "its certificates are refused" if self._crl_required else "still honoured"
                found.append(f"the revocation list of {each.issuer} expired at {moment(each.next_update)} ({effect})")
        if self._crl_required and not self.revocations:
            found.append("no revocation list: every client certificate is refused")
        return found

    def _unchecked(self, leaf: x509.Certificate, now: float) -> Fault | None:
        if not self._crl_required:
            return None
        found = self.revocations.get(name_text(leaf.issuer))
        if found is None or not found.verified or found.next_update <= now:
            return Fault.NO_REVOCATION_LIST
        return None

    def _find_issuers(self, certificate: x509.Certificate) -> tuple[x509.Certificate, ...]:
        return tuple(
            each
            for each in self.authorities
            if each.subject == certificate.issuer and _may_sign(each) and _is_signed_by(certificate, each)
        )


def moment(seconds: float) -> str:
    """Epoch seconds as RFC 3339 in UTC."""
    return "never" if seconds == inf else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _out_of_time(certificate: x509.Certificate, now: float) -> Fault | None:
    if now >= certificate.not_valid_after_utc.timestamp():
        return Fault.EXPIRED
    return Fault.NOT_YET_VALID if now < certificate.not_valid_before_utc.timestamp() else None


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, *UNREADABLE):
        return False


def _is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _read_lists(name: str, data: bytes) -> list[x509.CertificateRevocationList]:
    try:
        if _PEM_CRL not in data:
            return [x509.load_der_x509_crl(data)]
        parts = data.split(_PEM_CRL)[1:]
        return [x509.load_pem_x509_crl(_PEM_CRL + part.partition(_PEM_CRL_END)[0] + _PEM_CRL_END) for part in parts]
    except ValueError as error:
        raise ValueError(f"{name} holds no revocation list in PEM or DER: {error}") from None


def _by_issuer(
    lists: Iterable[tuple[str, x509.CertificateRevocationList]], authorities: Iterable[x509.Certificate]
) -> dict[str, Revocations]:
    found: dict[str, Revocations] = {}
    for name, each in lists:
        key = name_text(each.issuer)
        one = _revocations(name, each, authorities)
        before = found.get(key)
        found[key] = one if before is None else _together(before, one)
    return found


def _revocations(
    name: str, crl: x509.CertificateRevocationList, authorities: Iterable[x509.Certificate]
) -> Revocations:
    issuer = name_text(crl.issuer)
    _check_extensions(name, crl)
    if crl.next_update_utc is None:
        raise ValueError(f"{name}: the revocation list of {issuer} does not say when the next one comes")
    signers = [each for each in authorities if each.subject == crl.issuer]
    if signers and not any(_signed_list(crl, each) for each in signers):
        raise ValueError(f"{name}: the revocation list of {issuer} is not signed by the authority of that name")
    return Revocations(
        issuer=issuer,
        serials=frozenset(each.serial_number for each in crl),
        next_update=crl.next_update_utc.timestamp(),
        verified=bool(signers),
    )


def _check_extensions(name: str, crl: x509.CertificateRevocationList) -> None:
    try:
        critical = [each for each in crl.extensions if each.critical]
    except UNREADABLE as error:
        raise ValueError(f"{name}: the revocation list's extensions are not readable: {error}") from None
    for extension in critical:
        value = extension.value
        indirect = isinstance(value, x509.IssuingDistributionPoint) and value.indirect_crl
        if extension.oid not in _KNOWN or indirect:
            raise ValueError(f"{name}: give a full revocation list of one issuer, neither delta nor indirect")


def _signed_list(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    key = authority.public_key()
    try:
        return crl.is_signature_valid(key)  # type: ignore[arg-type]  # a key that cannot sign raises TypeError
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False


def _together(one: Revocations, other: Revocations) -> Revocations:
    return Revocations(
        issuer=one.issuer,
        serials=one.serials | other.serials,
        next_update=min(one.next_update, other.next_update),
        verified=one.verified and other.verified,
    )
