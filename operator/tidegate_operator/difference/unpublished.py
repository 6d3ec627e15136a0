"""Compiles Worlds for deciding alone: nothing is compressed, digested or decoded, for nothing is published."""

from collections.abc import Mapping

import msgspec

from tidegate_dataplane.runtime import Runtime, build
from tidegate_dataplane.snapshot.codec import decode_shard
from tidegate_dataplane.snapshot.entries import (
    SCHEMA_VERSION,
    BackendEntry,
    ConsumerEntry,
    Index,
    PolicyEntry,
    PriceTable,
    QuotaEntry,
    RouteEntry,
    Shard,
    ShardRef,
)
from tidegate_operator.compile import Compiled, Memo, Served, compile_world
from tidegate_operator.compile.buckets import Fitted, ShardEncoder
from tidegate_operator.compile.compiled import AnyEntry
from tidegate_operator.world import Facts, ObjectKey, World

# So many entries of the usual size fill a sixth of the room that a snapshot has: that something must be left out is
# then out of the question.
_EASILY = 40_000
_USUAL_ITEMS = 256
_USUAL_BYTES = 32 * 1024


class Bench:
    """Compiles World after World for one cluster, each from what it shares with the one before."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._encoder = _Unpublished()
        self._memo = Memo()
        self._memo.encoder = self._encoder
        self._revision = 0

    def compile(self, world: World, previous: Served | None, former: Runtime | None) -> tuple[Compiled, Runtime]:
        """What is in force where `previous` was before, and what decides by it. Raises CompileError and BuildError."""
        compiled = compile_world(world, self._facts, previous, self._memo)
        self._revision += 1
        shards = {f"{self._revision}": _shard(compiled.served.entries, self._encoder.prices)}
        for one in compiled.shards:
            if one.name.startswith("l"):
                name = f"{one.name}-{one.sha256}"
                shards[name] = decode_shard(one.data, name=one.name, sha256=one.sha256)
        refs = tuple(ShardRef(name, name, 0) for name in shards)
        index = Index(SCHEMA_VERSION, self._revision, self._facts.gateway, self._facts.cluster, refs)
        return compiled, build(index, shards, former)


class _Unpublished(ShardEncoder):
    """Takes note of the price tables, and encodes only where objects may have to be left out."""

    def __init__(self) -> None:
        super().__init__()
        self.prices: tuple[PriceTable, ...] = ()

    def encode(self, entries: Mapping[ObjectKey, AnyEntry], prices: tuple[PriceTable, ...] = ()) -> Fitted:
        self.prices = prices
        if len(entries) <= _EASILY and not any(_large(entry) for entry in entries.values()):
            return Fitted(())
        return Fitted((), super().encode(entries, prices).left_out)


def _large(entry: AnyEntry) -> bool:
    """Whether it holds so much that it alone may matter for the size of a shard."""
    match entry:
        case ConsumerEntry():
            return len(entry.keys) + len(entry.attributes) + len(entry.tokens) > _USUAL_ITEMS
        case RouteEntry():
            return len(entry.subscribers) + len(entry.grants) > _USUAL_ITEMS
        case PolicyEntry() | BackendEntry():
            return len(msgspec.json.encode(entry)) > _USUAL_BYTES
    return False


def _shard(entries: Mapping[ObjectKey, AnyEntry], prices: tuple[PriceTable, ...]) -> Shard:
    taken = tuple(entries.values())
    return Shard(
        schema_version=SCHEMA_VERSION,
        backends=tuple(entry for entry in taken if isinstance(entry, BackendEntry)),
        routes=tuple(entry for entry in taken if isinstance(entry, RouteEntry)),
        policies=tuple(entry for entry in taken if isinstance(entry, PolicyEntry)),
        quotas=tuple(entry for entry in taken if isinstance(entry, QuotaEntry)),
        consumers=tuple(entry for entry in taken if isinstance(entry, ConsumerEntry)),
        prices=prices,
    )
