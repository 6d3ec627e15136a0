"""What a client certificate says of its holder, in the forms that consumers are matched by.

Only reading: whether a certificate is to be believed is decided by TLS (see `trust`) or by the proxy that sent it.
"""

import re
from hashlib import sha256
from math import inf
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from msgspec import Struct

TLS: Final = "tls"
FORWARDED: Final = "x-forwarded-client-cert"

MAX_SUBJECT: Final = 2048
# Short names that OpenSSL and people write beside the few that RFC 4514, section 3, lists.
_NAMES: Final = {
    "EMAILADDRESS": NameOID.EMAIL_ADDRESS,
    "E": NameOID.EMAIL_ADDRESS,
    "SERIALNUMBER": NameOID.SERIAL_NUMBER,
    "SN": NameOID.SURNAME,
    "GN": NameOID.GIVEN_NAME,
    "TITLE": NameOID.TITLE,
}
UNREADABLE: Final = (
    ValueError,
    TypeError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
# An attribute: its type, "=", and a value in which every special character is escaped (RFC 4514, section 2.4).
_ATTRIBUTE: Final = re.compile(r" *([A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+) *= *((?:[^\\\",;+<>]|\\.)*)", re.DOTALL)
_TRAILING_SPACE: Final = re.compile(r"((?:[^\\]|\\.)*?) *", re.DOTALL)


class ClientCertificate(Struct, frozen=True):
    """A client's certificate.

    `subject` and `issuer` are RFC 4514 strings as `normalised_subject` gives them ("" = none, or not readable), `uris`
    and `dns` are subject alternative names (a SPIFFE ID is a URI), `dns` in lower case. `fingerprint` is the hex
    SHA-256 of the DER form. Times are seconds since the epoch. `through` is "tls" or "x-forwarded-client-cert"; the
    latter may know only a part, and leaves the rest empty.
    """

    subject: str = ""
    uris: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    fingerprint: str = ""
    issuer: str = ""
    serial: int = 0
    not_before: float = 0.0
    not_after: float = inf
    through: str = TLS


def from_der(der: bytes, *, through: str = TLS) -> ClientCertificate:
    """Read a certificate; raises ValueError when it cannot be read."""
    try:
        return from_x509(x509.load_der_x509_certificate(der), through=through)
    except UNREADABLE as error:
        raise ValueError(f"not a readable X.509 certificate: {error}") from None


def from_x509(certificate: x509.Certificate, *, through: str = TLS) -> ClientCertificate:
    """As `from_der`, of a certificate that was parsed; raises ValueError."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    except UNREADABLE as error:
        raise ValueError(f"the certificate's extensions are not readable: {error}") from None
    return ClientCertificate(
        subject=name_text(certificate.subject),
        uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
        dns=tuple(each.lower() for each in names.get_values_for_type(x509.DNSName)),
        emails=tuple(names.get_values_for_type(x509.RFC822Name)),
        fingerprint=sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        issuer=name_text(certificate.issuer),
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        through=through,
    )


def normalised_subject(text: str) -> str:
    """A distinguished name in the one form in which certificates are compared.

    Takes RFC 4514 ("CN=search,O=Example": the most specific part first), also with spaces around the separators and
    types in any case. Attribute types without a short name there become numbers. Raises ValueError that says what is
    wrong.
    """
    if not text.strip(" "):
        raise ValueError("the subject is empty: write it as in CN=search,O=Example")
    if len(text) > MAX_SUBJECT:
        raise ValueError(f"the subject is longer than {MAX_SUBJECT} characters")
    if text.lstrip(" ").startswith("/"):
        raise ValueError("the subject is in OpenSSL's slash form: write it as in CN=search,O=Example, with commas")
    plain = _without_spaces(text)
    try:
        return name_text(x509.Name.from_rfc4514_string(plain, _NAMES))
    except ValueError as error:
        reason = str(error) or "an attribute's type is unknown (write its number, as in 2.5.4.97=VALUE)"
        raise ValueError(f"the subject {text!r} is not a name such as CN=search,O=Example: {reason}") from None


def _without_spaces(text: str) -> str:
    """Types in upper case, and no spaces but those in values. Raises ValueError at the place that is wrong."""
    parts = []
    position = 0
    while True:
        found = _ATTRIBUTE.match(text, position)
        if found is None:
            raise ValueError(f"the subject {text!r} lacks TYPE=VALUE at {text[position : position + 20]!r}")
        if found[2].startswith("#"):
            raise ValueError(f"the subject {text!r} has a value in hexadecimal: write it as text")
        value = _TRAILING_SPACE.fullmatch(found[2])
        parts.append(f"{found[1].upper()}={found[2] if value is None else value[1]}")
        position = found.end()
        if position == len(text):
            return "".join(parts)
        if text[position] not in ",+":
            hint = "put a backslash before it, or a comma between the parts"
            raise ValueError(f"the subject {text!r} has {text[position]!r} at character {position + 1}: {hint}")
        parts.append(text[position])
        position += 1


def name_text(name: x509.Name) -> str:
    """A name as RFC 4514 text. Parts of equal rank ("+") are sorted, for their order means nothing."""
    return ",".join("+".join(sorted(part.rfc4514_string() for part in rdn)) for rdn in reversed(name.rdns))
