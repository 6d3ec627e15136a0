"""The records of a `ListPart`: networks of addresses, and digests of keys, packed and in one canonical order.

An address record has 17 bytes: an IPv6 network (IPv4 as ::ffff:0:0/96, RFC 4291 section 2.5.5.2) and its prefix length.
A digest record has 16: the first half of the SHA-256 of a key. Equal sets of addresses have equal bytes: what another
record covers is left out, neighbours that make up a network are one record. IPv4 and IPv6 never cover each other.
"""

from collections.abc import Collection, Iterable
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

ADDRESS_BYTES: Final = 17
DIGEST_BYTES: Final = 16
IPV4: Final = bytes(10) + b"\xff\xff"
IPV4_PREFIX: Final = 96
_BITS: Final = 128
_MAX_ADDRESS: Final = 64
_Network = tuple[int, int]


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
    if not mapped or len(mapped) == len(ordered):
        return _merged(ordered, IPV4_PREFIX if mapped else 0)
    others = [record for record in ordered if not (record.startswith(IPV4) and record[16] >= IPV4_PREFIX)]
    joined = split_records(_merged(mapped, IPV4_PREFIX) + _merged(others, 0), ADDRESS_BYTES)
    return b"".join(sorted(joined))


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


def _merged(ordered: Collection[bytes], widest: int) -> bytes:
    """Sorted records of one family without what others cover, neighbours joined up to prefix length `widest`."""
    kept: list[_Network] = []
    end = -1
    for record in ordered:
        start, prefix = int.from_bytes(record[:16], "big"), record[16]
        if start <= end:
            continue
        # Each joining may make the neighbour of the one before.
        while kept and prefix > widest and kept[-1] == (start ^ (1 << (_BITS - prefix)), prefix):
            start, prefix = kept.pop()[0], prefix - 1
        kept.append((start, prefix))
        end = start + (1 << (_BITS - prefix)) - 1
    return b"".join([start.to_bytes(16, "big") + bytes((prefix,)) for start, prefix in kept])
