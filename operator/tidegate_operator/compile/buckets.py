"""Pass 'lower', last step: which shard an object lives in, and the bytes of every shard.

An object's shard follows from its namespace and name and the number of objects alone, so one change rewrites one shard.
Price tables lie among them in the same way, by the name of their provider.
Where a shard cannot be made small enough, objects are left out of it: of the namespace that fills it, the largest.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

import msgspec

from tidegate_dataplane.snapshot.codec import MAX_DECOMPRESSED_BYTES, MAX_SHARD_BYTES, digest, encode_shard
from tidegate_dataplane.snapshot.entries import (
    SCHEMA_VERSION,
    ApprovalEntry,
    BackendEntry,
    ConsumerEntry,
    PolicyEntry,
    PriceTable,
    QuotaEntry,
    RouteEntry,
    Shard,
    SubscriptionEntry,
)
from tidegate_operator.compile.compiled import AnyEntry, EncodedShard
from tidegate_operator.compile.room import Piece, displaced
from tidegate_operator.world import Kind, ObjectKey

MAX_BUCKETS = 64
_OBJECTS_PER_BUCKET = 200
_MANY_EDITS = 100
_EntryT = TypeVar(
    "_EntryT", BackendEntry, RouteEntry, PolicyEntry, QuotaEntry, ConsumerEntry, SubscriptionEntry, ApprovalEntry
)


def bucket_hash(namespace: str, name: str) -> int:
    """32 bits that spread objects over buckets; objects of one namespace/name stay together, whatever their kind."""
    return int.from_bytes(hashlib.sha256(f"{namespace}/{name}".encode("utf-8", "surrogatepass")).digest()[:4], "big")


def bucket_count(objects: int) -> int:
    """The smallest power of two, up to 64, that leaves about 100 to 200 objects in a bucket."""
    count = 1
    while count < MAX_BUCKETS and objects > count * _OBJECTS_PER_BUCKET:
        count *= 2
    return count


class Fitted(NamedTuple):
    """All non-empty shards, sorted by name, and the objects that found no room in them."""

    shards: tuple[EncodedShard, ...]
    left_out: tuple[ObjectKey, ...] = ()


class ShardEncoder:
    """Encodes shards and remembers what it encoded: only a bucket whose entries changed costs anything."""

    def __init__(self) -> None:
        self._hashes: dict[ObjectKey, int] = {}
        self._grouped: tuple[Mapping[ObjectKey, AnyEntry], list[list[AnyEntry]]] = ({}, [])
        self._known: dict[str, tuple[list[AnyEntry], EncodedShard]] = {}
        self._prices: tuple[PriceTable, ...] = ()
        self._count = 0

    def encode(self, entries: Mapping[ObjectKey, AnyEntry], prices: tuple[PriceTable, ...] = ()) -> Fitted:
        """In as few shards as are small enough; in MAX_BUCKETS of them, objects may have to be left out."""
        if prices != self._prices:
            self._known, self._prices = {}, prices
        count = bucket_count(len(entries))
        while True:
            shards = self._encode_into(entries, count)
            oversized = {shard.name for shard in shards if _too_large(shard.data)}
            if not oversized:
                return Fitted(shards)
            if count == MAX_BUCKETS:
                return self._left_out(shards, oversized)
            count *= 2

    def _left_out(self, shards: tuple[EncodedShard, ...], oversized: set[str]) -> Fitted:
        fitting: list[EncodedShard] = []
        left_out: list[ObjectKey] = []
        for shard in shards:
            if shard.name in oversized:
                tables = self._tables(int(shard.name), MAX_BUCKETS)
                shard, gone = _fitted(shard, self._known[shard.name][0], tables)
                left_out += gone
            fitting.append(shard)
        return Fitted(tuple(fitting), tuple(sorted(left_out)))

    def _encode_into(self, entries: Mapping[ObjectKey, AnyEntry], count: int) -> tuple[EncodedShard, ...]:
        buckets = self._group(entries, count)
        if count != self._count:
            self._known, self._count = {}, count
        fresh: dict[str, tuple[list[AnyEntry], EncodedShard]] = {}
        for position, bucket in enumerate(buckets):
            tables = self._tables(position, count)
            if not bucket and not tables:
                continue
            name = f"{position:02d}"
            known = self._known.get(name)
            fresh[name] = known if known and known[0] == bucket else (bucket, _encode(name, bucket, tables))
        self._known = fresh
        return tuple(shard for _, shard in fresh.values())

    def _tables(self, position: int, count: int) -> tuple[PriceTable, ...]:
        mask = count - 1
        return tuple(table for table in self._prices if bucket_hash("prices", table.provider) & mask == position)

    def _group(self, entries: Mapping[ObjectKey, AnyEntry], count: int) -> list[list[AnyEntry]]:
        former, buckets = self._grouped
        if len(buckets) == count and len(former) == len(entries):
            edited = _edited(former, entries)
            if edited is not None:
                buckets = self._regroup(buckets, edited)
                self._grouped = (entries, buckets)
                return buckets
        buckets = self._group_all(entries, count)
        self._grouped = (entries, buckets)
        return buckets

    def _regroup(
        self, buckets: list[list[AnyEntry]], edited: list[tuple[ObjectKey, AnyEntry, AnyEntry]]
    ) -> list[list[AnyEntry]]:
        buckets, mask = list(buckets), len(buckets) - 1
        for key, old, new in edited:
            position = self._hashes[key] & mask
            buckets[position] = [new if entry is old else entry for entry in buckets[position]]
        return buckets

    def _group_all(self, entries: Mapping[ObjectKey, AnyEntry], count: int) -> list[list[AnyEntry]]:
        buckets: list[list[AnyEntry]] = [[] for _ in range(count)]
        hashes, mask = self._hashes, count - 1
        if len(hashes) > 2 * len(entries) + 1_000:
            hashes.clear()
        for key, entry in entries.items():
            value = hashes.get(key)
            if value is None:
                value = hashes[key] = bucket_hash(key.namespace, key.name)
            buckets[value & mask].append(entry)
        return buckets


def _edited(
    former: Mapping[ObjectKey, AnyEntry], entries: Mapping[ObjectKey, AnyEntry]
) -> list[tuple[ObjectKey, AnyEntry, AnyEntry]] | None:
    """What differs between two mappings of the same keys in the same order; None where keys differ.

    An edit leaves keys and order as they were, and to walk both side by side needs no lookup.
    """
    edited: list[tuple[ObjectKey, AnyEntry, AnyEntry]] = []
    for (old_key, old), (key, new) in zip(former.items(), entries.items(), strict=True):
        if old is not new:
            if old_key != key or len(edited) >= _MANY_EDITS:
                return None
            edited.append((key, old, new))
    return edited


def _encode(name: str, bucket: list[AnyEntry], tables: tuple[PriceTable, ...]) -> EncodedShard:
    shard = Shard(
        schema_version=SCHEMA_VERSION,
        backends=_sorted(entry for entry in bucket if isinstance(entry, BackendEntry)),
        routes=_sorted(entry for entry in bucket if isinstance(entry, RouteEntry)),
        policies=_sorted(entry for entry in bucket if isinstance(entry, PolicyEntry)),
        quotas=_sorted(entry for entry in bucket if isinstance(entry, QuotaEntry)),
        consumers=_sorted(entry for entry in bucket if isinstance(entry, ConsumerEntry)),
        subscriptions=_sorted(entry for entry in bucket if isinstance(entry, SubscriptionEntry)),
        approvals=_sorted(entry for entry in bucket if isinstance(entry, ApprovalEntry)),
        prices=tables,
    )
    data = encode_shard(shard)
    return EncodedShard(name=name, data=data, sha256=digest(data))


def _fitted(
    shard: EncodedShard, bucket: list[AnyEntry], tables: tuple[PriceTable, ...]
) -> tuple[EncodedShard, list[ObjectKey]]:
    """The shard without what must be left out of it."""
    entries = {_object_key(entry): entry for entry in bucket}
    pieces = {key: Piece(key, len(msgspec.json.encode(entry))) for key, entry in entries.items()}
    left_out: list[ObjectKey] = []
    while _too_large(shard.data):
        size = sum(piece.size for piece in pieces.values())
        share = min(MAX_SHARD_BYTES / len(shard.data), MAX_DECOMPRESSED_BYTES / size)
        # How well the rest compresses is not known before it is tried; each time, something goes.
        for key in displaced(pieces.values(), min(int(size * share), size - 1)):
            del entries[key], pieces[key]
            left_out.append(key)
        shard = _encode(shard.name, list(entries.values()), tables)
    return shard, left_out


def _object_key(entry: AnyEntry) -> ObjectKey:
    return ObjectKey(_KINDS[type(entry)], entry.source.namespace, entry.source.name)


_KINDS: Mapping[type, Kind] = {
    BackendEntry: Kind.BACKEND,
    RouteEntry: Kind.ROUTE,
    PolicyEntry: Kind.POLICY,
    QuotaEntry: Kind.QUOTA,
    ConsumerEntry: Kind.CONSUMER,
    SubscriptionEntry: Kind.SUBSCRIPTION,
    ApprovalEntry: Kind.APPROVAL,
}


def _sorted(entries: Iterable[_EntryT]) -> tuple[_EntryT, ...]:
    return tuple(sorted(entries, key=_key_of))


def _key_of(entry: AnyEntry) -> str:
    return entry.source.key


def _too_large(data: bytes) -> bool:
    # RFC 1952 section 2.3.1: the last four bytes are the length before compression, modulo 2^32.
    return len(data) > MAX_SHARD_BYTES or int.from_bytes(data[-4:], "little") > MAX_DECOMPRESSED_BYTES
