"""The journal: rows found again, over growth, gaps and restarts; and files that cannot be used."""

import asyncio
import errno
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.waiting import until
from tidegate_dataplane.ledger import journal as journals
from tidegate_dataplane.ledger.journal import GRANTED, HELD, HIGH, LOW, SLOT, USED, Journal, JournalError
from tidegate_dataplane.store.protocol import Position

keys = st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 3), st.integers(0, 5))


@given(st.lists(st.tuples(st.sampled_from(("add", "drop", "write")), keys), max_size=200))
def test_rows_are_found_as_in_a_dictionary(drawn: list[Any]) -> None:
    journal, model = Journal(), dict[tuple[int, int, int], int]()
    for number, (what, key) in enumerate(drawn):
        at = journal.find(*key)
        assert bool(at) == (key in model)
        if what == "add" and not at:
            journal.add(key[0], key[1], key[2], 0, 0, 0)
            model[key] = 0
        elif what == "drop" and at:
            journal.drop(at)
            del model[key]
        elif what == "write" and at:
            journal.cells[at + USED] = model[key] = number
    found = {(journal.cells[at + LOW], journal.cells[at + HIGH], journal.cells[at + SLOT]): at for at in journal.rows()}
    assert found.keys() == model.keys()
    assert {key: journal.cells[at + USED] for key, at in found.items()} == model
    assert journal.live == len(model)
    journal.close()


def test_it_grows_and_every_row_stays_where_it_is(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    places = {number: journal.add(number, -number, 7, 0, 0, 0) for number in range(10_000)}
    for number, at in places.items():
        journal.cells[at + USED] = number
    assert all(journal.find(number, -number, 7) == at for number, at in places.items())
    journal.close()
    again = Journal(tmp_path / "journal")
    assert again.live == 10_000
    assert all(again.cells[again.find(number, -number, 7) + USED] == number for number in places)
    again.close()


def test_what_a_killed_process_held_is_held_no_more_and_what_it_used_stays(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    at = journal.add(1, 2, 3, 0, 0, 0)
    journal.cells[at + USED], journal.cells[at + HELD], journal.cells[at + GRANTED] = 70, 20, 100
    journal.note(Position(journal.position.owner, 41, 40, 9))
    journal.owners = 6
    # As after kill -9: the file as it is, without anything being closed.
    shutil.copy(tmp_path / "journal", tmp_path / "left")
    left = Journal(tmp_path / "left")
    at = left.find(1, 2, 3)
    assert (left.cells[at + USED], left.cells[at + HELD], left.cells[at + GRANTED]) == (70, 0, 70)
    assert left.position.owner == journal.position.owner
    assert (left.position.acknowledged, left.position.epoch) == (40, 9)
    assert left.owners == 6
    assert left.position.sequence > 41, "a batch may have been sent that was not noted any more"
    left.close()
    journal.close()


def test_two_processes_cannot_share_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    with pytest.raises(JournalError, match="in use by another process"):
        Journal(tmp_path / "journal")
    journal.close()
    Journal(tmp_path / "journal").close()


@pytest.mark.parametrize("content", [b"x", b"not a journal at all" * 100, bytes(4096)])
def test_another_file_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(content)
    with pytest.raises(JournalError, match="is no usage journal"):
        Journal(path)
    assert path.read_bytes() == content


def test_a_file_that_lost_its_end_is_told(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path)
    for number in range(5_000):
        journal.add(number, 0, 0, 0, 0, 0)
    journal.close()
    with path.open("r+b") as file:
        file.truncate(8192)
    with pytest.raises(JournalError, match="has lost its end"):
        Journal(path)


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file grows beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_on_a_full_disk_it_goes_on_in_memory_and_leaves_no_old_figures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path / "journal")
    owner = journal.position.owner
    first = journal.add(1, 1, 0, 0, 0, 0)
    journal.cells[first + USED] = 7
    with disk_of(150_000):
        places = {number: journal.add(number, -number, 7, 0, 0, 0) for number in range(2, 10_000)}
    for number, at in places.items():
        journal.cells[at + USED] = number
    assert (journal.find(1, 1, 0), journal.cells[first + USED]) == (first, 7)
    assert all(journal.cells[journal.find(number, -number, 7) + USED] == number for number in places)
    assert journal.position.owner == owner
    assert len([record for record in caplog.records if "cannot grow" in record.message]) == 1
    with pytest.raises(JournalError, match="in use by another process"):
        Journal(tmp_path / "journal")
    journal.close()
    # Figures of before the disk was full would take back what was used since.
    again = Journal(tmp_path / "journal")
    assert again.live == 0
    assert again.position.owner != owner
    again.close()


def test_a_file_without_room_is_refused_at_once(tmp_path: Path) -> None:
    with disk_of(10_000), pytest.raises(OSError, match="too large"):
        Journal(tmp_path / "journal")


def test_its_blocks_are_there_before_they_are_written_to(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    for number in range(5_000):
        journal.add(number, 0, 0, 0, 0, 0)
        status = (tmp_path / "journal").stat()
        assert status.st_blocks * 512 >= status.st_size
    journal.close()


def test_a_process_killed_while_it_made_the_file_leaves_one_that_can_be_used(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    left = tmp_path / "left"
    left.write_bytes((tmp_path / "journal").read_bytes()[:512])
    Journal(left).close()
    journal.close()


async def test_what_was_noted_reaches_the_disk_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "SYNC_SECONDS", 0.02)
    written: list[int] = []
    before = os.fdatasync

    def fdatasync(file: int) -> None:
        before(file)
        written.append(os.fstat(file).st_ino)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    journal = Journal(tmp_path / "journal")
    keeping = asyncio.create_task(journal.keep_on_disk())
    await until(lambda: len(written) >= 3)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert set(written) == {(tmp_path / "journal").stat().st_ino}
    journal.close()


async def test_a_disk_that_fails_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fdatasync(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(journals, "SYNC_SECONDS", 0.01)
    monkeypatch.setattr(os, "fdatasync", fdatasync)
    journal = Journal(tmp_path / "journal")
    await journal.keep_on_disk()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    journal.close()
