"""A second index for some data planes: always the higher number is right, whatever is read first."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tidegate_dataplane.snapshot.bundle import INDEX_KEY, PLANES_KEY, shard_key
from tidegate_dataplane.snapshot.codec import decode_index, decode_shard, digest, encode_shard
from tidegate_dataplane.snapshot.entries import SCHEMA_VERSION, RouteEntry, Shard, Source
from tidegate_operator.compile.compiled import Compiled, EncodedShard, Served
from tidegate_operator.outputs import Gateway
from tidegate_operator.publish import Published, Publisher
from tidegate_operator.release.content import Content
from tidegate_operator.release.planning import Staged
from tidegate_operator.release.stage import STAGE_KEY, Phase, Stage, read_stage
from tidegate_operator.world import Facts

NAMESPACE = "tidegate-system"
INDEX = f"/api/v1/namespaces/{NAMESPACE}/configmaps/tidegate-default"
CANARY = f"{INDEX}-canary"


def shards(*names: str) -> tuple[EncodedShard, ...]:
    found = []
    for name in names:
        number, _, words = name.partition(":")
        data = encode_shard(Shard(SCHEMA_VERSION, routes=(RouteEntry(Source("t", f"r-{words}", 1), ("m",), (), ()),)))
        found.append(EncodedShard(number, data, digest(data)))
    return tuple(found)


def staged(*names: str, trial: int = 0) -> Staged:
    return Staged(Content(shards(*names), Served({})), ("pod-1:9090",), trial)


async def publish(publisher: Publisher, *names: str, **more: Any) -> Published:
    return await publisher.publish(Compiled(shards(*names), {}, {}, Served({})), Facts(), **more)


def readable(api: Any, path: str = INDEX) -> tuple[int, list[str]]:
    """The revision and the routes, as a fresh data plane reads them; raises when bytes are not there."""
    index = decode_index(api.objects[path]["data"][INDEX_KEY].encode())
    found = []
    for ref in index.shards:
        data = base64.b64decode(api.objects[f"{INDEX}-{ref.name}"]["binaryData"][shard_key(ref.name, ref.sha256)])
        found += [route.source.name for route in decode_shard(data, name=ref.name, sha256=ref.sha256).routes]
    return index.revision, found


@pytest.fixture
def publisher(api: Any) -> Publisher:
    return Publisher(api, Gateway("default", NAMESPACE))


async def test_without_a_trial_nothing_more_is_written(api: Any, publisher: Publisher) -> None:
    await publish(publisher, "00:a")
    await publish(publisher, "00:b")
    assert CANARY not in api.objects


async def test_what_passes_keeps_its_number(api: Any, publisher: Publisher) -> None:
    await publish(publisher, "00:a", "01:a")
    found = await publish(publisher, "00:a", "01:a", staged=staged("00:b", "01:a"))
    assert (found.revision, found.tried) == (1, 2)
    assert readable(api) == (1, ["r-a", "r-a"])
    assert readable(api, CANARY) == (2, ["r-b", "r-a"])
    assert json.loads(api.objects[CANARY]["data"][PLANES_KEY]) == {"trial": 2, "planes": ["pod-1:9090"]}
    api.log.clear()
    again = await publish(publisher, "00:a", "01:a", staged=staged("00:b", "01:a", trial=2), floor=2)
    assert (again.revision, again.tried) == (1, 2)
    assert api.log == [], "data planes that run what is tried are no reason to publish"
    found = await publish(publisher, "00:b", "01:a", floor=2)
    assert (found.revision, found.tried) == (2, 0)
    assert readable(api) == (2, ["r-b", "r-a"])
    assert api.objects[CANARY].get("data", {}) == {}


async def test_what_fails_is_taken_back_by_a_higher_number_first(api: Any, publisher: Publisher) -> None:
    await publish(publisher, "00:a")
    await publish(publisher, "00:a", staged=staged("00:b"))
    stage = Stage(Phase.STOPPED, 2, "digest", ("pod-1:9090",), "DenyRate", "x")
    api.log.clear()
    found = await publish(publisher, "00:a", stage=stage)
    assert found.revision == 3
    assert readable(api) == (3, ["r-a"])
    assert api.log == [f"PATCH {INDEX}", f"PATCH {CANARY}"]
    assert INDEX_KEY not in api.objects[CANARY]["data"]
    assert read_stage(api.objects[CANARY]["data"]) == stage
    assert (await publish(publisher, "00:a", stage=stage)).revision == 3
    # The next leader knows it, and never uses that number again.
    second = Publisher(api, Gateway("default", NAMESPACE))
    assert (await second.recover()).stage == stage


async def test_a_leader_that_finds_a_trial_takes_it_back(api: Any, publisher: Publisher) -> None:
    await publish(publisher, "00:a")
    await publish(publisher, "00:a", staged=staged("00:b"))
    second = Publisher(api, Gateway("default", NAMESPACE))
    recovered = await second.recover()
    assert recovered.live is not None
    assert recovered.live.revision == 1
    found = await publish(second, "00:a", staged=staged("00:b"))
    assert (found.revision, found.tried) == (3, 4)


async def test_a_closing_during_a_trial_reaches_both(api: Any, publisher: Publisher) -> None:
    await publish(publisher, "00:a", "01:a")
    await publish(publisher, "00:a", "01:a", staged=staged("00:b", "01:a"))
    seen = []
    api.after = lambda method, path: seen.append((readable(api), readable(api, CANARY)))
    found = await publish(publisher, "00:a", "01:closed", staged=staged("00:b", "01:closed", trial=2))
    assert (found.revision, found.tried) == (3, 4)
    assert readable(api) == (3, ["r-a", "r-closed"])
    assert readable(api, CANARY) == (4, ["r-b", "r-closed"])
    assert json.loads(api.objects[CANARY]["data"][PLANES_KEY])["trial"] == 2
    assert seen, "both were whole after each write"


async def test_what_is_tried_is_put_back_when_somebody_edits_it(api: Any, publisher: Publisher) -> None:
    await publish(publisher, "00:a")
    await publish(publisher, "00:a", staged=staged("00:b"))
    api.edit(CANARY, lambda item: item["data"].update({STAGE_KEY: "{}"}))
    api.edit(f"{INDEX}-00", lambda item: item["binaryData"].popitem())
    await publisher.refresh()
    await publish(publisher, "00:a", staged=staged("00:b", trial=2))
    assert readable(api) == (1, ["r-a"])
    assert readable(api, CANARY) == (2, ["r-b"])
    assert read_stage(api.objects[CANARY]["data"]).phase is Phase.RUNNING
