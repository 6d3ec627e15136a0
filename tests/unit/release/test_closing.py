"""What must not wait for a held content, and that nothing is ever opened."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from msgspec.structs import replace

from compiling.worlds import worlds
from tidegate_dataplane.snapshot.codec import decode_shard, digest, encode_shard
from tidegate_dataplane.snapshot.entries import (
    SCHEMA_VERSION,
    ConsumerEntry,
    KeyEntry,
    PlanEntry,
    RouteEntry,
    Shard,
    Source,
    SubscriberEntry,
    TokenMatchEntry,
)
from tidegate_operator.compile.compiled import EncodedShard, Served
from tidegate_operator.compile.compiler import compile_world
from tidegate_operator.release.closing import Closer
from tidegate_operator.release.content import Content, agree, compiled_content
from tidegate_operator.world import Facts, Kind, ObjectKey, World

FACTS = Facts()


def content(*entries: ConsumerEntry | RouteEntry) -> Content:
    shard = Shard(
        SCHEMA_VERSION,
        consumers=tuple(each for each in entries if isinstance(each, ConsumerEntry)),
        routes=tuple(each for each in entries if isinstance(each, RouteEntry)),
    )
    data = encode_shard(shard)
    return Content((EncodedShard("00", data, digest(data)),), Served.from_shards([shard]))


def consumer(name: str, *keys: KeyEntry, generation: int = 1, suspended: bool = False) -> ConsumerEntry:
    tokens = (TokenMatchEntry("t", {"sub": name}),)
    return ConsumerEntry(Source("team", name, generation), keys=keys, tokens=tokens, suspended=suspended)


def key_of(name: str) -> ObjectKey:
    return ObjectKey(Kind.CONSUMER, "team", name)


def closed(held: Content, present: Content) -> ConsumerEntry | None:
    after = Closer().close(held, present.served)
    (shard,) = [decode_shard(each.data, name=each.name, sha256=each.sha256) for each in after.shards]
    assert dict(Served.from_shards([shard]).entries) == dict(after.served.entries), "bytes and entries differ"
    found = after.served.entries.get(key_of("app"))
    assert found is None or isinstance(found, ConsumerEntry)
    return found


HELD = content(consumer("app", KeyEntry("a", "aa"), KeyEntry("b", "bb")))


def test_while_nothing_is_closed_the_bytes_are_the_very_same() -> None:
    present = content(consumer("app", KeyEntry("a", "aa"), KeyEntry("b", "bb"), generation=9))
    assert Closer().close(HELD, present.served) is HELD


def test_a_consumer_that_is_gone_is_taken_out() -> None:
    assert closed(HELD, content(consumer("other"))) is None


def test_a_suspended_consumer_is_suspended() -> None:
    present = content(consumer("app", KeyEntry("a", "aa"), KeyEntry("b", "bb"), suspended=True))
    found = closed(HELD, present)
    assert found is not None
    assert found.suspended


def test_keys_follow_the_present_key_of_that_name_and_none_is_added() -> None:
    present = content(consumer("app", KeyEntry("b", "b2", previous="bb", revoked=True), KeyEntry("c", "cc")))
    found = closed(HELD, present)
    assert found is not None
    assert found.keys == (KeyEntry("b", "b2", previous="bb", revoked=True),)


def test_a_key_that_was_revoked_when_it_was_held_stays_so() -> None:
    held = content(consumer("app", KeyEntry("a", "aa", revoked=True)))
    found = closed(held, content(consumer("app", KeyEntry("a", "a2"))))
    assert found is not None
    assert found.keys[0].revoked


def test_a_subscription_that_is_gone_is_taken_out_and_none_is_added() -> None:
    plans = (PlanEntry("gold"),)
    route = RouteEntry(Source("team", "chat", 1), ("m",), (), (), plans=plans)
    one, two, three = (SubscriberEntry(f"team/{n}", "team/app", "gold") for n in ("one", "two", "three"))
    held = content(replace(route, subscribers=(one, two)))
    after = Closer().close(held, content(replace(route, subscribers=(replace(two, not_after=5), three))).served)
    (found,) = after.served.entries.values()
    assert isinstance(found, RouteEntry)
    assert found.subscribers == (replace(two, not_after=5),)


@settings(max_examples=15, deadline=None)
@given(worlds(), worlds())
def test_no_credential_is_let_in_that_the_present_refuses(held_world: World, present_world: World) -> None:
    held = compiled_content(compile_world(held_world, FACTS))
    present = compile_world(present_world, FACTS)
    after = Closer().close(held, present.served)
    assert after.served.entries.keys() <= held.served.entries.keys()
    now = dict(_credentials(present.served))
    for key, proofs in _credentials(after.served):
        assert proofs <= now[key]
    assert agree(Closer().close(after, present.served).served, after.served), "closing twice closes more"
    assert Closer().close(held, held.served) is held


def _credentials(served: Served) -> Iterable[tuple[ObjectKey, frozenset[object]]]:
    for key, entry in served.entries.items():
        if isinstance(entry, ConsumerEntry) and not entry.suspended:
            hashes = [each.sha256 for each in entry.keys if each.sha256 and not each.revoked]
            matches = [repr(each) for each in (*entry.tokens, *entry.certificates)]
            yield key, frozenset([*hashes, *matches])
        elif isinstance(entry, ConsumerEntry):
            yield key, frozenset()
