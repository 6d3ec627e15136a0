"""The audit log's file: rotated by others or by us, gone on with after a restart, and never shared."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataplane.audit_logs import checked, record, write_file
from tidegate_dataplane.audit.sink import FileSink
from tidegate_dataplane.audit.verify import verify
from tidegate_dataplane.audit.writer import AuditWriter


def events(path: Path) -> list[str]:
    """What each line is; a request by its id."""
    return [line.get("event") or line["requestId"] for line in map(json.loads, path.read_text().splitlines())]


def put(writer: AuditWriter, *numbers: int) -> None:
    for number in numbers:
        writer.tend()
        writer.write([record(number)])
    writer.tend()


def test_a_file_that_was_moved_away_is_ended_and_the_next_continues_it(tmp_path: Path) -> None:
    path, moved = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl-20261123"
    writer = AuditWriter(FileSink(path, check_seconds=0.0))
    put(writer, 1)
    path.rename(moved)
    put(writer, 2)
    writer.close()
    writer.release()
    assert events(moved) == ["Opened", "1", "Rotated"]
    assert events(path) == ["Opened", "2", "Stopped"]
    assert checked(path, moved) == []


def test_a_file_that_was_deleted_is_missed_by_verify(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = AuditWriter(FileSink(path, check_seconds=0.0))
    put(writer, 1)
    first = path.read_bytes()
    for number in (2, 3):
        path.unlink()
        put(writer, number)
    writer.release()
    (tmp_path / "first").write_bytes(first)
    assert any("file 2 of the log not given" in each for each in checked(path, tmp_path / "first"))


def test_we_rotate_by_size_and_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write_file(path, [record(number) for number in range(100)], max_bytes=3000)
    files = sorted(tmp_path.iterdir(), key=lambda each: int(each.suffix[1:] or 0) if each != path else 0)
    assert [each.name for each in files[:3]] == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
    assert len(files) > 5
    assert max(each.stat().st_size for each in files) < 4000
    found = [each for file in reversed(files) for each in events(file) if each.isdecimal()]
    assert found == [str(number) for number in range(100)]
    assert checked(*files) == []


def test_no_more_rotated_files_are_kept_than_wanted(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    writer = AuditWriter(FileSink(path, max_bytes=1000, max_files=3))
    put(writer, *range(50))
    writer.close()
    writer.release()
    names = [f"audit.jsonl.{number}" for number in range(1, 4)]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["audit.jsonl", *names]
    assert checked(*tmp_path.iterdir()) == []


def test_rotation_never_overwrites_a_file_and_takes_compressed_ones_along(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write_file(path, [record(1)])
    packed = tmp_path / "audit.jsonl.1.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    (tmp_path / "audit.jsonl.3").write_text("somebody else's\n")
    write_file(path, [record(number) for number in range(20)], max_bytes=3000)
    assert (tmp_path / "audit.jsonl.3").read_text() == "somebody else's\n"
    assert gzip.decompress((tmp_path / "audit.jsonl.2.gz").read_bytes()).startswith(b'{"v":1')
    assert checked(path, tmp_path / "audit.jsonl.1", tmp_path / "audit.jsonl.2.gz") == []


class Killed(BaseException):
    """Nothing runs after it, as after kill -9."""


@pytest.mark.parametrize("survived", range(12))
def test_a_kill_at_any_moment_of_a_rotation_loses_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    path = tmp_path / "audit.jsonl"
    write_file(path, [record(number) for number in range(12)], max_bytes=1000, orderly=False)
    before = len(list(tmp_path.iterdir()))
    calls = iter(range(100))

    def killing(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if next(calls) >= survived:
                raise Killed
            return original(*arguments)

        return call

    sink = FileSink(path, max_bytes=1000)
    writer = AuditWriter(sink)
    with monkeypatch.context() as patched:
        for owner, name in ((Path, "rename"), (os, "open"), (os, "write")):
            patched.setattr(owner, name, killing(getattr(owner, name)))
        with pytest.raises(Killed):
            put(writer, *range(12, 100))
    sink.close()
    write_file(path, [record(100)], max_bytes=1000)
    files = list(tmp_path.iterdir())
    assert checked(*files) == []
    found = {int(each) for file in files for each in events(file) if each.isdecimal()}
    assert found == {*range(12), *range(12, 12 + len(found) - 13), 100}
    assert len(files) >= before


def test_a_folder_that_cannot_be_written_to_costs_the_rotation_and_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    path = tmp_path / "audit.jsonl"
    write_file(path, [record(number) for number in range(20)], max_bytes=1000)
    assert events(path) == ["Opened", *map(str, range(20)), "Stopped"]
    assert caplog.text.count("cannot be rotated: Permission denied") == 1


def test_a_restarted_process_goes_on_with_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for number in range(3):
        write_file(path, [record(number)], orderly=number != 1)
    assert events(path) == ["Opened", "0", "Stopped", "Resumed", "1", "Resumed", "2", "Stopped"]
    assert checked(path) == []
    verdict = verify([path])
    assert [(each.line, each.message.partition(":")[0]) for each in verdict.notes] == [
        (6, "the process before did not end in order")
    ]
    (report,) = verdict.logs
    assert (report.records, report.last_file, report.closed) == (3, 1, True)


@pytest.mark.parametrize("packed", [False, True])
def test_a_process_that_starts_after_a_rotation_continues_the_file_before(tmp_path: Path, packed: bool) -> None:
    path, before = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    write_file(path, [record(number) for number in range(1000)])
    path.rename(before)
    if packed:
        data = before.read_bytes()
        before.unlink()
        before = tmp_path / "audit.jsonl.1.gz"
        before.write_bytes(gzip.compress(data))
    write_file(path, [record(1)])
    assert checked(before, path) == []
    assert [report.last_file for report in verify([before, path]).logs] == [2]


@pytest.mark.parametrize("cut", [1, 2, 70, 150])
def test_a_line_that_a_killed_process_did_not_finish_is_told_and_kept(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "audit.jsonl"
    write_file(path, [record(1), record(2)], orderly=False)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    write_file(path, [record(3)])
    assert path.read_bytes().startswith(whole[:-cut] + b"\n")
    verdict = verify([path])
    assert [each.message for each in verdict.problems] == []
    assert any("a killed process did not finish" in each.message for each in verdict.notes)
    torn = path.read_bytes()
    for at in range(len(whole) - cut - 100, len(whole) - cut + 1):
        changed = bytearray(torn)
        changed[at] ^= 1
        path.write_bytes(changed)
        assert checked(path), at


def test_a_torn_line_in_a_file_that_was_moved_away_is_told_by_the_next(tmp_path: Path) -> None:
    path, before = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    write_file(path, [record(1), record(2)], orderly=False)
    before.write_bytes(path.read_bytes()[:-10])
    path.unlink()
    write_file(path, [record(3)])
    assert checked(before, path) == []
    before.write_bytes(before.read_bytes()[:-1])
    assert checked(before, path)


def test_a_file_that_is_no_audit_log_is_kept_and_told(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text('{"time":"2026-01-01"}\nnot even JSON\n')
    write_file(path, [record(1)])
    assert path.read_text().startswith('{"time":"2026-01-01"}\nnot even JSON\n')
    assert len([each for each in checked(path) if "is no line of an audit log" in each]) == 2


def test_two_writers_cannot_have_one_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    first = FileSink(path)
    with pytest.raises(OSError, match="another process writes this audit file"):
        FileSink(path)
    first.close()
    FileSink(path).close()


def test_every_portion_is_on_the_disk_when_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.jsonl"
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(path.stat().st_size))
    writer = AuditWriter(FileSink(path, fsync=True))
    put(writer, 1, 2)
    writer.release()
    assert len(synced) == 4  # the folder, the first line, two records
    assert synced[-1] == path.stat().st_size
