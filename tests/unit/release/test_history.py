"""What is kept of old revisions, and within which bounds."""

from __future__ import annotations

from tidegate_operator.release.changes import Change
from tidegate_operator.release.history import (
    MAX_INDEX_BYTES,
    History,
    KeptShard,
    Record,
    decode_history,
    encode_history,
    with_record,
    without,
)


def record(number: int, *shards: KeptShard, hold: str = "", words: int = 0) -> Record:
    changed = tuple(Change("AIRoute", "n" * 60, f"{'r' * 200}{each}", 1, 2) for each in range(words))
    return Record(number, 0, f"digest-{number}", shards, hold=hold, changed=changed)


def kept(history: History) -> list[int]:
    return [each.revision for each in history.revisions]


def test_the_last_twenty_are_kept_the_newest_first() -> None:
    history = History()
    for number in range(1, 31):
        history = with_record(history, record(number))
    assert kept(history) == list(range(30, 10, -1))


def test_what_is_pinned_is_kept_though_it_is_older() -> None:
    history = History()
    for number in range(1, 31):
        history = with_record(history, record(number), keep=5, pinned=2)
    assert kept(history) == [30, 29, 28, 27, 2]


def test_bytes_are_bounded_and_what_is_shared_counts_once() -> None:
    shared, history = KeptShard("00", "shared", 900), History()
    for number in range(1, 6):
        history = with_record(history, record(number, shared, KeptShard("01", f"own-{number}", 100)), most=1_250)
    assert kept(history) == [5, 4, 3]
    assert history.size == 1_200
    assert history.digests == {"shared", "own-5", "own-4", "own-3"}


def test_the_newest_stays_however_large_it_is() -> None:
    history = with_record(History(), record(1, KeptShard("00", "a", 10)), most=100)
    assert kept(with_record(history, record(2, KeptShard("00", "b", 1_000)), most=100)) == [2]


def test_the_list_itself_fits_a_config_map() -> None:
    history = History()
    for number in range(1, 60):
        history = with_record(history, record(number, words=300), keep=50)
    assert len(encode_history(history)) <= MAX_INDEX_BYTES
    assert kept(history)[0] == 59


def test_it_reads_back_and_nothing_else_does() -> None:
    history = with_record(History(fulfilled="x"), record(1, KeptShard("00", "a", 10), hold="w", words=2))
    assert decode_history(encode_history(history)) == history
    assert history.of_hold("w") == history.find(1)
    assert history.of_hold("") is None
    assert decode_history(b"{") is None
    assert decode_history(b'{"schema": 2}') is None


def test_revisions_whose_shards_are_gone_are_left_out() -> None:
    history = History()
    for number in (1, 2):
        history = with_record(history, record(number, KeptShard("00", "both", 1), KeptShard("01", f"own-{number}", 1)))
    assert kept(without(history, ["own-1"])) == [2]
    assert kept(without(history, ["both"])) == []
