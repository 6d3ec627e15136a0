"""The kept revisions: what each was, when, why, and which contents must be kept for it. Pure.

Contents are kept by digest, so revisions that share a shard share its bytes. How much is kept is bounded by number and
by bytes: etcd is small, and a ConfigMap holds one MiB.
"""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from tidegate_operator.release.changes import Change
from tidegate_operator.release.content import Content

HISTORY_SCHEMA = 1
KEPT_REVISIONS = 20
KEPT_BYTES = 48 * 1024 * 1024
MAX_INDEX_BYTES = 900 * 1024
# So many objects are named of each revision; `count` counts them all.
NAMED_CHANGES = 40
NAMED_COMMITS = 5


class Why(StrEnum):
    """Why a revision was published."""

    CHANGE = "Change"
    ROLLBACK = "Rollback"
    CLOSING = "Closing"
    STOPPED = "Stopped"
    FOUND = "Found"


class KeptShard(msgspec.Struct, frozen=True, array_like=True):
    """A shard of a kept revision."""

    name: str
    sha256: str
    size: int


class Record(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One published revision. `at` is in seconds since the epoch; `digest` is its content's.

    `of` is the revision that a rollback published again, `hold` the identity of the wish to do so. `changed` names the
    first NAMED_CHANGES of `count` objects. `commits` are what objects that changed say of the commit they came from.
    """

    revision: int
    at: int
    digest: str
    shards: tuple[KeptShard, ...]
    why: Why = Why.CHANGE
    of: int = 0
    reason: str = ""
    by: str = ""
    hold: str = ""
    count: int = 0
    changed: tuple[Change, ...] = ()
    commits: tuple[str, ...] = ()


class History(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The kept revisions, the newest first. `fulfilled` is the wish to roll back that Git has agreed with."""

    schema: int = HISTORY_SCHEMA
    revisions: tuple[Record, ...] = ()
    fulfilled: str = ""

    def find(self, revision: int) -> Record | None:
        """The record of a revision; None when it is not kept."""
        return next((record for record in self.revisions if record.revision == revision), None)

    def of_hold(self, hold: str) -> Record | None:
        """The newest revision that was published by that wish."""
        return next((record for record in self.revisions if hold and record.hold == hold), None)

    @property
    def digests(self) -> frozenset[str]:
        """Of every shard that is kept for some revision."""
        return frozenset(shard.sha256 for record in self.revisions for shard in record.shards)

    @property
    def size(self) -> int:
        """Bytes of all kept shards; what revisions share counts once."""
        return sum({shard.sha256: shard.size for record in self.revisions for shard in record.shards}.values())


def shards_of(content: Content) -> tuple[KeptShard, ...]:
    """What a record says of the shards of its content."""
    return tuple(KeptShard(shard.name, shard.sha256, len(shard.data)) for shard in content.shards)


def with_record(
    history: History,
    record: Record,
    *,
    keep: int = KEPT_REVISIONS,
    most: int = KEPT_BYTES,
    pinned: int = 0,
) -> History:
    """The history with one revision more, and without those that there is no room for; `pinned` is kept in any case.

    A revision that is there already replaces its record. The newest stays whatever its size.
    """
    others = [each for each in history.revisions if each.revision != record.revision]
    revisions = sorted([record, *others], key=lambda each: -each.revision)
    while len(revisions) > 1:
        bounded = msgspec.structs.replace(history, revisions=tuple(revisions))
        fits = len(revisions) <= keep and bounded.size <= most and len(encode_history(bounded)) <= MAX_INDEX_BYTES
        if fits:
            break
        oldest = next((each for each in reversed(revisions[1:]) if each.revision != pinned), None)
        if oldest is None:
            break
        revisions.remove(oldest)
    return msgspec.structs.replace(history, revisions=tuple(revisions))


def without(history: History, missing: Iterable[str]) -> History:
    """The history without the revisions whose shards (by digest) are not there any more."""
    gone = frozenset(missing)
    left = tuple(each for each in history.revisions if not gone & {shard.sha256 for shard in each.shards})
    return msgspec.structs.replace(history, revisions=left)


def encode_history(history: History) -> bytes:
    """Canonical JSON, as it stands in the ConfigMap."""
    return msgspec.json.encode(history, order="deterministic")


def decode_history(data: bytes) -> History | None:
    """Read it back; None for what cannot be read, or is of a newer operator."""
    try:
        history = msgspec.json.decode(data, type=History)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return history if history.schema <= HISTORY_SCHEMA else None
