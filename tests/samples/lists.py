"""Lists of addresses and key hashes for tests of the engine, and Runtimes that hold them."""

from collections.abc import Iterable
from hashlib import sha256

import msgspec

from samples.snapshots import Entry, snapshot
from tidegate_dataplane.runtime import Runtime, build
from tidegate_dataplane.snapshot.entries import SCHEMA_VERSION, ListKind, ListPart, ListRef, Shard, ShardRef
from tidegate_dataplane.snapshot.records import join_digests, join_networks, network_record

FEED = ListRef(ListKind.ADDRESSES, "feed")
LEAKS = ListRef(ListKind.KEY_HASHES, "leaks", secret=True)


def addresses(*networks: str, name: str = "feed", namespace: str = "team-a") -> ListPart:
    records = join_networks(record for text in networks if (record := network_record(text)))
    return ListPart(namespace, name, False, ListKind.ADDRESSES, "", records)


def hashes(*keys: str, name: str = "leaks") -> ListPart:
    records = join_digests(sha256(key.encode()).digest()[:16] for key in keys)
    return ListPart("team-a", name, True, ListKind.KEY_HASHES, "", records)


def with_lists(
    entries: Iterable[Entry], lists: tuple[ListPart, ...] = (), *, previous: Runtime | None = None
) -> Runtime:
    """A Runtime of these entries and lists; a list of other parts makes another shard."""
    index, shards = snapshot(entries)
    digest = sha256(repr(lists).encode()).hexdigest()
    index = msgspec.structs.replace(index, shards=(*index.shards, ShardRef("l00", digest, 1)))
    return build(index, {**shards, "l00": Shard(schema_version=SCHEMA_VERSION, lists=lists)}, previous)
