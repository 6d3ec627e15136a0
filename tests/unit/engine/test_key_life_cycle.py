"""Keys that are revoked, rotated, mistyped; and the table that they are looked up in."""

from hashlib import sha256
from typing import Any

import msgspec
import pytest

from samples.snapshots import NOON, attach, backend, call, consumer, key_entry, keys_only, route, runtime_of, snapshot
from tidegate_dataplane.apikey import issue_key
from tidegate_dataplane.engine import decide
from tidegate_dataplane.runtime import Runtime, build
from tidegate_dataplane.runtime.credentials import find, slot
from tidegate_dataplane.snapshot.entries import KeyEntry

OLD, NEW = issue_key(b"o" * 32), issue_key(b"n" * 32)


def digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


def rotated(**fields: Any) -> KeyEntry:
    return msgspec.structs.replace(
        KeyEntry("k", digest(NEW), previous=digest(OLD), previous_until=int(NOON) + 60), **fields
    )


def world(*keys: KeyEntry) -> Runtime:
    return runtime_of(keys_only(), route(policies=attach("team-a/login")), consumer(keys=keys))


def answer(runtime: Runtime, key: str, now: float = NOON) -> str:
    denial = decide(runtime, call(keys=(key,)), now).denial
    return "" if denial is None else f"{denial.status} {denial.message}"


def test_after_a_rotation_both_keys_work_until_the_overlap_ends() -> None:
    runtime = world(rotated())
    assert answer(runtime, NEW) == ""
    assert answer(runtime, OLD, NOON + 59.9) == ""
    assert answer(runtime, OLD, NOON + 60).startswith("401")
    assert answer(runtime, NEW, NOON + 60) == ""


def test_a_call_with_the_replaced_key_names_it() -> None:
    decision = decide(world(rotated()), call(keys=(OLD,)), NOON)
    assert decision.identity is not None
    assert decision.identity.names == ("k (previous)",)


@pytest.mark.parametrize("key", [OLD, NEW])
@pytest.mark.parametrize("change", [{"revoked": True}, {"not_after": int(NOON)}, {"not_before": int(NOON) + 1}])
def test_what_refuses_a_key_refuses_the_one_it_replaced_too(key: str, change: dict[str, Any]) -> None:
    assert answer(world(rotated(**change)), key).startswith("401")


def test_a_replaced_key_without_an_end_does_not_work() -> None:
    assert answer(world(rotated(previous_until=None)), OLD).startswith("401")


def test_a_typing_error_is_answered_as_an_unknown_key_even_where_its_hash_is_declared() -> None:
    typo = OLD[:-1] + ("A" if OLD[-1] != "A" else "B")
    runtime = world(KeyEntry("typo", digest(typo)), key_entry("other"))
    assert answer(runtime, typo) == answer(runtime, "unknown") != ""


def test_only_the_exact_digest_finds_a_credential() -> None:
    runtime = world(rotated())
    right = sha256(NEW.encode()).digest()
    assert find(runtime.credentials, right) is not None
    assert find(runtime.credentials, right[:-1] + bytes([right[-1] ^ 1])) is None
    assert right not in runtime.credentials
    # Somebody who stood in the place of another digest would still not have its key.
    moved = {slot(sha256(OLD.encode()).digest()): runtime.credentials[slot(right)]}
    assert find(moved, sha256(OLD.encode()).digest()) is None


def test_rotations_in_turn_leave_nothing_behind() -> None:
    around = (backend(), keys_only(), route(policies=attach("team-a/login")))
    runtime = None
    for number in range(5):
        keys = [issue_key(bytes([n]) * 32) for n in (number, number + 1)]
        entry = rotated(sha256=digest(keys[1]), previous=digest(keys[0]))
        index, shards = snapshot((*around, consumer(keys=(entry,))), revision=number + 1)
        runtime = build(index, shards, runtime)
        assert len(runtime.credentials) == 2
        assert [answer(runtime, key) for key in keys] == ["", ""]


def test_a_rival_of_a_replaced_key_does_not_get_it_while_its_owner_is_there() -> None:
    thief = KeyEntry("mine", digest(OLD))
    runtime = runtime_of(
        keys_only(),
        route(policies=attach("team-a/login")),
        consumer(created=5, keys=(rotated(),)),
        consumer("team-a/a-thief", created=6, keys=(thief,)),
    )
    decision = decide(runtime, call(keys=(OLD,)), NOON)
    assert decision.consumer is not None
    assert decision.consumer.key == "team-a/search"
