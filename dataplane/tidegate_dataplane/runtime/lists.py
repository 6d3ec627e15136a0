"""Lists of addresses and of key digests, compiled for looking up: a few bytes an entry, no object an entry.

A list of 100,000 entries is two or three flat arrays; a look-up is a binary search in C. Built anew when any of its
parts changed, which costs milliseconds.
"""

import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tidegate_dataplane.runtime.build_error import BuildError
from tidegate_dataplane.snapshot.entries import ListKind, ListPart, Shard
from tidegate_dataplane.snapshot.list_key import ListKey, key_of, list_key
from tidegate_dataplane.snapshot.records import (
    ADDRESS_BYTES,
    DIGEST_BYTES,
    address_number,
    join_networks,
    network_record,
)

__all__ = ["NO_LISTS", "AddressList", "HashList", "ListKey", "Lists", "changed_lists", "list_key", "patched"]

_HALF: Final = 64
_LOW: Final = (1 << _HALF) - 1
_IPV4_FIRST: Final = 0xFFFF_0000_0000
_IPV4_LAST: Final = 0xFFFF_FFFF_FFFF


class AddressList:
    """Networks of both families; `records` are those of a ListPart, canonical. Raises BuildError for other bytes."""

    __slots__ = ("_high", "_ipv4", "_ipv4_prefixes", "_low", "_prefixes", "count")

    def __init__(self, records: bytes) -> None:
        if len(records) % ADDRESS_BYTES:
            raise BuildError(f"a list of addresses has {len(records)} bytes, no multiple of {ADDRESS_BYTES}")
        self.count = len(records) // ADDRESS_BYTES
        prefixes = records[ADDRESS_BYTES - 1 :: ADDRESS_BYTES]
        packed = bytearray(records)
        del packed[ADDRESS_BYTES - 1 :: ADDRESS_BYTES]
        high, low = _halves(bytes(packed))
        # Sorted, the IPv4 networks (::ffff:0:0/96) stand together.
        begin = bisect_left(low, _IPV4_FIRST, 0, bisect_right(high, 0))
        end = bisect_right(low, _IPV4_LAST, begin, bisect_right(high, 0))
        self._ipv4, self._ipv4_prefixes = low[begin:end], prefixes[begin:end]
        self._high, self._low = high[:begin] + high[end:], low[:begin] + low[end:]
        self._prefixes = prefixes[:begin] + prefixes[end:]

    @classmethod
    def of(cls, networks: Iterable[str]) -> "AddressList":
        """From texts in CIDR form; raises BuildError for one that is none."""
        return cls(join_networks(_records(networks)))

    def contains(self, address: str) -> bool:
        """Whether an address is in one of the networks; False for a text that is no address."""
        number = address_number(address)
        return number is not None and self.covers(number)

    def covers(self, number: int) -> bool:
        """The same for 128 bits as `address_number` gives them."""
        if number >> 32 == 0xFFFF:
            at = bisect_right(self._ipv4, number) - 1
            return at >= 0 and (number ^ self._ipv4[at]) >> (128 - self._ipv4_prefixes[at]) == 0
        high, low = number >> _HALF, number & _LOW
        after = bisect_right(self._high, high)
        at = bisect_right(self._low, low, bisect_left(self._high, high, 0, after), after) - 1
        if at < 0:
            return False
        return (number ^ (self._high[at] << _HALF | self._low[at])) >> (128 - self._prefixes[at]) == 0


class HashList:
    """Digests of keys; `records` are those of a ListPart, sorted. Raises BuildError for other bytes."""

    __slots__ = ("_high", "_low", "count")

    def __init__(self, records: bytes) -> None:
        if len(records) % DIGEST_BYTES:
            raise BuildError(f"a list of key hashes has {len(records)} bytes, no multiple of {DIGEST_BYTES}")
        self.count = len(records) // DIGEST_BYTES
        self._high, self._low = _halves(records)

    def contains(self, digest16: bytes) -> bool:
        """Whether the first 16 bytes of a SHA-256 are listed."""
        high = int.from_bytes(digest16[:8], "big")
        at = bisect_left(self._high, high)
        if at == self.count or self._high[at] != high:
            return False
        low = int.from_bytes(digest16[8:], "big")
        after = bisect_right(self._high, high, at)
        at = bisect_left(self._low, low, at, after)
        return at < after and self._low[at] == low


class Lists(dict[ListKey, AddressList | HashList]):
    """All lists of a Runtime. A list that is not there holds nothing.

    Immutable, but for `remembered`, where the engine keeps what it worked out from these very lists.
    """

    def __init__(self, lists: Iterable[tuple[ListKey, AddressList | HashList]] = ()) -> None:
        super().__init__(lists)
        self.remembered: dict[Any, Any] = {}

    def contains_address(self, key: ListKey, address: str) -> bool:
        """Whether a list of addresses holds this one; False for a text that is no address."""
        number = address_number(address)
        return number is not None and self.covers(key, number)

    def covers(self, key: ListKey, number: int) -> bool:
        """The same for 128 bits as `address_number` gives them."""
        found = self.get(key)
        return isinstance(found, AddressList) and found.covers(number)

    def contains_digest(self, key: ListKey, digest16: bytes) -> bool:
        """Whether a list of key hashes holds this one."""
        found = self.get(key)
        return isinstance(found, HashList) and found.contains(digest16)


NO_LISTS: Final = Lists()


def changed_lists(before: Iterable[Shard], after: Iterable[Shard]) -> frozenset[ListKey]:
    """The lists of which a part differs between shards that went and shards that came."""
    old, new = _parts(before), _parts(after)
    came = {name[0] for name, part in new.items() if old.get(name) != part}
    went = {name[0] for name in old.keys() - new.keys()}
    return frozenset(came | went)


def patched(lists: Lists, shards: Mapping[str, Shard], changed: frozenset[ListKey]) -> Lists:
    """`lists` with those in `changed` built anew from all the shards; raises BuildError."""
    if not changed:
        return lists
    parts: dict[ListKey, list[bytes]] = {}
    for shard in shards.values():
        for part in shard.lists:
            key = key_of(part)
            if key in changed:
                parts.setdefault(key, []).append(part.data)
    result = Lists((key, found) for key, found in lists.items() if key not in changed)
    for key, found in parts.items():
        # Parts are ranges of one sorted sequence.
        records = b"".join(sorted(found))
        result[key] = AddressList(records) if key.kind is ListKind.ADDRESSES else HashList(records)
    return result


def _halves(packed: bytes) -> tuple["array[int]", "array[int]"]:
    """Numbers of 128 bits, as their upper and their lower 64 bits."""
    words = array("Q", packed)
    if sys.byteorder == "little":
        words.byteswap()
    return words[::2], words[1::2]


def _records(networks: Iterable[str]) -> Iterable[bytes]:
    for text in networks:
        record = network_record(text)
        if record is None:
            raise BuildError(f"{text!r} is no network")
        yield record


def _parts(shards: Iterable[Shard]) -> dict[tuple[ListKey, str], ListPart]:
    return {(key_of(part), part.part): part for shard in shards for part in shard.lists}
