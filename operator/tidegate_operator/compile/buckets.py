"""Pass 'lower', last step: which shard an object lives in, and the bytes of every shard.

An object's shard follows from its namespace and name and the number of objects alone, so one change rewrites one shard.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from tidegate_dataplane.snapshot.codec import MAX_DECOMPRESSED_BYTES, MAX_SHARD_BYTES, digest, encode_shard
from tidegate_dataplane.snapshot.entries import (
    SCHEMA_VERSION,
    ApprovalEntry,
    BackendEntry,
    ConsumerEntry,
    PolicyEntry,
    QuotaEntry,
    RouteEntry,
    Shard,
    SubscriptionEntry,
)
from tidegate_operator.compile.compiled import AnyEntry, CompileError, EncodedShard
from tidegate_operator.world import ObjectKey

MAX_BUCKETS = 64
_OBJECTS_PER_BUCKET = 200
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


class ShardEncoder:
    """Encodes shards and remembers what it encoded: only a bucket whose entries changed costs anything."""

    def __init__(self) -> None:
        self._hashes: dict[ObjectKey, int] = {}
        self._known: dict[str, tuple[list[AnyEntry], EncodedShard]] = {}
        self._count = 0

    def encode(self, entries: Mapping[ObjectKey, AnyEntry]) -> tuple[EncodedShard, ...]:
        """All non-empty shards, sorted by name; raises CompileError when they cannot be made small enough."""
        count = bucket_count(len(entries))
        while True:
            shards = self._encode_into(entries, count)
            oversized = [shard for shard in shards if _too_large(shard.data)]
            if not oversized:
                return shards
            if count == MAX_BUCKETS:
                raise CompileError(
                    f"shard {oversized[0].name} has {len(oversized[0].data)} bytes compressed, more than a ConfigMap "
                    f"can hold ({MAX_SHARD_BYTES}), although the objects are spread over {MAX_BUCKETS} shards: remove "
                    "objects, or serve part of the namespaces from a gateway of their own"
                )
            count *= 2

    def _encode_into(self, entries: Mapping[ObjectKey, AnyEntry], count: int) -> tuple[EncodedShard, ...]:
        buckets = self._group(entries, count)
        if count != self._count:
            self._known, self._count = {}, count
        fresh: dict[str, tuple[list[AnyEntry], EncodedShard]] = {}
        for position, bucket in enumerate(buckets):
            if not bucket:
                continue
            name = f"{position:02d}"
            known = self._known.get(name)
            fresh[name] = known if known and known[0] == bucket else (bucket, _encode(name, bucket))
        self._known = fresh
        return tuple(shard for _, shard in fresh.values())

    def _group(self, entries: Mapping[ObjectKey, AnyEntry], count: int) -> list[list[AnyEntry]]:
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


def _encode(name: str, bucket: list[AnyEntry]) -> EncodedShard:
    shard = Shard(
        schema_version=SCHEMA_VERSION,
        backends=_sorted(entry for entry in bucket if isinstance(entry, BackendEntry)),
        routes=_sorted(entry for entry in bucket if isinstance(entry, RouteEntry)),
        policies=_sorted(entry for entry in bucket if isinstance(entry, PolicyEntry)),
        quotas=_sorted(entry for entry in bucket if isinstance(entry, QuotaEntry)),
        consumers=_sorted(entry for entry in bucket if isinstance(entry, ConsumerEntry)),
        subscriptions=_sorted(entry for entry in bucket if isinstance(entry, SubscriptionEntry)),
        approvals=_sorted(entry for entry in bucket if isinstance(entry, ApprovalEntry)),
    )
    data = encode_shard(shard)
    return EncodedShard(name=name, data=data, sha256=digest(data))


def _sorted(entries: Iterable[_EntryT]) -> tuple[_EntryT, ...]:
    return tuple(sorted(entries, key=_key_of))


def _key_of(entry: AnyEntry) -> str:
    return entry.source.key


def _too_large(data: bytes) -> bool:
    # RFC 1952 section 2.3.1: the last four bytes are the length before compression, modulo 2^32.
    return len(data) > MAX_SHARD_BYTES or int.from_bytes(data[-4:], "little") > MAX_DECOMPRESSED_BYTES
