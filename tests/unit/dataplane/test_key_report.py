"""`/-/keys`: what an owner of keys sees of their use."""

import json
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from dataplane.factory import KEY, OTHER_KEY, bundle_of, consumer, route, shard
from dataplane.planes import running
from dataplane.raw_http import admin, chat, exchange, request
from samples.snapshots import consumer as engine_consumer
from samples.snapshots import key_entry, runtime_of
from tidegate_dataplane.apikey import digest_of
from tidegate_dataplane.key_report import Question, key_page
from tidegate_dataplane.key_uses import KeyUses
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.snapshot.entries import KeyEntry
from tidegate_dataplane.snapshot.key_state import KeyState

NOW = 1_782_907_200


async def rows(plane: DataPlane, query: str = "") -> list[Any]:
    answer = await admin(plane, f"/-/keys{query}")
    assert answer.status == 200
    return list(answer.json()["keys"])


async def test_a_call_that_is_let_in_is_a_use_and_a_refused_one_is_not() -> None:
    async with running(bundle_of(shard())) as plane:
        (before,) = await rows(plane)
        assert before["consumer"] == "team-a/search"
        assert (before["state"], before["lastUsed"], before["notAfter"]) == ("Active", None, None)
        assert (await exchange(plane, request(chat(), key=OTHER_KEY))).status == 401
        assert (await exchange(plane, request(chat(model="no-such"), key=KEY))).status == 404
        assert (await rows(plane))[0]["lastUsed"] is None
        assert (await exchange(plane, request(chat(), key=KEY))).status == 200
        (after,) = await rows(plane)
        page = (await admin(plane, "/-/keys")).json()
        assert page["since"] <= after["lastUsed"] <= page["now"]
        assert await rows(plane, f"?usedSince={after['lastUsed']}") == [after]
        assert await rows(plane, f"?usedSince={after['lastUsed'] + 1}") == []


async def test_to_list_models_is_a_use() -> None:
    async with running(bundle_of(shard())) as plane:
        assert (await exchange(plane, request(b"", method="GET", path="/v1/models", key=KEY))).status == 200
        assert (await rows(plane))[0]["lastUsed"] is not None


async def test_a_reload_forgets_no_use_and_a_key_that_is_gone_is_not_told() -> None:
    async with running(bundle_of(shard())) as plane:
        await exchange(plane, request(chat(), key=KEY))
        (used,) = await rows(plane)
        await plane.reloader.offer(bundle_of(shard(routes=(route(timeout_ms=5_000),)), revision=2))
        assert await rows(plane) == [used]
        await plane.reloader.offer(bundle_of(shard(consumers=(consumer(key=OTHER_KEY),)), revision=3))
        assert (await rows(plane))[0]["lastUsed"] is None


async def test_no_hash_and_no_key_is_told() -> None:
    async with running(bundle_of(shard())) as plane:
        await exchange(plane, request(chat(), key=KEY))
        text = (await admin(plane, "/-/keys")).text
        assert KEY not in text
        assert digest_of(KEY)[:12] not in text


@pytest.mark.parametrize(
    "query", ["?limit=0", "?limit=x", "?limit=5001", "?usedSince=yesterday", f"?after={'a' * 999}"]
)
async def test_a_question_that_makes_no_sense_is_told_so(query: str) -> None:
    async with running(bundle_of(shard())) as plane:
        answer = await admin(plane, f"/-/keys{query}")
        assert answer.status == 400
        assert answer.json()["error"]


async def test_pages_have_every_key_once_and_in_order() -> None:
    keys = [KeyEntry(f"k{number}", digest_of(f"key {number}")) for number in range(5)]
    many = msgspec.structs.replace(consumer(), keys=tuple(keys))
    async with running(bundle_of(shard(consumers=(many,)))) as plane:
        seen: list[str] = []
        after: str | None = ""
        while after is not None:
            page = json.loads((await admin(plane, f"/-/keys?limit=2&after={quote(after)}")).text)
            assert len(page["keys"]) <= 2
            seen += [row["key"] for row in page["keys"]]
            after = page["next"]
        assert seen == ["k0", "k1", "k2", "k3", "k4"]


@pytest.mark.parametrize(
    ("entry", "suspended", "state"),
    [
        ({}, False, KeyState.ACTIVE),
        ({"not_after": NOW + 1}, False, KeyState.ACTIVE),
        ({"not_after": NOW}, False, KeyState.EXPIRED),
        ({"not_before": NOW + 1}, False, KeyState.NOT_YET),
        ({"revoked": True, "not_after": NOW}, True, KeyState.REVOKED),
        ({}, True, KeyState.SUSPENDED),
    ],
)
def test_the_state_is_what_a_caller_would_meet(entry: dict[str, Any], suspended: bool, state: KeyState) -> None:
    key = msgspec.structs.replace(key_entry("secret"), **entry)
    runtime = runtime_of(engine_consumer(keys=(key,), suspended=suspended))
    assert [row.state for row in key_page(runtime, KeyUses(), Question(), NOW).keys] == [state]


def rotated() -> Runtime:
    key = KeyEntry("k", digest_of("new"), previous=digest_of("old"), previous_until=NOW + 60)
    return runtime_of(engine_consumer(keys=(key,)))


def test_a_replaced_key_has_a_row_of_its_own_until_it_ends() -> None:
    page = key_page(rotated(), KeyUses(), Question(), NOW)
    assert [(row.key, row.state, row.not_after) for row in page.keys] == [
        ("k", KeyState.ACTIVE, None),
        ("k (previous)", KeyState.PREVIOUS, NOW + 60),
    ]
    assert [row.state for row in key_page(rotated(), KeyUses(), Question(), NOW + 60).keys][1] is KeyState.EXPIRED


def test_the_last_use_goes_with_the_key_when_it_becomes_the_previous_one() -> None:
    uses = KeyUses()
    before = runtime_of(engine_consumer(keys=(KeyEntry("k", digest_of("old")),)))
    (credential,) = before.credentials.values()
    uses.note(credential.identity, NOW + 0.9)
    assert key_page(before, uses, Question(), NOW).keys[0].last_used == NOW
    after = {row.key: row.last_used for row in key_page(rotated(), uses, Question(), NOW).keys}
    assert after == {"k": None, "k (previous)": NOW}


def test_only_one_consumer_is_listed_when_it_is_asked_for() -> None:
    runtime = runtime_of(engine_consumer("team-a/a"), engine_consumer("team-a/b"))
    page = key_page(runtime, KeyUses(), Question(consumer="team-a/b"), NOW)
    assert [row.consumer for row in page.keys] == ["team-a/b"]
