"""What `verify` says of an audit log."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

MAX_PROBLEMS = 100
Progress = Callable[[Path, int], object]


class KeyNeeded(ValueError):
    """The log is sealed by a key, and none was given."""


class Problem(Struct, frozen=True):
    """What is wrong, and where; line 0 means the file as a whole."""

    file: str
    line: int
    message: str


class LogReport(Struct, rename="camel"):
    """One log, over all its files. `closed` means that its last line says that the writer ended in order; otherwise
    lines may have been cut off at the end, which only --expect can tell. `first_file` is above 1 when earlier files
    were not given."""

    log: str
    first_file: int
    last_file: int
    files: tuple[str, ...]
    seq: int = 0
    chain: str = ""
    lines: int = 0
    records: int = 0
    lost: int = 0
    keyed: bool = False
    closed: bool = False


class Verdict(Struct, rename="camel"):
    """`problems` holds the first hundred, `found` is their number. `bytes` are those of the lines. Files without a line
    are of no log."""

    problems: list[Problem]
    notes: list[Problem]
    logs: list[LogReport]
    found: int = 0
    bytes: int = 0

    @property
    def valid(self) -> bool:
        return self.found == 0

    def add(self, problem: Problem) -> None:
        """Something is wrong."""
        self.found += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)

    def note(self, note: Problem) -> None:
        """Something is worth knowing."""
        if len(self.notes) < MAX_PROBLEMS:
            self.notes.append(note)


class Expected(NamedTuple):
    """A line that must be there."""

    seq: int
    chain: bytes
