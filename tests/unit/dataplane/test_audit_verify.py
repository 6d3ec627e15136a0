"""What `verify` finds: everything that was done to a log after it was written."""

import gzip
from pathlib import Path

import pytest

from dataplane.audit_logs import AUDIT_KEY, checked, expected, record, write_file
from tidegate_dataplane.audit.chain import Chain, keyed_digest, plain_digest, take_apart
from tidegate_dataplane.audit.verdict import Expected, KeyNeeded
from tidegate_dataplane.audit.verify import verify
from tidegate_dataplane.audit.writer import Head


@pytest.fixture(params=[None, AUDIT_KEY], ids=["plain", "keyed"])
def key(request: pytest.FixtureRequest) -> bytes | None:
    found: bytes | None = request.param
    return found


def written(path: Path, count: int = 4, key: bytes | None = None) -> Head:
    return write_file(path, [record(number, path=f"/v1/{number}") for number in range(count)], key=key)


def rotated(folder: Path) -> tuple[Path, Path, Path]:
    """Three files of one log, the oldest first."""
    path = folder / "audit.jsonl"
    for step in range(2):
        written(path)
        path.rename(folder / f"audit.jsonl.{2 - step}")
    written(path)
    return folder / "audit.jsonl.2", folder / "audit.jsonl.1", path


def test_what_was_left_alone_is_whole(tmp_path: Path, key: bytes | None) -> None:
    path = tmp_path / "audit.jsonl"
    head = written(path, key=key)
    verdict = verify([path], keys=[key] if key else [], expected=[expected(head)])
    (report,) = verdict.logs
    assert verdict.valid
    assert (report.lines, report.records, report.seq, report.chain) == (6, 4, 6, head.chain)
    assert (report.closed, report.keyed, report.first_file) == (True, key is not None, 1)


def test_every_flipped_bit_is_found(tmp_path: Path, key: bytes | None) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 2, key)
    whole = path.read_bytes()
    unnoticed = []
    for at in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[at] ^= 1 << bit
            path.write_bytes(changed)
            if verify([path], keys=[key] if key else []).valid:
                unnoticed.append((at, bit))
    assert unnoticed == []


def test_every_removed_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 2)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + whole[at + 1 :])
        assert checked(path), at


def test_every_removed_line_is_found(tmp_path: Path, key: bytes | None) -> None:
    path = tmp_path / "audit.jsonl"
    head = written(path, key=key)
    whole = path.read_bytes().splitlines(keepends=True)
    for first in range(len(whole)):
        for last in range(first + 1, len(whole) + 1):
            path.write_bytes(b"".join(whole[:first] + whole[last:]))
            assert checked(path, key=key, head=head), (first, last)


def test_a_line_in_the_middle_is_missed_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path)
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:2] + whole[4:]))
    assert checked(path) == ["audit.jsonl:3: has seq 5 after 2: 2 lines are missing before it, or it was changed"]


def test_a_changed_line_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path)
    path.write_bytes(path.read_bytes().replace(b'"path":"/v1/2"', b'"path":"/v1/3"'))
    assert checked(path) == ["audit.jsonl:4: was changed, or the chain value of the line before it was"]


def test_a_line_that_stands_twice_is_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path)
    whole = path.read_bytes().splitlines(keepends=True)
    for at in range(len(whole)):
        path.write_bytes(b"".join([*whole[: at + 1], *whole[at:]]))
        assert any(f"audit.jsonl:{at + 2}:" in each for each in checked(path)), at


def test_lines_that_changed_places_are_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path)
    whole = path.read_bytes().splitlines(keepends=True)
    for first in range(len(whole)):
        for second in range(first):
            moved = list(whole)
            moved[first], moved[second] = moved[second], moved[first]
            path.write_bytes(b"".join(moved))
            assert checked(path), (first, second)


def test_an_added_line_is_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path)
    whole = path.read_bytes().splitlines(keepends=True)
    for line in (b"\n", b"{}\n", whole[2], Chain(plain_digest).seal(b'{"requestId":"forged"}\n')):
        path.write_bytes(b"".join([*whole[:3], line, *whole[3:]]))
        assert any("audit.jsonl:4:" in each for each in checked(path)), line


def test_files_of_one_log_are_put_in_order(tmp_path: Path) -> None:
    files = rotated(tmp_path)
    assert checked(*reversed(files)) == []
    (report,) = verify(sorted(files)).logs
    assert (report.first_file, report.last_file, report.records) == (1, 3, 12)


def test_a_missing_file_between_two_is_found(tmp_path: Path) -> None:
    first, _, last = rotated(tmp_path)
    assert checked(first, last) == [f"audit.jsonl:1: does not continue {first}: file 2 of the log not given"]


def test_lines_cut_off_before_the_next_file_are_found(tmp_path: Path) -> None:
    first, second, last = rotated(tmp_path)
    second.write_bytes(b"".join(second.read_bytes().splitlines(keepends=True)[:-2]))
    (problem,) = checked(first, second, last)
    assert problem == f"audit.jsonl:1: does not continue the end of {second}: lines were removed or changed there"


