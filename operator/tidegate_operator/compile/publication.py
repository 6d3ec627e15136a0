"""The head of a snapshot, and the whole of it in one value."""

from collections.abc import Iterable

from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.codec import encode_index
from tidegate_dataplane.snapshot.entries import SCHEMA_VERSION, Index, ShardRef
from tidegate_operator.compile.compiled import Compiled, EncodedShard
from tidegate_operator.world import Facts


def make_index(compiled: Compiled, facts: Facts, revision: int) -> Index:
    """The index that names the shards of `compiled` as revision `revision`."""
    return index_of(compiled.shards, facts, revision)


def index_of(shards: Iterable[EncodedShard], facts: Facts, revision: int) -> Index:
    """The index that names these shards."""
    return Index(
        schema_version=SCHEMA_VERSION,
        revision=revision,
        gateway=facts.gateway,
        cluster=facts.cluster,
        shards=tuple(ShardRef(name=shard.name, sha256=shard.sha256, size=len(shard.data)) for shard in shards),
    )


def make_bundle(compiled: Compiled, facts: Facts, revision: int) -> Bundle:
    """Index and shards as every source delivers them."""
    return Bundle(
        index=encode_index(make_index(compiled, facts, revision)),
        shards={shard.name: shard.data for shard in compiled.shards},
    )
