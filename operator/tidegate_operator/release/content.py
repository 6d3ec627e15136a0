"""What a revision says, apart from its number: shards and the entries in them. Pure."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import msgspec

from tidegate_dataplane.snapshot.codec import decode_shard
from tidegate_dataplane.snapshot.entries import Shard, Source
from tidegate_operator.compile.compiled import AnyEntry, Compiled, EncodedShard, Served


@dataclass(frozen=True)
class Content:
    """Shards with what they serve. Equal digests mean equal bytes, whatever revisions they were published as."""

    shards: tuple[EncodedShard, ...]
    served: Served

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 over names and digests of the shards."""
        return content_digest((shard.name, shard.sha256) for shard in self.shards)


def content_digest(shards: Iterable[tuple[str, str]]) -> str:
    """The digest of a content, from the names and hex digests of its shards."""
    return hashlib.sha256(msgspec.json.encode(sorted(shards))).hexdigest()


def compiled_content(compiled: Compiled) -> Content:
    """What a compilation would publish."""
    return Content(compiled.shards, compiled.served)


def read_content(shards: Iterable[tuple[str, str, bytes]]) -> Content:
    """From (name, hex digest, bytes) of each shard; raises SnapshotRefused for bytes that do not fit their digest."""
    encoded: list[EncodedShard] = []
    decoded: list[Shard] = []
    for name, sha256, data in sorted(shards):
        decoded.append(decode_shard(data, name=name, sha256=sha256))
        encoded.append(EncodedShard(name=name, data=data, sha256=sha256))
    return Content(tuple(encoded), Served.from_shards(decoded))


def adopted(content: Content, known: Served) -> Content:
    """The same content with the very entries of `known`, in their order, wherever they are equal.

    What was read back is equal to what is compiled, but not the same: each comparison would look into every entry.
    """
    mine = content.served.entries
    entries = {
        key: entry if entry == former else former
        for key, entry in known.entries.items()
        if (former := mine.get(key)) is not None
    }
    entries |= {key: entry for key, entry in mine.items() if key not in entries}
    lists = dict(content.served.lists)
    lists |= {key: parts for key, parts in known.lists.items() if lists.get(key) == parts}
    return Content(content.shards, Served(entries, lists))


def same_words(one: AnyEntry | None, other: AnyEntry | None) -> bool:
    """Whether two entries say the same, whichever generations they were compiled from."""
    if one is other or one == other:
        return True
    if one is None or other is None or type(one) is not type(other):
        return False
    return _anonymous(one) == _anonymous(other)


def agree(one: Served, other: Served) -> bool:
    """Whether two contents say the same of every object and list: so it is after a `git revert`."""
    if one.entries.keys() != other.entries.keys() or dict(one.lists) != dict(other.lists):
        return False
    return all(same_words(entry, other.entries[key]) for key, entry in one.entries.items())


def _anonymous(entry: AnyEntry) -> AnyEntry:
    source = entry.source
    return msgspec.structs.replace(entry, source=Source(source.namespace, source.name, 0))
