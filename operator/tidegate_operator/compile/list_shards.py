"""Which shard a part of a list lives in, and the bytes of those shards.

Lists have shards of their own, `l00` to `l63`: an edit of an object rewrites no list, and however large lists are, they
never keep objects from being published. A part's shard follows from its name and the number of shards, unless that
shard is full; then it is the next one with room.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from tidegate_dataplane.snapshot.codec import MAX_SHARD_BYTES, digest, encode_shard
from tidegate_dataplane.snapshot.entries import SCHEMA_VERSION, ListPart, Shard
from tidegate_dataplane.snapshot.list_key import ListKey
from tidegate_operator.compile.buckets import bucket_hash
from tidegate_operator.compile.compiled import CompileError, EncodedShard

MAX_ENTRIES: Final = 1_000_000
"""Of all lists together. Nothing compresses digests: so many of them fill two thirds of the shards."""
MAX_SHARDS: Final = 64
_WANTED_BYTES: Final = 128 * 1024
_FULL_BYTES: Final = MAX_SHARD_BYTES - 16 * 1024
_OVERHEAD_BYTES: Final = 768
_LARGEST_PART_BYTES: Final = 20 * 1024
MAX_WEIGHT: Final = MAX_SHARDS * (_FULL_BYTES - _LARGEST_PART_BYTES)
"""So much finds room, however it is cut: until then a shard always has room for one part more."""

Parts = Mapping[ListKey, tuple[ListPart, ...]]


class ListShardEncoder:
    """Encodes shards of lists and remembers what it encoded: only a shard whose parts changed costs anything."""

    def __init__(self) -> None:
        self._lists: Parts = {}
        self._encoded: tuple[EncodedShard, ...] = ()
        self._known: dict[str, tuple[list[ListPart], EncodedShard]] = {}

    def encode(self, lists: Parts) -> tuple[EncodedShard, ...]:
        """All non-empty shards, sorted by name. Raises CompileError when `lists` weigh more than MAX_WEIGHT."""
        if lists != self._lists:
            self._encoded, self._lists = self._encode(lists), dict(lists)
        return self._encoded

    def _encode(self, lists: Parts) -> tuple[EncodedShard, ...]:
        fresh: dict[str, tuple[list[ListPart], EncodedShard]] = {}
        for position, bucket in enumerate(_spread([part for key in sorted(lists) for part in lists[key]])):
            if bucket:
                name = f"l{position:02d}"
                known = self._known.get(name)
                fresh[name] = known if known and known[0] == bucket else (bucket, _encoded(name, bucket))
        self._known = fresh
        return tuple(shard for _, shard in fresh.values())


def weight(parts: Iterable[ListPart]) -> int:
    """An upper bound of what parts add to compressed shards: base64 of noise shrinks to a little over its bytes."""
    return sum(map(_weight, parts))


def shard_count(parts: Iterable[ListPart]) -> int:
    """The smallest power of two, up to 64, that leaves the shards about a third full."""
    wanted, count = weight(parts), 1
    while count < MAX_SHARDS and wanted > count * _WANTED_BYTES:
        count *= 2
    return count


def _spread(parts: list[ListPart]) -> list[list[ListPart]]:
    count = shard_count(parts)
    buckets: list[list[ListPart]] = [[] for _ in range(count)]
    weights = [0] * count
    for part in parts:
        added, home = _weight(part), _home(part)
        for step in range(count):
            at = (home + step) % count
            if weights[at] + added <= _FULL_BYTES:
                buckets[at].append(part)
                weights[at] += added
                break
        else:
            raise CompileError(f"the lists do not fit into {count} shards: remove entries from the largest of them")
    return buckets


def _weight(part: ListPart) -> int:
    return len(part.data) * 21 // 20 + _OVERHEAD_BYTES


def _home(part: ListPart) -> int:
    return bucket_hash(part.namespace, f"{part.name}/{part.secret}/{part.kind}/{part.part}")


def _encoded(name: str, bucket: list[ListPart]) -> EncodedShard:
    data = encode_shard(Shard(schema_version=SCHEMA_VERSION, lists=tuple(bucket)))
    return EncodedShard(name=name, data=data, sha256=digest(data))
