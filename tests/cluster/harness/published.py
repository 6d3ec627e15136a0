"""What the operator has published, read as an administrator from the API and checked as a data plane checks it."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from cluster.harness.install import SYSTEM_NAMESPACE
from cluster.harness.rest import ApiError, Rest
from tidegate_dataplane.reload import Outcome, Reloader
from tidegate_dataplane.snapshot.bundle import (
    INDEX_KEY,
    Bundle,
    credentials_secret,
    index_config_map,
    shard_config_map,
    shard_key,
)
from tidegate_dataplane.snapshot.codec import decode_index, decode_shard, digest
from tidegate_dataplane.snapshot.entries import Index
from tidegate_operator.compile.compiled import Served

GATEWAY = "default"
CONFIG_MAPS = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps"
CREDENTIALS = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/secrets/{credentials_secret(GATEWAY)}"
INDEX = f"{CONFIG_MAPS}/{index_config_map(GATEWAY)}"


@dataclass(frozen=True)
class Published:
    """One complete snapshot: the bytes of each shard, and the bytes of each entry by "kind namespace/name"."""

    index: Index
    index_bytes: bytes
    shards: Mapping[str, bytes]
    entries: Mapping[str, bytes]

    @property
    def revision(self) -> int:
        return self.index.revision

    def shard_of(self, entry: str) -> str:
        """Name of the shard in which an entry stands."""
        return next(name for name, data in self.shards.items() if entry in _entries(name, data, digest(data)))


def shard_path(name: str) -> str:
    """Path of the ConfigMap of a shard."""
    return f"{CONFIG_MAPS}/{shard_config_map(GATEWAY, name)}"


def read_published(admin: Rest) -> Published | None:
    """Read index and shards; None before the first publication.

    Raises AssertionError when the index names bytes that are not there and the index is still the same afterwards, and
    SnapshotRefused when they are not what it says: then nobody could load it.
    """
    while True:
        index_bytes = read_index(admin)
        if index_bytes is None:
            return None
        index = decode_index(index_bytes)
        shards = {ref.name: _shard(admin, ref.name, ref.sha256) for ref in index.shards}
        missing = [name for name, data in shards.items() if data is None]
        if missing and read_index(admin) != index_bytes:
            continue  # somebody published meanwhile
        assert not missing, f"revision {index.revision} names shards whose bytes are not there: {missing}"
        whole = {name: data for name, data in shards.items() if data is not None}
        entries: dict[str, bytes] = {}
        for ref in index.shards:
            entries |= _entries(ref.name, whole[ref.name], ref.sha256)
        return Published(index, index_bytes, whole, entries)


def read_index(admin: Rest) -> bytes | None:
    """The bytes of the index; None when there is none."""
    try:
        data = admin.get(INDEX).get("data", {})
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    return data[INDEX_KEY].encode() if INDEX_KEY in data else None


def served_objects(admin: Rest) -> int:
    """How many objects the published index says are served; cheap enough to poll."""
    try:
        text = str(admin.get(INDEX).get("data", {}).get("summary", ""))
    except ApiError as error:
        if error.status == 404:
            return 0
        raise
    return sum(int(line.split()[1]) for line in text.splitlines() if line.endswith(" served"))


def load_fresh(published: Published) -> int:
    """Load it as a data plane that has just started does; returns the revision. Raises AssertionError if refused."""

    async def load() -> int:
        reloader = Reloader(GATEWAY)
        try:
            outcome = await reloader.offer(Bundle(published.index_bytes, published.shards))
            assert outcome is Outcome.LOADED, (outcome, reloader.last_refusal)
            return reloader.revision
        finally:
            reloader.close()

    return asyncio.run(load())


def mounted_files(admin: Rest) -> dict[str, bytes]:
    """Every key of the operator's ConfigMaps as the files of one projected volume."""
    files: dict[str, bytes] = {}
    for item in config_maps(admin):
        files |= {key: value.encode() for key, value in item.get("data", {}).items()}
        files |= {key: base64.b64decode(value) for key, value in item.get("binaryData", {}).items()}
    return files


def credential_files(admin: Rest) -> dict[str, bytes]:
    """Every key of the credentials Secret as files; none when there is no Secret."""
    try:
        data = admin.get(CREDENTIALS).get("data", {})
    except ApiError as error:
        if error.status == 404:
            return {}
        raise
    return {key: base64.b64decode(value) for key, value in data.items()}


def config_maps(admin: Rest) -> list[Any]:
    """What the operator publishes for data planes: not what it keeps for itself, nor what people write for it."""
    prefix, kept = index_config_map(GATEWAY), re.compile(r"-(kept-[0-9a-f]+|history|hold)$")
    items = [item for item in admin.list(CONFIG_MAPS) if item["metadata"]["name"].startswith(prefix)]
    return [item for item in items if not kept.search(item["metadata"]["name"])]


def versions(admin: Rest) -> dict[str, str]:
    """resourceVersions of everything that the operator publishes: equal ones prove that nothing was written."""
    found = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in config_maps(admin)}
    try:
        found["credentials"] = admin.get(CREDENTIALS)["metadata"]["resourceVersion"]
    except ApiError as error:
        if error.status != 404:
            raise
    return found


def _shard(admin: Rest, name: str, sha256: str) -> bytes | None:
    try:
        value = admin.get(shard_path(name)).get("binaryData", {}).get(shard_key(name, sha256))
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    return None if value is None else base64.b64decode(value)


def _entries(name: str, data: bytes, sha256: str) -> dict[str, bytes]:
    shard = decode_shard(data, name=name, sha256=sha256)
    encode = msgspec.json.Encoder(order="deterministic").encode
    served = Served.from_shards([shard]).entries
    return {f"{key.kind.value} {key.namespace}/{key.name}": encode(entry) for key, entry in served.items()}
