"""What a compilation yields: shards, verdicts and upstream credentials."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain

from tidegate_dataplane.snapshot.entries import (
    ApprovalEntry,
    BackendEntry,
    ConsumerEntry,
    ListPart,
    PolicyEntry,
    QuotaEntry,
    RouteEntry,
    Shard,
    SubscriptionEntry,
)
from tidegate_dataplane.snapshot.list_key import ListKey, key_of
from tidegate_operator.verdicts import Verdict
from tidegate_operator.world import Kind, ObjectKey

AnyEntry = BackendEntry | RouteEntry | PolicyEntry | QuotaEntry | ConsumerEntry | SubscriptionEntry | ApprovalEntry


class CompileError(Exception):
    """The World as a whole cannot be published; the message says why and what to do. No single object causes it."""


@dataclass(frozen=True, slots=True)
class Served:
    """The entries in force. Read back from a published snapshot, it is every object's last good form."""

    entries: Mapping[ObjectKey, AnyEntry]
    lists: Mapping[ListKey, tuple[ListPart, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def from_shards(cls, shards: Iterable[Shard]) -> "Served":
        """Recover what a published snapshot serves."""
        taken = tuple(shards)
        return cls(
            {
                ObjectKey(kind, entry.source.namespace, entry.source.name): entry
                for shard in taken
                for kind, entry in _entries_of(shard)
            },
            _lists_of(taken),
        )


@dataclass(frozen=True, slots=True)
class EncodedShard:
    """A shard's compressed bytes with their hex SHA-256."""

    name: str
    data: bytes = field(repr=False)
    sha256: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """The outcome for a World. `shards` are the non-empty ones, sorted by name.

    `credentials` (by `BackendEntry.credential`) belong into the credentials Secret and nowhere else. `generating` are
    the consumers in force that have keys to be generated.
    """

    shards: tuple[EncodedShard, ...]
    verdicts: Mapping[ObjectKey, Verdict]
    credentials: Mapping[str, bytes] = field(repr=False)
    served: Served = field(repr=False)
    generating: tuple[ConsumerEntry, ...] = field(default=(), repr=False)


def _lists_of(shards: Iterable[Shard]) -> dict[ListKey, tuple[ListPart, ...]]:
    found: dict[ListKey, list[ListPart]] = {}
    for shard in shards:
        for part in shard.lists:
            found.setdefault(key_of(part), []).append(part)
    return {key: tuple(sorted(parts, key=lambda part: part.data)) for key, parts in found.items()}


def _entries_of(shard: Shard) -> Iterable[tuple[Kind, AnyEntry]]:
    return chain(
        ((Kind.BACKEND, backend) for backend in shard.backends),
        ((Kind.ROUTE, route) for route in shard.routes),
        ((Kind.POLICY, policy) for policy in shard.policies),
        ((Kind.QUOTA, quota) for quota in shard.quotas),
        ((Kind.CONSUMER, consumer) for consumer in shard.consumers),
        ((Kind.SUBSCRIPTION, subscription) for subscription in shard.subscriptions),
        ((Kind.APPROVAL, approval) for approval in shard.approvals),
    )
