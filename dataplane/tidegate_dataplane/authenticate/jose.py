"""A compact JWS (RFC 7515) taken apart, strictly. Nothing here is verified yet; keys never come from a token.

The headers jku, jwk, x5u and x5c, with which a token could bring its own key, are not looked at: keys come from the
key set of the configured provider alone. `crit` is refused (RFC 7515, section 4.1.11: we know no extension).
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from msgspec import Struct

from tidegate_dataplane.authenticate import refusal
from tidegate_dataplane.authenticate.json_object import NotAnObject, read_object
from tidegate_dataplane.authenticate.refusal import Refusal

MAX_TOKEN_BYTES: Final = 16 * 1024
MAX_KEY_ID: Final = 512
_PARTS: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)
# RFC 7515, section 4.1.9: "application/" may be left out, and case does not count. RFC 9068: access tokens.
_TYPES: Final = frozenset({"jwt", "application/jwt", "at+jwt", "application/at+jwt"})


# The orders of the curves P-256, P-384 and P-521 (SP 800-186, section 3.2.1), by the length of signatures on them.
_ORDERS: Final = {
    64: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    96: 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
    132: 2**521 - 0x5AE79787C40D069948033FEB708F65A2FC44A36477663B851449048E16EC79BF7,
}


class Token(Struct, frozen=True, gc=False):
    """What a token says of itself, unverified. An empty `key_id` or `issuer` means that it says none."""

    algorithm: str
    key_id: str
    issuer: str
    claims: dict[str, object]
    signing_input: bytes
    signature: bytes


def looks_like_jwt(text: str) -> bool:
    """Whether the text has the shape of a compact JWS: three parts in base64url."""
    return len(text) <= MAX_TOKEN_BYTES and _PARTS.fullmatch(text) is not None


def other_spelling(text: str) -> str:
    """The one other text that holds whenever an ECDSA-signed token does; "" for tokens that have none.

    With (r, s) also (r, n - s) is a signature (SEC 1, section 4.1.4), and anybody can work that out: whoever keeps a
    token out by its text must keep out both. Of Ed25519, whose signatures have a length of ECDSA's, the result is a
    text that never holds.
    """
    signed, _, part = text.rpartition(".")
    if not looks_like_jwt(text):
        return ""
    try:
        signature = _decode(part)
    except NotAnObject:
        return ""
    order, half = _ORDERS.get(len(signature), 0), len(signature) // 2
    s = order - int.from_bytes(signature[half:], "big")
    if not 0 < s < order:
        return ""
    return f"{signed}.{urlsafe_b64encode(signature[:half] + s.to_bytes(half, 'big')).rstrip(b'=').decode('ascii')}"


def parse(text: str) -> Token | Refusal:
    """Take a token apart. Never raises, whatever the text."""
    if len(text) > MAX_TOKEN_BYTES:
        return refusal.TOO_LARGE
    match = _PARTS.fullmatch(text)
    if match is None:
        return refusal.MALFORMED
    try:
        header, payload, signature = read_object(_decode(match[1])), read_object(_decode(match[2])), _decode(match[3])
    except NotAnObject:
        return refusal.MALFORMED
    algorithm, key_id, kind = header.get("alg"), header.get("kid", ""), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or not isinstance(key_id, str) or len(key_id) > MAX_KEY_ID:
        return refusal.MALFORMED
    if "crit" in header:
        return refusal.CRITICAL
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        return refusal.BAD_TYPE
    issuer = payload.get("iss", "")
    if not isinstance(issuer, str):
        return refusal.MALFORMED
    signed = text[: match.end(2)].encode("ascii")
    return Token(algorithm, key_id, issuer, payload, signed, signature)


def _decode(part: str) -> bytes:
    """base64url without padding (RFC 7515, appendix C), and only the one spelling of each value. Raises NotAnObject."""
    try:
        value = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise NotAnObject("not base64url") from None
    if urlsafe_b64encode(value).rstrip(b"=") != part.encode("ascii"):
        raise NotAnObject("not canonical base64url")
    return value
