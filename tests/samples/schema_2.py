"""A snapshot exactly as an operator of schema 2 published it: schema_2.json holds its JSON."""

import gzip
import json
from pathlib import Path

from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.codec import digest

_HELD = json.loads(Path(__file__).with_suffix(".json").read_text())


def published(*, schema: int = 2) -> Bundle:
    """Its bytes; with another `schema` the same, claiming to be of that version."""
    shards = {name: _gzip({**shard, "schema_version": schema}) for name, shard in _HELD["shards"].items()}
    refs = [{"name": name, "sha256": digest(data), "size": len(data)} for name, data in shards.items()]
    return Bundle(json.dumps({**_HELD["index"], "schema_version": schema, "shards": refs}).encode(), shards)


def _gzip(shard: object) -> bytes:
    return gzip.compress(json.dumps(shard).encode(), mtime=0)
