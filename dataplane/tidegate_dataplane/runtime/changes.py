"""What differs between two sets of shards: only this is compiled again."""

from collections.abc import Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from tidegate_dataplane.snapshot.entries import (
    BackendEntry,
    ConsumerEntry,
    PolicyEntry,
    QuotaEntry,
    RouteEntry,
    Shard,
    Source,
)


class _Sourced(Protocol):
    @property
    def source(self) -> Source: ...


E = TypeVar("E", bound=_Sourced)


class Change(Struct, Generic[E], frozen=True):
    """Entries of one kind, by object key, that went (or were replaced), and that came (or replaced others)."""

    removed: dict[str, E]
    added: dict[str, E]

    @property
    def keys(self) -> frozenset[str]:
        return frozenset((*self.removed, *self.added))

    def __bool__(self) -> bool:
        return bool(self.removed or self.added)


class Changes(Struct, frozen=True):
    """What differs, kind by kind."""

    backends: Change[BackendEntry]
    policies: Change[PolicyEntry]
    quotas: Change[QuotaEntry]
    consumers: Change[ConsumerEntry]
    routes: Change[RouteEntry]


def changes(before: Iterable[Shard], after: Iterable[Shard]) -> Changes:
    """The difference between shards that went and shards that came; an object may move from one to another."""
    old, new = tuple(before), tuple(after)
    return Changes(
        backends=_change((shard.backends for shard in old), (shard.backends for shard in new)),
        policies=_change((shard.policies for shard in old), (shard.policies for shard in new)),
        quotas=_change((shard.quotas for shard in old), (shard.quotas for shard in new)),
        consumers=_change((shard.consumers for shard in old), (shard.consumers for shard in new)),
        routes=_change((shard.routes for shard in old), (shard.routes for shard in new)),
    )


def _change(old: Iterable[tuple[E, ...]], new: Iterable[tuple[E, ...]]) -> Change[E]:
    before, after = _by_key(old), _by_key(new)
    return Change(
        removed={key: entry for key, entry in before.items() if after.get(key) != entry},
        added={key: entry for key, entry in after.items() if before.get(key) != entry},
    )


def _by_key(parts: Iterable[tuple[E, ...]]) -> Mapping[str, E]:
    return {entry.source.key: entry for part in parts for entry in part}
