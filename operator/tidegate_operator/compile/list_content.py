"""What a ConfigMap or Secret says as a list: one entry a line, comments after `#` or `;`.

Threat feeds are other people's files: a bad line never holds back the good ones. Pure; never raises, and no message
repeats what a line holds.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tidegate_dataplane.snapshot.entries import ListKind
from tidegate_dataplane.snapshot.records import (
    ADDRESS_BYTES,
    DIGEST_BYTES,
    digest_record,
    join_digests,
    join_networks,
    network_record,
)

MAX_TEXT_BYTES: Final = 96 * 1024 * 1024
"""Of all values together, unpacked: a million lines of SHA-256 with room for comments."""
SHOWN_LINES: Final = 3
RECORD_BYTES: Final = {ListKind.ADDRESSES: ADDRESS_BYTES, ListKind.KEY_HASHES: DIGEST_BYTES}

_GZIP: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_READ: Final[Mapping[ListKind, Callable[[str], bytes | None]]] = {
    ListKind.ADDRESSES: network_record,
    ListKind.KEY_HASHES: digest_record,
}
Values = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class ListContent:
    """A list as far as it can be read. `records` are canonical (snapshot/records.py).

    `lines` hold something, `unreadable` of them no entry; `shown` names the first of these. `broken` says what is
    wrong with a whole value.
    """

    kind: ListKind
    records: bytes = field(repr=False)
    lines: int
    unreadable: int = 0
    shown: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    @property
    def faulty(self) -> bool:
        """Something of it cannot be read."""
        return bool(self.broken or self.unreadable)

    @property
    def hopeless(self) -> bool:
        """Most of it cannot be read: an error page in place of a feed, say."""
        return bool(self.broken) or self.unreadable * 2 > self.lines


def read_list(values: Values, kind: ListKind) -> ListContent:
    """Read all values of a ConfigMap or Secret, in the order of their names; gzip is unpacked."""
    read = _READ[kind]
    found: set[bytes] = set()
    lines = unreadable = 0
    shown: list[str] = []
    broken: list[str] = []
    room = MAX_TEXT_BYTES
    for name in sorted(values):
        text = _unpacked(values[name], room)
        if text is None:
            broken.append(f"the value {name} is damaged gzip, or the list has more than {MAX_TEXT_BYTES >> 20} MiB")
            continue
        room -= len(text)
        for number, line in enumerate(text.decode("utf-8-sig", "replace").split("\n"), 1):
            entry = line.partition("#")[0].partition(";")[0].strip()
            if not entry:
                continue
            lines += 1
            record = read(entry)
            if record is not None:
                found.add(record)
                continue
            unreadable += 1
            if len(shown) < SHOWN_LINES:
                shown.append(f"{name} line {number}")
    records = join_networks(found) if kind is ListKind.ADDRESSES else join_digests(found)
    return ListContent(kind, records, lines, unreadable, tuple(shown), tuple(broken))


def _unpacked(value: bytes, room: int) -> bytes | None:
    if not value.startswith(_GZIP):
        return value if len(value) <= room else None
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    try:
        text = inflater.decompress(value, room + 1)
    except zlib.error:
        return None
    return text if inflater.eof and len(text) <= room else None
