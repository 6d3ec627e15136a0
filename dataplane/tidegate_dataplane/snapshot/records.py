"""The records of a `ListPart`: networks of addresses, and digests of keys, packed and in one canonical order.

An address record has 17 bytes: an IPv6 network (IPv4 as ::ffff:0:0/96, RFC 4291 section 2.5.5.2) and its prefix length.
A digest record has 16: the first half of the SHA-256 of a key. Equal sets of addresses have equal bytes: what another
record covers is left out, neighbours that make up a network are one record. IPv4 and IPv6 never cover each other.
"""

from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

ADDRESS_BYTES: Final = 17
DIGEST_BYTES: Final = 16
IPV4: Final = bytes(10) + b"\xff\xff"
IPV4_PREFIX: Final = 96
_BITS: Final = 128
_MAX_ADDRESS: Final = 64
_SIZES: Final = tuple(1 << (_BITS - prefix) for prefix in range(_BITS + 1))


@lru_cache(maxsize=8192)
def address_number(text: str) -> int | None:
    """An address as 128 bits, IPv4 as IPv4-mapped IPv6 and without a zone (`%eth0`); None for anything else."""
    if not text or len(text) > _MAX_ADDRESS:
        return None
    packed = _packed(text.partition("%")[0])
    return None if packed is None else int.from_bytes(packed, "big")


def network_record(text: str) -> bytes | None:
    """The record of `192.0.2.0/24`, `192.0.2.7`, `2001:db8::/32` or `2001:db8::7`; None for anything else.

    Bits beyond the prefix length are dropped: `192.0.2.7/24` means the whole network.
    """
    address, slash, length = text.partition("/")
    packed = _packed(address)
    if packed is None:
        return None
    if not slash:
        return packed + b"\x80"
    if not (length.isascii() and length.isdecimal() and len(length) <= 3):
        return None
    prefix = int(length) + (0 if ":" in address else IPV4_PREFIX)
    if prefix > _BITS:
        return None
    loose = _BITS - prefix
    return ((int.from_bytes(packed, "big") >> loose) << loose).to_bytes(16, "big") + bytes((prefix,))


def digest_record(text: str) -> bytes | None:
    """The record of a SHA-256 in 64 hexadecimal digits, None for anything else."""
    if len(text) != 64 or not text.isalnum():
        return None
    try:
        return bytes.fromhex(text)[:DIGEST_BYTES]
    except ValueError:
        return None


def join_networks(records: Iterable[bytes]) -> bytes:
    """Address records of any order and number in their canonical form."""
    ordered = sorted(set(records))
    mapped = [record for record in ordered if record.startswith(IPV4) and record[16] >= IPV4_PREFIX]
    ipv4 = _merged(mapped, IPV4_PREFIX)
    if len(mapped) == len(ordered):
        return b"".join(ipv4)
    ipv6 = _merged([record for record in ordered if not record.startswith(IPV4)] if mapped else ordered, 0)
    at = bisect_left(ipv6, IPV4)
    return b"".join((*ipv6[:at], *ipv4, *ipv6[at:]))


def join_digests(records: Iterable[bytes]) -> bytes:
    """Digest records of any order and number in their canonical form."""
    return b"".join(sorted(set(records)))


def split_records(data: bytes, size: int) -> list[bytes]:
    """The records one by one."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def _packed(text: str) -> bytes | None:
    try:
        return inet_pton(AF_INET6, text) if ":" in text else IPV4 + inet_pton(AF_INET, text)
    except (OSError, ValueError):
        return None


def _merged(ordered: Iterable[bytes], widest: int) -> list[bytes]:
    """Sorted records of one family without what others cover, neighbours joined up to prefix length `widest`."""
    kept: list[bytes] = []
    before, before_prefix, end = -1, -1, -1
    for record in ordered:
        start, prefix = int.from_bytes(record, "big") >> 8, record[16]
        if start <= end:
            continue
        if prefix == before_prefix and start ^ before == _SIZES[prefix] and prefix > widest:
            # Each joining may make the neighbour of the one before.
            while kept and prefix > widest and _parsed(kept[-1]) == (start ^ _SIZES[prefix], prefix):
                start, prefix = _parsed(kept.pop())[0], prefix - 1
            record = start.to_bytes(16, "big") + bytes((prefix,))
        kept.append(record)
        before, before_prefix, end = start, prefix, start + _SIZES[prefix] - 1
    return kept


def _parsed(record: bytes) -> tuple[int, int]:
    return int.from_bytes(record[:16], "big"), record[16]
