"""The operator's own objects in the API: what they hold, what they should hold, what must be written. Pure.

A shard's ConfigMap holds its bytes under a key that names their digest. Before an index is replaced, every ConfigMap
holds the version that the old index names beside the one of the new index, so that at every moment whoever reads the
index finds exactly its bytes, also when the operator dies between any two writes.
"""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tidegate_dataplane.snapshot.bundle import (
    INDEX_KEY,
    canary_config_map,
    credentials_secret,
    index_config_map,
    shard_config_map,
    shard_key,
)
from tidegate_dataplane.snapshot.codec import SnapshotRefused, decode_index, decode_shard, digest
from tidegate_dataplane.snapshot.entries import ClusterFacts, Index, Shard, ShardRef
from tidegate_operator.ingest import ConfigMapObject, SecretObject, decoded
from tidegate_operator.kube import FIELD_MANAGER
from tidegate_operator.release.stage import NO_STAGE, Stage, read_stage

GATEWAY_LABEL = "tidegate.dev/gateway"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
REVISION_ANNOTATION = "tidegate.dev/revision"
SUMMARY_KEY = "summary"


@dataclass(frozen=True, slots=True)
class Gateway:
    """Whose outputs, and in which namespace they stand."""

    name: str
    namespace: str

    @property
    def index_name(self) -> str:
        return index_config_map(self.name)

    @property
    def credentials_name(self) -> str:
        return credentials_secret(self.name)

    @property
    def labels(self) -> dict[str, str]:
        return {MANAGED_BY_LABEL: FIELD_MANAGER, GATEWAY_LABEL: self.name}

    @property
    def canary_name(self) -> str:
        return canary_config_map(self.name)

    def shard_name(self, shard: str) -> str:
        """Name of the ConfigMap of shard `shard`."""
        return shard_config_map(self.name, shard)


@dataclass(frozen=True, slots=True)
class Output:
    """A ConfigMap or Secret of ours as it is in the API: digests of its values, not the values."""

    digests: Mapping[str, str]
    revision: int = 0
    index: bytes | None = None

    def holds(self, wanted: Mapping[str, bytes]) -> bool:
        """Whether every wanted key is there with exactly these bytes; others do not matter."""
        return all(self.digests.get(key) == digest(value) for key, value in wanted.items())


@dataclass(frozen=True, slots=True)
class Live:
    """What is published: an index and the bytes that it names."""

    index: Index
    index_bytes: bytes
    shards: Mapping[str, bytes] = field(repr=False)

    @property
    def revision(self) -> int:
        return self.index.revision


@dataclass(frozen=True, slots=True)
class Recovered:
    """What earlier operators left. `revision` is the highest they are known to have used; `damage` is for the log;
    `stage` is what some data planes tried; `unread` is an index of another version's schema with the bytes that it
    names, which data planes may still be loading."""

    live: Live | None
    shards: tuple[Shard, ...]
    revision: int
    damage: tuple[str, ...] = ()
    stage: Stage = NO_STAGE
    unread: Live | None = None


def config_map_output(item: ConfigMapObject) -> Output:
    """What matters of a ConfigMap."""
    values = {key: value.encode() for key, value in (item.data or {}).items()} | decoded(item.binary_data)
    annotation = (item.metadata.annotations or {}).get(REVISION_ANNOTATION, "")
    return Output(
        digests={key: digest(value) for key, value in values.items()},
        revision=int(annotation) if annotation.isdecimal() else 0,
        index=values.get(INDEX_KEY),
    )


def secret_output(item: SecretObject) -> Output:
    """What matters of the credentials Secret."""
    return Output(digests={key: digest(value) for key, value in decoded(item.data).items()})


def recover(gateway: Gateway, config_maps: Mapping[str, ConfigMapObject]) -> Recovered:
    """Read back, with every digest checked, what is published. What is damaged is left out and named."""
    damage: list[str] = []
    values = {name: decoded(item.binary_data) for name, item in config_maps.items()}
    revision = max((config_map_output(item).revision for item in config_maps.values()), default=0)
    index_map = config_maps.get(gateway.index_name)
    if index_map is None:
        return Recovered(None, _any_shards(values), revision)
    index_bytes = (index_map.data or {}).get(INDEX_KEY, "").encode()
    try:
        index = decode_index(index_bytes)
    except SnapshotRefused as refused:
        damage.append(f"ConfigMap {gateway.index_name}: {refused.message}")
        unread = _unread(gateway, index_bytes, values)
        highest = max(revision, unread.revision) if unread is not None else revision
        return Recovered(None, _any_shards(values), highest, tuple(damage), unread=unread)
    shards: dict[str, bytes] = {}
    decoded_shards: list[Shard] = []
    for reference in index.shards:
        name = gateway.shard_name(reference.name)
        data = values.get(name, {}).get(shard_key(reference.name, reference.sha256), b"")
        try:
            decoded_shards.append(decode_shard(data, name=reference.name, sha256=reference.sha256))
            shards[reference.name] = data
        except SnapshotRefused as refused:
            damage.append(f"ConfigMap {name}: {refused.message}")
    live = Live(index, index_bytes, shards)
    canary = config_maps.get(gateway.canary_name)
    stage = read_stage(None if canary is None else canary.data)
    return Recovered(live, tuple(decoded_shards), max(index.revision, stage.revision), tuple(damage), stage)


