"""How a file of the audit log ends: what whoever goes on writing must know, after a restart too."""

import gzip
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import msgspec

from tidegate_dataplane.audit.chain import GENESIS, take_apart
from tidegate_dataplane.audit.record import Beginning, Note, Torn

# A line is far shorter; what is longer is no line of ours.
MAX_LINE = 1024 * 1024
_BLOCK = 64 * 1024

_decode_beginning = msgspec.json.Decoder(Beginning).decode
_decode_note = msgspec.json.Decoder(Note).decode


class Ending(NamedTuple):
    """`log` is empty when there is nothing to go on from; `fresh` means that the file to write has no line yet.

    `torn` is what stands after the last line break: a line that a killed process did not finish.
    """

    log: str = ""
    file: int = 0
    chain: bytes = GENESIS
    torn: Torn | None = None
    fresh: bool = True


def read_ending(path: Path, *, look_back: bool) -> Ending:
    """Of the file itself. When it is empty and we are to `look_back`: of the newest one that was rotated away. Raises
    OSError."""
    with path.open("rb") as file:
        if file.read(1):
            return _ending_of(file)
    before = _newest_rotated(path) if look_back else None
    if before is None:
        return Ending()
    with open_file(before) as file:
        return _ending_of(file)._replace(fresh=True)


def open_file(path: Path) -> BinaryIO:
    """For reading; a name that ends in .gz is decompressed on the way. Raises OSError."""
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def read_beginning(line: bytes) -> Beginning | None:
    """The first line of a file, or the first of a process in it; None when it is another."""
    try:
        return _decode_beginning(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def read_note(line: bytes) -> Note | None:
    """Any other line about the log itself; None when it is none."""
    try:
        return _decode_note(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def torn_of(data: bytes) -> Torn:
    """What a torn line looks like to the line after it."""
    return Torn(len(data), sha256(data).hexdigest())


def _ending_of(file: BinaryIO) -> Ending:
    """Reads only both ends of a plain file; a compressed one cannot be read backwards."""
    file.seek(0)
    first = read_beginning(file.readline(MAX_LINE))
    last, torn = _last_gzip(file) if isinstance(file, gzip.GzipFile) else _last(file)
    line = take_apart(last)
    return Ending(
        log="" if first is None else first.log,
        file=0 if first is None else first.file,
        chain=GENESIS if line is None else line.chain,
        torn=torn_of(torn) if torn else None,
        fresh=False,
    )


def _last(file: BinaryIO) -> tuple[bytes, bytes]:
    """The last whole line, and what stands after it."""
    at = file.seek(0, 2)
    tail = b""
    while at > 0 and tail.count(b"\n") < 2:
        size = min(at, _BLOCK)
        at = file.seek(at - size)
        tail = file.read(size) + tail
    return _split(tail)


def _last_gzip(file: BinaryIO) -> tuple[bytes, bytes]:
    file.seek(0)
    tail = b""
    for block in _blocks(file):
        tail += block
        if tail.count(b"\n") > 2:
            tail = tail[tail.rindex(b"\n", 0, tail.rindex(b"\n")) :]
    return _split(tail)


def _split(tail: bytes) -> tuple[bytes, bytes]:
    whole, newline, torn = tail.rpartition(b"\n")
    return whole[whole.rfind(b"\n") + 1 :] + newline, torn


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block


def _newest_rotated(path: Path) -> Path | None:
    """By modification: `audit.jsonl.1`, `audit.jsonl-20261123`, compressed or not, as logrotate and we name them."""
    rotated = re.compile(re.escape(path.name) + r"[.-]\d[\d.-]*(\.gz)?").fullmatch
    found = [each for each in path.parent.iterdir() if rotated(each.name) and each.stat().st_size]
    return max(found, key=lambda each: (each.stat().st_mtime_ns, each.name), default=None)
