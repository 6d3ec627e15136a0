"""`status.keys`: what it tells, and how seldom it is written."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tidegate_dataplane.apikey import digest_of
from tidegate_dataplane.snapshot.entries import ConsumerEntry, KeyEntry, Source
from tidegate_operator.compile.timestamps import format_timestamp
from tidegate_operator.conditions import NO_STATUS, ObjectStatus, parse_status, status_body
from tidegate_operator.keys.states import GRAIN_SECONDS, KeyStatus, key_statuses
from tidegate_operator.keys.uses import KeyUses
from tidegate_operator.world import Kind, ObjectKey

NOW = 1_782_907_200
SEARCH = ObjectKey(Kind.CONSUMER, "team-a", "search")


def entry(*keys: KeyEntry, **fields: Any) -> ConsumerEntry:
    return ConsumerEntry(Source("team-a", "search", 1), keys=keys, **fields)


def key(name: str = "k", **fields: Any) -> KeyEntry:
    return KeyEntry(name, digest_of(name), **fields)


def states(one: ConsumerEntry) -> list[tuple[str, str, str]]:
    return [(status.name, status.state, status.not_after) for status in key_statuses(one, {}, (), NOW)]


def test_each_key_that_can_be_presented_has_a_row() -> None:
    rotated = key("new", previous=digest_of("old"), previous_until=NOW + 60, not_after=NOW + 90, not_before=NOW - 90)
    assert states(entry(key(), KeyEntry("unresolved"), rotated, key("gone", not_after=NOW))) == [
        ("k", "Active", ""),
        ("new", "Active", format_timestamp(NOW + 90)),
        ("new (previous)", "Previous", format_timestamp(NOW + 60)),
        ("gone", "Expired", format_timestamp(NOW)),
    ]
    assert states(entry(key(revoked=True), key("later", not_before=NOW + 1), suspended=True)) == [
        ("k", "Revoked", ""),
        ("later", "Suspended", ""),
    ]


def test_the_first_use_is_told_and_then_only_a_good_deal_newer_ones() -> None:
    def told(used: int | None, previous: str = "") -> str:
        former = (KeyStatus("k", "Active", previous),)
        return key_statuses(entry(key()), {} if used is None else {"k": used}, former, NOW)[0].last_used

    assert told(None) == ""
    assert told(NOW) == format_timestamp(NOW)
    assert told(NOW + GRAIN_SECONDS - 1, format_timestamp(NOW)) == format_timestamp(NOW)
    assert told(NOW + GRAIN_SECONDS, format_timestamp(NOW)) == format_timestamp(NOW + GRAIN_SECONDS)
    assert told(NOW - 9_999, format_timestamp(NOW)) == format_timestamp(NOW)
    assert told(None, format_timestamp(NOW)) == format_timestamp(NOW)
    assert told(NOW, "scribbled over") == format_timestamp(NOW)


def test_a_status_with_keys_is_read_back_as_it_was_written() -> None:
    keys = (KeyStatus("a", "Active", format_timestamp(NOW), format_timestamp(NOW + 9)), KeyStatus("b", "Revoked"))
    status = ObjectStatus(1, 1, (), "", keys)
    body = status_body(status)
    assert body["lastUsedTime"] == format_timestamp(NOW)
    assert parse_status(body) == status
    assert "keys" not in status_body(NO_STATUS)
    assert parse_status({"keys": ["scribbled", {"name": None}]}).keys == (KeyStatus("", ""),)


class Told:
    """A collector, and what it has told of the one consumer that is watched."""

    def __init__(self) -> None:
        self.times: list[dict[str, int]] = []
        self.uses = KeyUses(urls=list, watched=lambda one: one == SEARCH, on_use=self._told)

    def _told(self, one: ObjectKey) -> None:
        self.times.append(dict(self.uses.of(one)))


def test_uses_of_several_data_planes_are_merged_by_the_newest() -> None:
    told = Told()
    for used in (NOW, NOW - 50, NOW + 50, NOW):
        told.uses.see("team-a/search", "k", used)
    told.uses.tell(10)
    assert told.times == [{"k": NOW + 50}]


def test_nobody_is_told_of_a_consumer_that_is_not_watched() -> None:
    told = Told()
    told.uses.see("team-a/another", "k", NOW)
    told.uses.tell(10)
    assert told.times == []


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2_000)), max_size=60))
def test_statuses_never_go_back_and_are_told_at_most_once_a_grain_for_each_key(uses: list[tuple[str, int]]) -> None:
    told = Told()
    newest: dict[str, int] = {}
    for name, second in uses:
        told.uses.see("team-a/search", name, NOW + second)
        newest[name] = max(newest.get(name, 0), NOW + second)
        told.uses.tell(10)
    assert len(told.times) <= 2 * (1 + 2_000 // GRAIN_SECONDS)
    for earlier, later in zip(told.times, told.times[1:], strict=False):
        assert all(later[name] >= second for name, second in earlier.items())
    last = told.times[-1] if told.times else {}
    assert all(second - last[name] < GRAIN_SECONDS for name, second in newest.items())


def test_no_more_than_so_many_are_told_at_once() -> None:
    seen: list[ObjectKey] = []
    uses = KeyUses(urls=list, watched=lambda _: True, on_use=seen.append)
    for number in range(25):
        uses.see(f"team-a/app-{number}", "k", NOW)
    for expected in (10, 20, 25, 25):
        uses.tell(10)
        assert len(seen) == expected
    assert len(set(seen)) == 25
