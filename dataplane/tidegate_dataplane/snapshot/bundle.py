"""A whole snapshot in memory: the index's bytes and the shards' bytes, as every source delivers them."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from tidegate_dataplane.snapshot.codec import Refusal, SnapshotRefused

# Keys inside the ConfigMaps, and file names in a mounted directory.
INDEX_KEY = "index.json"
# In the ConfigMap of an index that is tried: the instances of data planes that try it, as a JSON array.
PLANES_KEY = "planes.json"
MAX_BUNDLE_BYTES = 128 * 1024 * 1024


def shard_key(name: str, sha256: str) -> str:
    """Key of one version of a shard inside its ConfigMap, and its file name in a mounted directory.

    Such as `07-1f0e3dad9990.json.gz`. The digest is part of it so that a ConfigMap can hold the version that the
    published index names beside the one that the next index will name: whichever index is read, its bytes are there.
    """
    return f"{name}-{sha256[:12]}.json.gz"


def index_config_map(gateway: str) -> str:
    """Name of the ConfigMap that holds the index."""
    return f"tidegate-{gateway}"


def canary_config_map(gateway: str) -> str:
    """Name of the ConfigMap that holds an index which some data planes try first, and which ones those are."""
    return f"tidegate-{gateway}-canary"


def shard_config_map(gateway: str, name: str) -> str:
    """Name of the ConfigMap that holds shard `name`."""
    return f"tidegate-{gateway}-{name}"


def credentials_secret(gateway: str) -> str:
    """Name of the Secret that holds the upstream credentials; keys are `BackendEntry.credential`."""
    return f"tidegate-{gateway}-credentials"


@dataclass(frozen=True, slots=True)
class Bundle:
    """An index and the shards it names (by shard name), not yet verified."""

    index: bytes
    shards: Mapping[str, bytes]


class _BundleFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    index: bytes
    shards: dict[str, bytes]


def encode_bundle(bundle: Bundle) -> bytes:
    """One file that holds a whole snapshot (JSON, bytes in base64)."""
    return msgspec.json.encode(_BundleFile(index=bundle.index, shards=dict(bundle.shards)), order="deterministic")


def decode_bundle(data: bytes) -> Bundle:
    """Read a snapshot file; raises SnapshotRefused."""
    if len(data) > MAX_BUNDLE_BYTES:
        raise SnapshotRefused(Refusal.TOO_LARGE, f"the file has {len(data)} bytes, more than {MAX_BUNDLE_BYTES}")
    try:
        file = msgspec.json.decode(data, type=_BundleFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SnapshotRefused(Refusal.CORRUPTED, f"the file cannot be read: {error}") from error
    return Bundle(index=file.index, shards=file.shards)
