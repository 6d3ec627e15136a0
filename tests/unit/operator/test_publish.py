"""What is written when, in which order, and what is left when the operator dies between two writes."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from tidegate_dataplane.snapshot.bundle import INDEX_KEY, shard_key
from tidegate_dataplane.snapshot.codec import decode_index, decode_shard, digest, encode_shard
from tidegate_dataplane.snapshot.entries import SCHEMA_VERSION, ClusterFacts, RouteEntry, Shard, Source
from tidegate_operator.compile.compiled import Compiled, EncodedShard, Served
from tidegate_operator.ingest import ConfigMapObject
from tidegate_operator.kube import ApiError
from tidegate_operator.outputs import Gateway
from tidegate_operator.publish import GRACE_SECONDS, Publisher
from tidegate_operator.world import Facts

NAMESPACE = "tidegate-system"
MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
INDEX = f"{MAPS}/tidegate-default"
SECRET = f"/api/v1/namespaces/{NAMESPACE}/secrets/tidegate-default-credentials"
FACTS = Facts()


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Operator:
    """A publisher of one term of leadership."""

    api: Any
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.publisher = Publisher(self.api, Gateway("default", NAMESPACE), clock=self.clock)

    async def publish(self, *names: str, facts: Facts = FACTS, floor: int = 0, **credentials: bytes) -> int:
        published = await self.publisher.publish(compiled(*names, **credentials), facts, floor=floor)
        return published.revision


def compiled(*names: str, **credentials: bytes) -> Compiled:
    """One shard for each name "SHARD" or "SHARD:CONTENT"."""
    shards = []
    for name in names:
        number, _, content = name.partition(":")
        route = RouteEntry(Source("team", f"route-{content}", 1), ("m",), (), ())
        data = encode_shard(Shard(SCHEMA_VERSION, routes=(route,)))
        shards.append(EncodedShard(number, data, digest(data)))
    return Compiled(tuple(shards), {}, credentials, Served({}))


def readable(api: Any) -> dict[str, str]:
    """Shard -> its route, as a fresh data plane reads them; raises when the index names bytes that are not there."""
    index = decode_index(api.objects[INDEX]["data"][INDEX_KEY].encode())
    found = {}
    for ref in index.shards:
        data = base64.b64decode(api.objects[f"{INDEX}-{ref.name}"]["binaryData"][shard_key(ref.name, ref.sha256)])
        found[ref.name] = decode_shard(data, name=ref.name, sha256=ref.sha256).routes[0].source.name
    return found


async def test_shards_and_credentials_come_before_the_index(api: Any) -> None:
    assert await Operator(api).publish("00", "01", key=b"upstream") == 1
    assert sorted(api.log[:2]) == [f"PATCH {INDEX}-00", f"PATCH {INDEX}-01"]
    assert api.log[2:] == [f"PATCH {SECRET}", f"POST {MAPS}"]
    assert readable(api) == {"00": "route-", "01": "route-"}


async def test_the_same_again_writes_nothing(api: Any) -> None:
    operator = Operator(api)
    await operator.publish("00", "01", key=b"upstream")
    api.log.clear()
    assert await operator.publish("00", "01", key=b"upstream") == 1
    assert api.log == []


async def test_one_change_writes_one_shard_and_the_index(api: Any) -> None:
    operator = Operator(api)
    await operator.publish("00", "01")
    api.log.clear()
    assert await operator.publish("00", "01:b") == 2
    assert api.log == [f"PATCH {INDEX}-01", f"PATCH {INDEX}"]


async def test_other_facts_about_the_cluster_are_a_revision_of_their_own(api: Any) -> None:
    operator = Operator(api)
    await operator.publish("00")
    assert await operator.publish("00", facts=Facts(cluster=ClusterFacts(region="eu"))) == 2


@pytest.mark.parametrize("dies_after", range(5))
async def test_whoever_reads_between_two_writes_finds_one_whole_snapshot(api: Any, dies_after: int) -> None:
    await Operator(api).publish("00:a", "01:a", "02:a")
    seen = []
    writes = 0

    def die(method: str, path: str) -> Exception | None:
        nonlocal writes
        writes += 1
        return ConnectionError("killed") if writes > dies_after else None

    api.after = lambda method, path: seen.append(readable(api))
    api.fail = die
    second = Operator(api)
    await second.publisher.recover()
    try:
        await second.publish("00:b", "01:b", "03:b", key=b"upstream")
    except ConnectionError:
        pass
    old = {"00": "route-a", "01": "route-a", "02": "route-a"}
    new = {"00": "route-b", "01": "route-b", "03": "route-b"}
    assert all(snapshot in (old, new) for snapshot in seen)
    assert readable(api) in (old, new)

    # The next operator continues from whatever is there, with other content once more.
    api.fail = lambda method, path: None
    third = Operator(api)
    recovered = await third.publisher.recover()
    assert recovered.damage == ()
    revision = await third.publish("00:c", "01:c")
    assert revision > recovered.revision
    assert readable(api) == {"00": "route-c", "01": "route-c"}
    assert all(snapshot in (old, new, readable(api)) for snapshot in seen)


async def test_an_index_that_was_written_although_the_answer_was_lost_stays_readable(api: Any) -> None:
    operator = Operator(api)
    await operator.publish("00:a")
    written = api.after

    def lose(method: str, path: str) -> None:
        if path == INDEX:
            raise TimeoutError("the answer was lost")

    api.after = lose
    with pytest.raises(TimeoutError):
        await operator.publish("00:b")
    seen = []
    api.after = lambda method, path: seen.append(readable(api))
    # Without knowing which of the two indexes is there, both must stay readable while the third is written.
    with pytest.raises(ApiError):
        await operator.publish("00:c")
    await operator.publisher.refresh()
    await operator.publish("00:c")
    api.after = written
    assert all(snapshot["00"] in ("route-b", "route-c") for snapshot in seen)
    assert readable(api) == {"00": "route-c"}


async def test_a_leader_that_was_overtaken_changes_nothing(api: Any) -> None:
    stale, fresh = Operator(api), Operator(api)
    await stale.publish("00:a", "01:a")
    await fresh.publisher.recover()
    await fresh.publish("00:b", "01:b")
    with pytest.raises(ApiError) as refused:
        await stale.publish("00:c", "01:c")
    assert refused.value.conflict
    assert readable(api) == {"00": "route-b", "01": "route-b"}


async def test_two_first_leaders_do_not_both_create_the_index(api: Any) -> None:
    one, other = Operator(api), Operator(api)
    await one.publish("00:a")
    with pytest.raises(ApiError) as refused:
        await other.publish("00:a", "01:b")
    assert refused.value.conflict


async def test_a_restart_continues_the_revisions_and_writes_nothing_for_an_equal_world(api: Any) -> None:
    first = Operator(api)
    await first.publish("00:a")
    await first.publish("00:b", key=b"upstream")
    api.log.clear()
    second = Operator(api)
    recovered = await second.publisher.recover()
    assert (recovered.revision, len(recovered.shards), recovered.damage) == (2, 1, ())
    assert await second.publish("00:b", key=b"upstream") == 2
    assert api.log == []


async def test_without_an_index_the_revision_is_above_whatever_is_known(api: Any) -> None:
    first = Operator(api)
    for content in "abc":
        await first.publish(f"00:{content}")
    del api.objects[INDEX]
    second = Operator(api)
    recovered = await second.publisher.recover()
    # The shard remembers the revision that it was written for, and still holds last good forms.
    assert (recovered.live, recovered.revision, len(recovered.shards)) == (None, 3, 1)
    assert await second.publish("00:c") == 4
    third = Operator(api)
    await third.publisher.recover()
    # A data plane that runs more than is published, as after a restored backup.
    assert await third.publish("00:c", floor=40) == 41


@pytest.mark.parametrize("index", ["{}", "not json", '{"schema_version":99,"revision":7}'])
async def test_a_damaged_index_is_named_and_replaced(api: Any, index: str) -> None:
    await Operator(api).publish("00:a")
    api.edit(INDEX, lambda item: item["data"].update({INDEX_KEY: index}))
    second = Operator(api)
    recovered = await second.publisher.recover()
    assert len(recovered.damage) == 1
    assert "tidegate-default" in recovered.damage[0]
    assert await second.publish("00:a") == 2
    assert readable(api) == {"00": "route-a"}


async def test_a_damaged_shard_is_named_left_out_and_repaired(api: Any) -> None:
    await Operator(api).publish("00:a", "01:a")

    def damage(item: dict[str, Any]) -> None:
        item["binaryData"] = dict.fromkeys(item["binaryData"], base64.b64encode(b"garbage").decode())

    api.edit(f"{INDEX}-01", damage)
    second = Operator(api)
    recovered = await second.publisher.recover()
    assert len(recovered.shards) == 1
    assert "tidegate-default-01" in recovered.damage[0]
    assert await second.publish("00:a", "01:a") == 1
    assert readable(api) == {"00": "route-a", "01": "route-a"}


async def test_an_index_that_somebody_put_there_is_outdone(api: Any) -> None:
    operator = Operator(api)
    await operator.publish("00:a")
    forged = api.objects[INDEX]["data"][INDEX_KEY].replace('"revision":1', '"revision":30')
    api.edit(INDEX, lambda item: item["data"].update({INDEX_KEY: forged}))
    await operator.publisher.refresh()
    assert await operator.publish("00:a") == 31


async def test_what_others_changed_is_noticed_and_what_they_added_is_not_minded(api: Any) -> None:
    operator = Operator(api)
    await operator.publish("00:a", key=b"upstream")
    assert await operator.publisher.audit() == []
    api.edit(f"{INDEX}-00", lambda item: item["binaryData"].update(extra="eA=="))
    assert await operator.publisher.audit() == []
    api.edit(INDEX, lambda item: item["data"].update(summary="edited"))
    del api.objects[f"{INDEX}-00"], api.objects[SECRET]
    assert await operator.publisher.audit() == [
        "tidegate-default",
        "tidegate-default-00",
        "tidegate-default-credentials",
    ]
    assert await operator.publish("00:a", key=b"upstream") == 1
    assert await operator.publisher.audit() == []


async def test_the_echo_of_an_own_write_is_no_news(api: Any) -> None:
    operator = Operator(api)
    await operator.publish("00:a")
    item = msgspec.convert(api.objects[f"{INDEX}-00"], ConfigMapObject)
    assert not operator.publisher.see_config_map(item)
    api.edit(f"{INDEX}-00", lambda found: found["binaryData"].clear())
    assert operator.publisher.see_config_map(msgspec.convert(api.objects[f"{INDEX}-00"], ConfigMapObject))


async def test_a_credential_that_goes_leaves_after_the_index_that_needed_it(api: Any) -> None:
    operator = Operator(api)
    await operator.publish("00:a", old=b"1")
    api.log.clear()
    held = []
    api.after = lambda method, path: held.append((path, sorted(api.objects[SECRET]["data"])))
    await operator.publish("00:b", new=b"2")
    assert held == [
        (f"{INDEX}-00", ["old"]),
        (SECRET, ["new", "old"]),
        (INDEX, ["new", "old"]),
        (SECRET, ["new"]),
    ]


async def test_a_shard_that_is_no_longer_named_stays_for_a_while(api: Any) -> None:
    operator = Operator(api)
    await operator.publish("00:a", "01:a")
    await operator.publish("00:a")
    assert f"{INDEX}-01" in api.objects
    assert operator.publisher.next_removal() == GRACE_SECONDS
    operator.clock.now = GRACE_SECONDS
    await operator.publish("00:a")
    assert f"{INDEX}-01" not in api.objects
    assert operator.publisher.next_removal() is None
    await operator.publish("00:a", "01:a")
    assert readable(api) == {"00": "route-a", "01": "route-a"}
