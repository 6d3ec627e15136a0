"""An operator that is upgraded finds the last good forms that its older version published."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from samples import schema_2
from tidegate_dataplane.snapshot.bundle import INDEX_KEY, shard_key
from tidegate_dataplane.snapshot.codec import decode_index, digest
from tidegate_dataplane.snapshot.entries import SCHEMA_VERSION
from tidegate_operator.compile import compile_world
from tidegate_operator.compile.compiled import Served
from tidegate_operator.outputs import Gateway
from tidegate_operator.publish import Publisher
from tidegate_operator.world import Facts, Kind, ObjectKey, Resource, World

NAMESPACE = "tidegate-system"
MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
QUOTA = ObjectKey(Kind.QUOTA, "default", "free")
BROKEN = Resource(
    QUOTA,
    {
        "targetRefs": [{"kind": "Namespace"}],
        "limits": [{"unit": "Tokens", "amount": "5", "window": {"calendar": "Day", "timeZone": "Europe/Atlantis"}}],
    },
    generation=2,
)


def publish_by_hand(api: Any, *, schema: int) -> None:
    """What an operator of that schema left behind."""
    bundle = schema_2.published(schema=schema)
    labels = {"tidegate.dev/gateway": "default", "app.kubernetes.io/managed-by": "tidegate-operator"}
    index = {"data": {INDEX_KEY: bundle.index.decode()}}
    shards = {
        f"-{name}": {"binaryData": {shard_key(name, digest(data)): base64.b64encode(data).decode()}}
        for name, data in bundle.shards.items()
    }
    for suffix, content in {"": index, **shards}.items():
        name = f"tidegate-default{suffix}"
        metadata = {"name": name, "namespace": NAMESPACE, "labels": labels, "resourceVersion": "5"}
        api.objects[f"{MAPS}/{name}"] = json.loads(json.dumps({"metadata": metadata, **content}))


async def test_last_good_forms_outlive_an_upgrade(api: Any) -> None:
    publish_by_hand(api, schema=2)
    publisher = Publisher(api, Gateway("default", NAMESPACE))
    recovered = await publisher.recover()
    assert (recovered.revision, recovered.damage) == (7, ())
    served = Served.from_shards(recovered.shards)

    compiled = compile_world(World({QUOTA: BROKEN}), Facts(), served)
    verdict = compiled.verdicts[QUOTA]
    assert (verdict.generation, verdict.served_generation) == (2, 1)
    assert compiled.served.entries[QUOTA] == served.entries[QUOTA]

    published = await publisher.publish(compiled, Facts())
    assert published.revision == 8
    index = decode_index(api.objects[f"{MAPS}/tidegate-default"]["data"][INDEX_KEY].encode())
    assert index.schema_version == SCHEMA_VERSION


@pytest.mark.parametrize("schema", [1, SCHEMA_VERSION + 1])
async def test_a_snapshot_that_it_cannot_read_is_named_and_replaced(api: Any, schema: int) -> None:
    publish_by_hand(api, schema=schema)
    publisher = Publisher(api, Gateway("default", NAMESPACE))
    recovered = await publisher.recover()
    assert recovered.shards == ()
    assert len(recovered.damage) == 1
    assert f"schema {schema}" in recovered.damage[0]


async def test_bytes_that_it_cannot_read_stay_until_the_index_names_others(api: Any) -> None:
    """A data plane of the newer version, which starts in between, still finds what the newer index names."""
    publish_by_hand(api, schema=SCHEMA_VERSION + 1)
    path = f"{MAPS}/tidegate-default"
    names = [(ref["name"], ref["sha256"]) for ref in json.loads(api.objects[path]["data"][INDEX_KEY])["shards"]]
    publisher = Publisher(api, Gateway("default", NAMESPACE))
    await publisher.recover()
    seen = []

    async def look(write: Any, *arguments: Any, **more: Any) -> Any:
        answer = await write(*arguments, **more)
        if json.loads(api.objects[path]["data"][INDEX_KEY])["schema_version"] == SCHEMA_VERSION + 1:
            seen.append([_held(api, *name) for name in names])
        return answer

    api.apply = partial(look, api.apply)
    spec = {**BROKEN.spec, "limits": [{"unit": "Tokens", "amount": "5", "window": {"calendar": "Day"}}]}
    whole = World({QUOTA: replace(BROKEN, spec=spec)})
    published = await publisher.publish(compile_world(whole, Facts(), Served({})), Facts())
    assert published.revision == 8
    assert seen
    assert all(all(each) for each in seen)


def _held(api: Any, name: str, sha256: str) -> bool:
    """Whether the bytes of a shard are there."""
    return shard_key(name, sha256) in api.objects[f"{MAPS}/tidegate-default-{name}"].get("binaryData", {})
