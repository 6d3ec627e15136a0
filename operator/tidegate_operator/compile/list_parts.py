"""Cuts a list into parts that stay the same while other parts of the list change.

The sorted records are cut where their leading bits differ, in halves again and again until a part is small enough. So
where the cuts are follows from the records around them alone, and no choice of records makes a part too large.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from tidegate_dataplane.snapshot.entries import ListPart
from tidegate_dataplane.snapshot.list_key import ListKey
from tidegate_operator.compile.list_content import RECORD_BYTES

RECORDS_IN_PART: Final = 1024


def cut(key: ListKey, records: bytes) -> tuple[ListPart, ...]:
    """The parts of a list, in the order of their records; `records` are canonical."""
    size = RECORD_BYTES[key.kind]
    if not records:
        return ()
    return tuple(
        ListPart(key.namespace, key.name, key.secret, key.kind, name, data)
        for name, data in _cut(records, size, 0, len(records) // size, "")
    )


def joined(parts: tuple[ListPart, ...]) -> bytes:
    """The records that were cut."""
    return b"".join(sorted(part.data for part in parts))


def _cut(records: bytes, size: int, begin: int, end: int, name: str) -> Iterator[tuple[str, bytes]]:
    """Parts of the records from `begin` to `end`; `name` is made of the leading bits that they have in common."""
    if end - begin <= RECORDS_IN_PART:
        yield name, records[begin * size : end * size]
        return

    def record(at: int) -> int:
        return int.from_bytes(records[at * size : (at + 1) * size], "big")

    first, last = record(begin), record(end - 1)
    # The highest bit in which any two of them differ.
    bit = (first ^ last).bit_length() - 1
    middle = bisect_left(range(end), (last >> bit) << bit, begin, end, key=record)
    length = size * 8 - bit
    yield from _cut(records, size, begin, middle, f"{first >> bit:x}/{length}")
    yield from _cut(records, size, middle, end, f"{last >> bit:x}/{length}")
