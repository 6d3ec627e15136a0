"""What trusted proxies say of the caller they serve: its address, and the certificate that it showed them.

Pure. Whoever asks must know that the TCP peer is a trusted proxy; what does not parse is never believed.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from cryptography import x509

from tidegate_dataplane.transport.certificate import (
    FORWARDED,
    UNREADABLE,
    ClientCertificate,
    from_x509,
    normalised_subject,
)
from tidegate_dataplane.transport.elements import Pairs, read_pairs, split_from_right
from tidegate_dataplane.transport.proxies import AddressHeader, TrustedProxies, canonical_address

CERTIFICATE_HEADER: Final = "x-forwarded-client-cert"
MAX_CERTIFICATE_HEADER: Final = 32 * 1024
MAX_FORWARDED: Final = 8 * 1024
MAX_NAMES: Final = 64
_REMEMBERED: Final = 256
_HASH: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII).fullmatch
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)
_REPEATED: Final = frozenset({"by", "uri", "dns"})
_IDENTIFYING: Final = frozenset({"hash", "cert", "subject", "uri", "dns"})


def client_address(peer: str, headers: Mapping[str, str], proxies: TrustedProxies) -> str:
    """Where the caller is: `peer`, or what trusted proxies say of it.

    Walks from the right, over at most `proxies.depth` entries, as long as the address so far is a trusted proxy's.
    An entry that is no address ends the walk at the proxy that wrote it. `headers` have lower-case names.
    """
    address = canonical_address(peer) or peer
    given = headers.get(proxies.header)
    if given is None or not proxies.trusts(address):
        return address
    entries = _addresses(given) if proxies.header is AddressHeader.X_FORWARDED_FOR else _forwarded_for(given)
    for _, entry in zip(range(proxies.depth), entries, strict=False):
        found = canonical_address(entry)
        if found is None:
            return address
        address = found
        if not proxies.trusts(address):
            return address
    return address


def _addresses(value: str) -> Iterator[str]:
    """Of X-Forwarded-For, last one first."""
    rest = value
    while True:
        rest, comma, entry = rest.rpartition(",")
        yield entry
        if not comma:
            return


def _forwarded_for(value: str) -> Iterator[str]:
    """The `for` of each element of Forwarded (RFC 7239, sections 4 and 6), last one first; "" where there is none."""
    if len(value) > MAX_FORWARDED:
        # Proxies write at the right end. What is cut in two must not be read as something else: "=" begins no pair.
        value = "=" + value[-MAX_FORWARDED:]
    for element in split_from_right(value):
        pairs = read_pairs(element.strip(" \t"))
        found = [given for key, given in pairs or () if key == "for"]
        node = _QUOTED_PAIR.sub(r"\1", found[0]) if len(found) == 1 else ""
        # An IPv6 address must stand in brackets there (section 6); without them, a port would be taken for its end.
        yield "" if node.count(":") > 1 and not node.startswith("[") else node


@lru_cache(maxsize=_REMEMBERED)
def forwarded_certificate(value: str) -> ClientCertificate | None:
    """The certificate that the nearest proxy verified: the last element of X-Forwarded-Client-Cert.

    The format is Envoy's ("HTTP header manipulation", x-forwarded-client-cert in its documentation). None when the
    element is malformed, contradicts itself, names nobody, or the header is longer than MAX_CERTIFICATE_HEADER. With
    `Cert`, the certificate itself tells everything and the other keys only have to agree. A `Subject` that is no
    RFC 4514 name is left empty, and so matches nobody.
    """
    if len(value) > MAX_CERTIFICATE_HEADER or not value.isascii() or not value.isprintable():
        return None
    pairs = read_pairs(next(split_from_right(value)).strip(" \t"))
    if pairs is None or len(pairs) > MAX_NAMES or not _identifies(pairs):
        return None
    single = {key: given.replace('\\"', '"') for key, given in pairs if key not in _REPEATED}
    uris = tuple(given.replace('\\"', '"') for key, given in pairs if key == "uri" and given)
    dns = tuple(given.lower() for key, given in pairs if key == "dns" and given)
    digest = single.get("hash", "")
    if digest and not _HASH(digest):
        return None
    if "cert" in single:
        return _from_pem(single["cert"], digest.lower(), uris)
    subject = _subject(single.get("subject", ""))
    if not (digest or subject or uris or dns):
        return None
    return ClientCertificate(subject=subject, uris=uris, dns=dns, fingerprint=digest.lower(), through=FORWARDED)


def _identifies(pairs: Pairs) -> bool:
    keys = [key for key, _ in pairs]
    once = [key for key in keys if key not in _REPEATED]
    return len(once) == len(set(once)) and not _IDENTIFYING.isdisjoint(keys)


def _from_pem(text: str, digest: str, uris: tuple[str, ...]) -> ClientCertificate | None:
    try:
        found = from_x509(x509.load_pem_x509_certificate(unquote(text).encode("ascii")), through=FORWARDED)
    except UNREADABLE:
        return None
    if digest not in ("", found.fingerprint) or not set(uris) <= set(found.uris):
        return None
    return found


def _subject(text: str) -> str:
    try:
        return normalised_subject(text)
    except ValueError:
        return ""