def test_earlier_files_that_are_not_given_are_a_note(tmp_path: Path) -> None:
    _, second, last = rotated(tmp_path)
    verdict = verify([second, last])
    assert verdict.valid
    assert [each.message for each in verdict.notes] == ["this is file 2 of the log, and those before it are not given"]


def test_lines_before_a_restart_cannot_be_removed_unnoticed(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path)
    written(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[6:]))
    assert checked(path) == ["audit.jsonl:1: says Resumed, but is the first of its file: lines before it were removed"]


def test_a_copy_of_a_file_is_found(tmp_path: Path) -> None:
    path, copy = tmp_path / "audit.jsonl", tmp_path / "copy.jsonl"
    written(path)
    copy.write_bytes(path.read_bytes())
    assert "one of them is a copy" in checked(path, copy)[0]


def test_an_emptied_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.touch()
    (problem,) = checked(path)
    assert "is empty" in problem
    assert verify([path]).logs == []


def test_an_empty_file_beside_a_log_is_no_log(tmp_path: Path) -> None:
    empty, path = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    empty.touch()
    written(path)
    (report,) = verify([empty, path]).logs
    assert report.files == (str(path),)


def test_logs_of_several_data_planes_are_told_apart(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.jsonl" for number in range(3)]
    for path in paths:
        written(path)
    verdict = verify(paths)
    assert verdict.valid
    assert len({report.log for report in verdict.logs}) == 3


def test_compressed_files_are_read_and_damage_is_found(tmp_path: Path) -> None:
    first, second, last = rotated(tmp_path)
    packed = second.with_name("audit.jsonl.1.gz")
    data = gzip.compress(second.read_bytes())
    packed.write_bytes(data)
    second.unlink()
    assert checked(first, packed, last) == []
    packed.write_bytes(gzip.compress(gzip.decompress(data).replace(b"/v1/2", b"/v1/9")))
    assert checked(first, packed, last) == [
        "audit.jsonl.1.gz:4: was changed, or the chain value of the line before it was"
    ]
    for damaged in (data[:-20], data[: len(data) // 2] + b"xxxx" + data[len(data) // 2 + 4 :]):
        packed.write_bytes(damaged)
        assert any("audit.jsonl.1.gz:0: cannot be decompressed" in each for each in checked(first, packed, last))


def test_a_torn_end_is_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path)
    whole = path.read_bytes()
    for cut in (1, 5, 100):
        path.write_bytes(whole[:-cut])
        assert any("audit.jsonl:6: is torn" in each for each in checked(path)), cut


def test_a_line_without_end_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path)
    with path.open("ab") as file:
        file.truncate(64 * 1024 * 1024)
    assert checked(path)


def test_an_expected_line_tells_of_a_cut_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    head = written(path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    verdict = verify([path])
    assert verdict.valid
    assert not verdict.logs[0].closed
    assert f"the line {head.seq}:{head.chain} is not there" in checked(path, head=head)[0]
    other = Expected(head.seq + 1, bytes.fromhex(head.chain))
    written(path)
    assert len(verify([path], expected=[other]).problems) == 1


def test_without_its_key_a_keyed_log_is_not_judged(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, key=AUDIT_KEY)
    with pytest.raises(KeyNeeded, match="--key-file"):
        verify([path])
    assert "is sealed by the key" in checked(path, key=b"another key of the audit log, 32 bytes")[0]


def test_who_can_write_but_has_no_key_cannot_forge(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, key=AUDIT_KEY)
    original = path.read_bytes().splitlines(keepends=True)

    def resealed(chain: Chain, *, without_key: bool) -> bytes:
        lines = []
        for line in original:
            sealed = take_apart(line)
            assert sealed is not None
            body = sealed.body.partition(b",")[2].partition(b",")[2].replace(b"/v1/2", b"/v1/9")
            if without_key:
                body = body.replace(b"HMAC-SHA-256", b"SHA-256")
            lines.append(chain.seal(b"{" + body + b"}\n"))
        return b"".join(lines)

    path.write_bytes(resealed(Chain(plain_digest), without_key=True))
    assert any("no key seals" in each for each in checked(path, key=AUDIT_KEY))
    path.write_bytes(resealed(Chain(keyed_digest(b"guess" * 8)), without_key=False))
    assert len(checked(path, key=AUDIT_KEY)) == len(original)
    path.write_bytes(resealed(Chain(keyed_digest(AUDIT_KEY)), without_key=False))
    assert checked(path, key=AUDIT_KEY) == []  # the test forges well: only the key is missing above


def test_a_key_may_change_at_a_restart(tmp_path: Path) -> None:
    path, newer = tmp_path / "audit.jsonl", b"a newer key of the audit log, 32 bytes"
    written(path, key=AUDIT_KEY)
    written(path, key=newer)
    assert verify([path], keys=[newer, AUDIT_KEY]).valid
    assert not verify([path], keys=[newer]).valid


def test_of_a_thousand_problems_a_hundred_are_told(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written(path, 1000)
    path.write_bytes(path.read_bytes().replace(b'"status":200', b'"status":201'))
    verdict = verify([path])
    assert (len(verdict.problems), verdict.found) == (100, 1000)
