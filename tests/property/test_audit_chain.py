"""Whatever is done to a log of whatever files and restarts, it is found."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.audit_logs import AUDIT_KEY, checked, record, write_file
from tidegate_dataplane.audit.writer import Head


def log_of(
    folder: Path, processes: list[tuple[int, bool]], *, max_bytes: int, key: bytes | None
) -> tuple[list[Path], Head]:
    """Files of a log that so many processes wrote, each with a number of records and an end that is in order or not."""
    path = folder / "audit.jsonl"
    for count, orderly in processes:
        records = [record(number, path=f"/é/{number}") for number in range(count)]
        head = write_file(path, records, key=key, max_bytes=max_bytes, orderly=orderly)
    return sorted(folder.iterdir()), head


@settings(max_examples=300)
@given(
    processes=st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=4),
    max_bytes=st.sampled_from([0, 1, 1000, 3000]),
    key=st.sampled_from([None, AUDIT_KEY]),
    data=st.data(),
)
def test_any_change_of_a_byte_or_a_line_is_found(
    processes: list[tuple[int, bool]], max_bytes: int, key: bytes | None, data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        files, head = log_of(Path(folder), processes, max_bytes=max_bytes, key=key)
        assert checked(*files, key=key, head=head) == []
        chosen = data.draw(st.sampled_from(files), "file")
        whole = chosen.read_bytes()
        lines = whole.splitlines(keepends=True)
        at = data.draw(st.integers(0, len(whole) - 1), "byte")
        line = data.draw(st.integers(0, len(lines) - 1), "line")
        other = data.draw(st.integers(0, len(lines) - 1), "other line")
        byte = bytes([data.draw(st.integers(0, 255).filter(lambda value: value != whole[at]), "value")])
        moved = [each for number, each in enumerate(lines) if number != line]
        moved.insert(other, lines[line])
        changes = {
            "byte changed": whole[:at] + byte + whole[at + 1 :],
            "byte removed": whole[:at] + whole[at + 1 :],
            "byte added": whole[:at] + byte + whole[at:],
            "line removed": b"".join(lines[:line] + lines[line + 1 :]),
            "line doubled": b"".join(lines[: line + 1] + lines[line:]),
            "line moved": b"".join(moved),
            "end cut off": whole[:at],
            "beginning cut off": whole[at + 1 :],
        }
        for name, changed in changes.items():
            if changed != whole:
                chosen.write_bytes(changed)
                assert checked(*files, key=key, head=head), name
        chosen.unlink()
        left = [each for each in files if each != chosen]
        # Files at the beginning may have been deleted by rotation: only those after them are missed.
        oldest = not left or all(b'"file":1,' not in each.read_bytes().partition(b"\n")[0] for each in left)
        assert oldest or checked(*left, key=key, head=head)
