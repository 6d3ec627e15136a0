"""The certificates of the webhook: an authority of its own, and what it signs, kept in one Secret. Pure.

What is in the Secret says what is to be done next; whoever finds something due does it and writes, naming the version
that was read. Renewal comes before a third of a life is left. A new authority is made known first and signs only after
`overlap`, so that every API server trusts it by then; the old one is trusted until it ends.
"""

import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY, AUTHORITY_KEY = "ca.crt", "ca.key"
NEXT, NEXT_KEY = "next-ca.crt", "next-ca.key"
CERTIFICATE, KEY = "tls.crt", "tls.key"
BUNDLE = "ca-bundle.crt"
TOKEN = "path-token"  # noqa: S105 - the name of a value, not the value


@dataclass(frozen=True, slots=True)
class Lives:
    """For how long things are good. `overlap`: between a new authority and the first certificate that it signs.
    `backdate`: clocks of API servers may be behind ours."""

    authority: timedelta = timedelta(days=1095)
    serving: timedelta = timedelta(days=90)
    overlap: timedelta = timedelta(hours=1)
    backdate: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes = field(repr=False)

    @property
    def parsed(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate)


@dataclass(frozen=True, slots=True)
class Kept:
    """What the Secret holds. `bundle` are the authorities that API servers are to trust; `token` is the secret part of
    the webhook's path. `upcoming` is an authority that is known and does not sign yet."""

    authority: Pair
    serving: Pair
    bundle: tuple[bytes, ...]
    token: str = field(repr=False)
    upcoming: Pair | None = None

    @property
    def trusted(self) -> bytes:
        """The bundle as PEM."""
        return b"".join(self.bundle)


def read_kept(data: Mapping[str, bytes]) -> Kept | None:
    """What a Secret holds; None when something is missing or cannot be read, so that all is made anew."""
    try:
        kept = Kept(
            authority=Pair(data[AUTHORITY], data[AUTHORITY_KEY]),
            serving=Pair(data[CERTIFICATE], data[KEY]),
            bundle=tuple(_split(data[BUNDLE])),
            token=data[TOKEN].decode("ascii"),
            upcoming=Pair(data[NEXT], data[NEXT_KEY]) if data.get(NEXT) else None,
        )
        for pair in (kept.authority, kept.serving, *((kept.upcoming,) if kept.upcoming else ())):
            if pair.parsed.public_key() != _private(pair).public_key():
                return None
        readable = bool(kept.bundle) and len(kept.token) >= _LEAST_TOKEN and kept.token.isalnum()
    except (KeyError, ValueError, TypeError):
        return None
    return kept if readable else None


def written(kept: Kept) -> dict[str, bytes]:
    """The data of the Secret."""
    upcoming = {NEXT: kept.upcoming.certificate, NEXT_KEY: kept.upcoming.key} if kept.upcoming else {}
    return {
        AUTHORITY: kept.authority.certificate,
        AUTHORITY_KEY: kept.authority.key,
        CERTIFICATE: kept.serving.certificate,
        KEY: kept.serving.key,
        BUNDLE: kept.trusted,
        TOKEN: kept.token.encode("ascii"),
        **upcoming,
    }


def renewed(kept: Kept | None, names: tuple[str, ...], now: datetime, lives: Lives) -> Kept:
    """What the Secret should hold now; the very same object when nothing is due. `names` are DNS names or addresses."""
    if kept is None or kept.authority.parsed.not_valid_after_utc <= now:
        # Nobody trusts anything of it any more, so there is nothing to overlap with.
        authority = new_authority(now, lives)
        token = kept.token if kept is not None else secrets.token_hex(_LEAST_TOKEN // 2)
        return Kept(authority, new_serving(authority, names, now, lives), (authority.certificate,), token)
    kept = _with_authority(kept, now, lives)
    serving = kept.serving.parsed
    signed = serving.issuer == kept.authority.parsed.subject and _signed_by(serving, kept.authority.parsed)
    if not signed or _due(serving, now) or _names_of(serving) != frozenset(names):
        kept = replace(kept, serving=new_serving(kept.authority, names, now, lives))
    live = tuple(one for one in kept.bundle if x509.load_pem_x509_certificate(one).not_valid_after_utc > now)
    return kept if live == kept.bundle else replace(kept, bundle=live)


def new_authority(now: datetime, lives: Lives) -> Pair:
    """A self-signed authority that may sign nothing but servers' certificates."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"tidegate-webhook-ca-{secrets.token_hex(4)}")])
    certificate = (
        _unsigned(name, name, key, now - lives.backdate, now + lives.authority)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pair(certificate, key)


def new_serving(authority: Pair, names: tuple[str, ...], now: datetime, lives: Lives) -> Pair:
    """A certificate for these names; it never outlives the authority."""
    key, signer = ec.generate_private_key(ec.SECP256R1()), authority.parsed
    ends = min(now + lives.serving, signer.not_valid_after_utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tidegate-webhook")])
    signing = _private(authority)
    certificate = (
        _unsigned(subject, signer.subject, key, now - lives.backdate, ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        .sign(signing, hashes.SHA256())
    )
    return _pair(certificate, key)


def ends_at(pair: Pair) -> float:
    """When the certificate ends, in seconds since the epoch."""
    return pair.parsed.not_valid_after_utc.timestamp()


_LEAST_TOKEN = 32


def _with_authority(kept: Kept, now: datetime, lives: Lives) -> Kept:
    upcoming = kept.upcoming
    if upcoming is None:
        if not _due(kept.authority.parsed, now):
            return kept
        upcoming = new_authority(now, lives)
        return replace(kept, upcoming=upcoming, bundle=(*kept.bundle, upcoming.certificate))
    known_since = upcoming.parsed.not_valid_before_utc + lives.backdate
    return kept if now - known_since < lives.overlap else replace(kept, authority=upcoming, upcoming=None)


def _due(certificate: x509.Certificate, now: datetime) -> bool:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return ends - now <= (ends - begins) / 3


def _signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is made anew
        return False
    return True


def _names_of(certificate: x509.Certificate) -> frozenset[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return frozenset([*found.get_values_for_type(x509.DNSName), *addresses])


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _private(pair: Pair) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pair.key, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the key is not one of ours")
    return key


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _split(bundle: bytes) -> list[bytes]:
    parsed = x509.load_pem_x509_certificates(bundle)
    return [one.public_bytes(serialization.Encoding.PEM) for one in parsed]
