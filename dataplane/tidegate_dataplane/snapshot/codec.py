"""Bytes of a snapshot: canonical, compressed, digested; and their strict, bounded reading.

A shard travels as gzip (no name, mtime 0) of JSON with sorted map keys; an index as plain JSON. Whatever does not
fit is refused with a reason that an operator of the system can act on; nothing is ever half read.
"""

import gzip
import hashlib
import zlib
from enum import StrEnum

import msgspec

from tidegate_dataplane.snapshot.entries import OLDEST_SCHEMA_VERSION, SCHEMA_VERSION, Index, Shard

# A ConfigMap may hold 1 MiB of decoded data, a request 1.5 MiB (base64 takes a third); two versions must fit.
MAX_SHARD_BYTES = 384 * 1024
MAX_INDEX_BYTES = 256 * 1024
MAX_DECOMPRESSED_BYTES = 64 * 1024 * 1024
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


class Refusal(StrEnum):
    """Why a snapshot was refused."""

    TOO_LARGE = "TooLarge"
    DIGEST_MISMATCH = "DigestMismatch"
    CORRUPTED = "Corrupted"
    NEWER_SCHEMA = "NewerSchema"
    OLDER_REVISION = "OlderRevision"
    WRONG_GATEWAY = "WrongGateway"
    BUILD_FAILED = "BuildFailed"


class SnapshotRefused(Exception):
    """The snapshot was not taken; the one before stays in force."""

    def __init__(self, reason: Refusal, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class _SchemaGate(msgspec.Struct):
    schema_version: int = 0


_encoder = msgspec.json.Encoder(order="deterministic")
_index_decoder = msgspec.json.Decoder(Index)
_shard_decoder = msgspec.json.Decoder(Shard)
_gate_decoder = msgspec.json.Decoder(_SchemaGate)


def digest(data: bytes) -> str:
    """Hex SHA-256 of the bytes as they travel."""
    return hashlib.sha256(data).hexdigest()


def encode_shard(shard: Shard) -> bytes:
    """Canonical compressed bytes: equal shards give equal bytes."""
    return gzip.compress(_encoder.encode(shard), compresslevel=6, mtime=0)


def encode_index(index: Index) -> bytes:
    """Canonical JSON of an index."""
    return _encoder.encode(index)


def decode_index(data: bytes) -> Index:
    """Read an index strictly; raises SnapshotRefused."""
    if len(data) > MAX_INDEX_BYTES:
        raise SnapshotRefused(Refusal.TOO_LARGE, f"the index has {len(data)} bytes, more than {MAX_INDEX_BYTES}")
    _check_schema(data, "the index")
    try:
        return _index_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SnapshotRefused(Refusal.CORRUPTED, f"the index cannot be read: {error}") from error


def decode_shard(data: bytes, *, name: str, sha256: str) -> Shard:
    """Read a shard strictly: size, digest, bounded decompression, schema, fields; raises SnapshotRefused."""
    if len(data) > MAX_SHARD_BYTES:
        raise SnapshotRefused(Refusal.TOO_LARGE, f"shard {name} has {len(data)} bytes, more than {MAX_SHARD_BYTES}")
    found = digest(data)
    if found != sha256:
        raise SnapshotRefused(
            Refusal.DIGEST_MISMATCH, f"shard {name} has digest {found[:12]}, the index names {sha256[:12]}"
        )
    text = _decompress(data, name)
    _check_schema(text, f"shard {name}")
    try:
        return _shard_decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SnapshotRefused(Refusal.CORRUPTED, f"shard {name} cannot be read: {error}") from error


def _decompress(data: bytes, name: str) -> bytes:
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    try:
        text = inflater.decompress(data, MAX_DECOMPRESSED_BYTES)
    except zlib.error as error:
        raise SnapshotRefused(Refusal.CORRUPTED, f"shard {name} cannot be decompressed: {error}") from error
    if inflater.unconsumed_tail:
        raise SnapshotRefused(
            Refusal.TOO_LARGE, f"shard {name} decompresses to more than {MAX_DECOMPRESSED_BYTES} bytes"
        )
    if not inflater.eof or inflater.unused_data:
        raise SnapshotRefused(Refusal.CORRUPTED, f"shard {name} is truncated or has bytes after its end")
    return text


def _check_schema(text: bytes, what: str) -> None:
    try:
        version = _gate_decoder.decode(text).schema_version
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SnapshotRefused(Refusal.CORRUPTED, f"{what} cannot be read: {error}") from error
    if version > SCHEMA_VERSION:
        raise SnapshotRefused(
            Refusal.NEWER_SCHEMA,
            f"{what} has schema {version}, this data plane reads up to {SCHEMA_VERSION}: upgrade the data plane first",
        )
    if version < OLDEST_SCHEMA_VERSION:
        raise SnapshotRefused(
            Refusal.CORRUPTED,
            f"{what} has schema {version}, the oldest that is read is {OLDEST_SCHEMA_VERSION}: an operator of this "
            "version publishes it anew",
        )