class _AnyShardRef(msgspec.Struct):
    name: str
    sha256: str
    size: int = 0


class _AnyIndex(msgspec.Struct):
    """What every schema of an index has had."""

    revision: int
    shards: list[_AnyShardRef]


def _unread(gateway: Gateway, index_bytes: bytes, values: Mapping[str, Mapping[str, bytes]]) -> Live | None:
    """The bytes that an index names whose schema is not read here; None when it is no index at all."""
    try:
        found = msgspec.json.decode(index_bytes, type=_AnyIndex)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    references = tuple(ShardRef(name=ref.name, sha256=ref.sha256, size=ref.size) for ref in found.shards)
    index = Index(
        schema_version=0, revision=found.revision, gateway=gateway.name, cluster=ClusterFacts(), shards=references
    )
    held = {
        ref.name: data
        for ref in references
        if (data := values.get(gateway.shard_name(ref.name), {}).get(shard_key(ref.name, ref.sha256))) is not None
    }
    return Live(index, index_bytes, held)


def _any_shards(values: Mapping[str, Mapping[str, bytes]]) -> tuple[Shard, ...]:
    """Without an index: one readable version of each shard. It serves only to remember last good forms."""
    found = []
    for name in sorted(values):
        for key in sorted(values[name]):
            data = values[name][key]
            try:
                found.append(decode_shard(data, name=key, sha256=digest(data)))
                break
            except SnapshotRefused:
                continue
    return tuple(found)


def shard_values(reference: ShardRef, data: bytes, kept: Iterable[Live]) -> dict[str, bytes]:
    """What a shard's ConfigMap must hold before the index moves on: the new version and those still readable."""
    wanted = {shard_key(reference.name, reference.sha256): data}
    for live in kept:
        for old in live.index.shards:
            if old.name == reference.name and old.name in live.shards:
                wanted[shard_key(old.name, old.sha256)] = live.shards[old.name]
    return wanted


def config_map_body(
    gateway: Gateway,
    name: str,
    *,
    data: Mapping[str, str] | None = None,
    binary: Mapping[str, bytes] | None = None,
    revision: int | None = None,
    version: int = 0,
) -> dict[str, Any]:
    """A ConfigMap to apply. `version` is the resourceVersion that it must still have (0: whatever it has)."""
    body: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(gateway, name, version)}
    if revision is not None:
        body["metadata"]["annotations"] = {REVISION_ANNOTATION: str(revision)}
    if data is not None:
        body["data"] = dict(data)
    if binary is not None:
        body["binaryData"] = {key: base64.b64encode(value).decode() for key, value in sorted(binary.items())}
    return body


def secret_body(gateway: Gateway, values: Mapping[str, bytes], *, version: int = 0) -> dict[str, Any]:
    """The credentials Secret to apply."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": _metadata(gateway, gateway.credentials_name, version),
        "data": {key: base64.b64encode(value).decode() for key, value in sorted(values.items())},
    }


def _metadata(gateway: Gateway, name: str, version: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": gateway.namespace, "labels": gateway.labels}
    if version:
        metadata["resourceVersion"] = str(version)
    return metadata


def summary(index: Index, counts: Iterable[tuple[str, int]]) -> str:
    """A few lines for people who look at the index with kubectl. No time: equal worlds give equal bytes."""
    lines = [f"gateway: {index.gateway}", f"revision: {index.revision}", f"shards: {len(index.shards)}"]
    lines += [f"{kind}: {count} served" for kind, count in counts]
    return "\n".join([*lines, "Written by tidegate-operator, which puts back what others change."]) + "\n"


def orphans(gateway: Gateway, names: Iterable[str], *indexes: Index) -> list[str]:
    """ConfigMaps of shards that none of the indexes names."""
    named = (gateway.shard_name(shard.name) for index in indexes for shard in index.shards)
    kept = {gateway.index_name, gateway.canary_name, *named}
    return sorted(name for name in names if name not in kept)
