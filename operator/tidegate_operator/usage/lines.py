"""Reads files of audit logs line by line, in constant memory. What is no line of a log is told, never taken for one."""

import gzip
import sys
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, Generic, NamedTuple, TypeVar, cast

import msgspec
from msgspec import Struct

STDIN: Final = Path("-")
VERSION: Final = 1
MAX_LINE: Final = 1024 * 1024
"""Bytes. A line is far shorter; what is longer is no line of ours."""
_STEP: Final = 4096

Progress = Callable[[Path, int], None]


class UsedTokens(Struct, gc=False):
    """The member `tokens`, as far as it is added up."""

    input: int = 0
    output: int = 0
    cached: int = 0
    source: str = ""


class UsedTarget(Struct, gc=False):
    """The member `target`."""

    backend: str = ""
    model: str = ""


class Line(Struct, rename="camel", gc=False):
    """A line of a log, as far as it is added up; with an `event` it tells of the log itself."""

    v: int
    time: str
    event: str = ""
    records: int = 0
    outcome: str = ""
    gateway: str = ""
    consumer: str = ""
    team: str = ""
    tier: str = ""
    key: str = ""
    route: str = ""
    operation: str = ""
    model: str = ""
    target: UsedTarget | None = None
    tokens: UsedTokens | None = None
    cost: int | None = None
    overage: int = 0


class Fault(NamedTuple):
    """A line that was not counted: where it stands, and what is wrong with it."""

    file: str
    line: int
    message: str


TORN: Final = "is not complete"
"""What is wrong with the last line of a process that was killed."""

_L = TypeVar("_L", bound=Line)


def read_lines(
    paths: Sequence[Path],
    take: Callable[[_L], None],
    faults: Callable[[Fault], None],
    progress: Progress | None = None,
    kind: type[_L] = Line,  # type: ignore[assignment]  # a default of a type variable: PEP 696 comes with Python 3.13
) -> None:
    """Every line of the files, in their order, as `kind`. `-` is standard input, what ends in .gz is decompressed.

    `take` may raise ValueError to say what is wrong with a line. Raises OSError when a file cannot be read.
    """
    for path in paths:
        if path == STDIN:
            _Reading(path, sys.stdin.buffer, take, faults, None, kind).read(sys.stdin.buffer)
            continue
        with path.open("rb") as raw, closing(_reader(path, raw)) as stream:
            _Reading(path, raw, take, faults, progress, kind).read(stream)


def with_rotated(paths: Sequence[Path], *, rotated: bool) -> list[Path]:
    """Each file once, however often it is named; with `rotated`, before each those that it was rotated to, the oldest
    first."""
    found: dict[Path, Path] = {}
    for path in paths:
        for each in (*(_rotated(path) if rotated and path != STDIN else ()), path):
            found.setdefault(each if each == STDIN else each.resolve(), each)
    return list(found.values())


def _rotated(path: Path) -> list[Path]:
    numbered: list[tuple[int, Path]] = []
    for each in path.parent.glob(f"{_literal(path.name)}.*"):
        number = each.name[len(path.name) + 1 :].removesuffix(".gz")
        if number.isdecimal():
            numbered.append((int(number), each))
    return [each for _, each in sorted(numbered, reverse=True)]


def _literal(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _reader(path: Path, raw: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw


class _Reading(Generic[_L]):
    """One file. `raw` tells how far it was read, `number` is that of the line."""

    def __init__(
        self,
        path: Path,
        raw: BinaryIO,
        take: Callable[[_L], None],
        faults: Callable[[Fault], None],
        progress: Progress | None,
        kind: type[_L],
    ) -> None:
        self._decode = msgspec.json.Decoder(kind).decode
        self._path = path
        self._raw = raw
        self._take = take
        self._faults = faults
        self._progress = progress
        self._number = 0

    def read(self, stream: BinaryIO) -> None:
        """To its end."""
        within = False
        try:
            for text in iter(partial(stream.readline, MAX_LINE), b""):
                whole = text.endswith(b"\n")
                if within:  # the rest of a line that was told of
                    within = not whole
                    continue
                self._number += 1
                if len(text) == MAX_LINE and not whole:
                    within = True
                    self._fault(f"is longer than {MAX_LINE} bytes, so it is no line of an audit log")
                else:
                    self._line(text)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            self._number += 1
            self._fault(f"cannot be decompressed from here on: {error}")

    def _line(self, text: bytes) -> None:
        try:
            line = self._decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if text.strip():
                self._fault(_wrong(text))
            return
        if line.v != VERSION:
            self._fault(f"has version {line.v}, this program reads version {VERSION}: update it")
            return
        try:
            self._take(line)
        except ValueError as error:
            self._fault(str(error))
        if self._progress is not None and self._number % _STEP == 0:
            self._progress(self._path, self._raw.tell())

    def _fault(self, message: str) -> None:
        self._faults(Fault(str(self._path), self._number, message))


def _wrong(text: bytes) -> str:
    if not text.startswith(b'{"v":'):
        return "is no line of an audit log"
    return "is broken" if text.endswith(b"\n") else TORN
