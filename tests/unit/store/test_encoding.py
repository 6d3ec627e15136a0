from __future__ import annotations

import msgspec
import pytest

from tidegate_dataplane.store import encoding
from tidegate_dataplane.store.encoding import Command, Header
from tidegate_dataplane.store.protocol import Kind, Line

ONE, TWO = b"1" * 16, b"2" * 16


def line(key: bytes, slot: int, *, kind: Kind = Kind.SLIDING, used: int = 0, keep: int = 0, need: int = 0) -> Line:
    return Line(key, kind, 10, 60, 0, slot, 100, used, used, keep, need, need)


def test_each_counter_stands_once_and_decisions_point_to_it() -> None:
    batch = encoding.batch([[line(ONE, 5, need=1), line(TWO, 7, need=2)], [line(ONE, 5, need=3)]])
    assert batch.keys == [ONE, TWO]
    assert batch.counters == [[1, 10, 60, 0, 5, 0, 0, 0], [1, 10, 60, 0, 7, 0, 0, 0]]
    assert batch.body == [[1, 100, 1, 1, 2, 100, 2, 2], [1, 100, 3, 3]]


def test_figures_of_a_slot_are_those_of_its_first_line() -> None:
    batch = encoding.batch([[line(ONE, 5, used=1, keep=1)], [line(ONE, 4, used=2, keep=2)], [line(ONE, 5, used=3)]])
    assert batch.counters == [[1, 10, 60, 0, 5, 1, 1, 1, 4, 2, 2, 2]]


def test_of_a_bucket_all_lines_count() -> None:
    lines = [
        line(ONE, 5, kind=Kind.BUCKET, keep=1),
        line(ONE, 5, kind=Kind.BUCKET, used=2),
        line(ONE, 5, kind=Kind.BUCKET),
    ]
    assert encoding.batch([lines]).counters == [[2, 10, 60, 0, 5, 0, 0, 1, 5, 2, 0, 0]]


@pytest.mark.parametrize("whole", [False, True])
def test_the_command_is_what_redis_reads(whole: bool) -> None:
    command = Command("west", b"the script", b"d" * 40)
    header = Header("o" * 32, 7, 6, 5, True, 4)
    arguments = _arguments(command.script(header, encoding.batch([[line(ONE, 5, need=1)]]), whole=whole))
    assert arguments[:2] == ([b"EVAL", b"the script"] if whole else [b"EVALSHA", b"d" * 40])
    assert arguments[2] == b"4"
    names = [b"state", b"owners", b"alive", ONE]
    assert arguments[3:7] == [b"tidegate:{west}:" + name for name in names]
    (request,) = arguments[7:]
    assert msgspec.msgpack.decode(request)[:7] == [0, "o" * 32, 7, 6, 5, 1, 4]


def _arguments(command: bytes) -> list[bytes]:
    """A RESP array of bulk strings, read by its lengths."""
    head, rest = command.split(b"\r\n", 1)
    arguments = []
    for _ in range(int(head[1:])):
        length, rest = rest.split(b"\r\n", 1)
        assert length[:1] == b"$"
        size = int(length[1:])
        arguments.append(rest[:size])
        assert rest[size : size + 2] == b"\r\n"
        rest = rest[size + 2 :]
    assert rest == b""
    return arguments
