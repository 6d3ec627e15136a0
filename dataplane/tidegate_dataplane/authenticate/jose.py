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
