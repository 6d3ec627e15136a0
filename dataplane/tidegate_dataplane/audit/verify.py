"""Checks files of the audit log: every line, and that one file continues another. Reads each file once, in constant
memory."""

import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from tidegate_dataplane.audit.chain import (
    GENESIS,
    HMAC_SHA256,
    SHA256,
    Digest,
    SealedLine,
    follows,
    key_id,
    keyed_digest,
    plain_digest,
    sealed_request,
    take_apart,
)
from tidegate_dataplane.audit.ending import MAX_LINE, open_file, read_beginning, read_note, torn_of
from tidegate_dataplane.audit.record import Beginning, Event
from tidegate_dataplane.audit.verdict import Expected, KeyNeeded, LogReport, Problem, Progress, Verdict

_STEP = 1024


class _File(NamedTuple):
    path: Path
    beginning: Beginning | None


def verify(
    paths: Sequence[Path],
    *,
    keys: Sequence[bytes] = (),
    expected: Iterable[Expected] = (),
    progress: Progress | None = None,
) -> Verdict:
    """Check the files of one log or several, in whatever order they are given.

    `progress` hears of bytes read of a file. Raises OSError when a file cannot be read, and KeyNeeded.
    """
    verdict = Verdict([], [], [])
    wanted = set(expected)
    digests = {key_id(key): keyed_digest(key) for key in keys}
    for files in _logs(paths):
        walk = _Walk(verdict, digests, wanted, progress)
        for file in files:
            walk.read(file)
        walk.end()
    for each in sorted(wanted):
        message = f"the line {each.seq}:{each.chain.hex()} is not there: lines at the end, or whole files, were removed"
        verdict.add(Problem("", 0, message))
    return verdict


def _logs(paths: Sequence[Path]) -> list[list[_File]]:
    """The files of each log in their order; one whose first line says nothing is taken by itself."""
    logs: dict[str, list[_File]] = {}
    for path in paths:
        beginning = _first(path)
        logs.setdefault(str(path) if beginning is None else f"log {beginning.log}", []).append(_File(path, beginning))
    return [sorted(files, key=lambda each: each.beginning.file if each.beginning else 0) for files in logs.values()]


def _first(path: Path) -> Beginning | None:
    with open_file(path) as file:
        try:
            return read_beginning(file.readline(MAX_LINE))
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return None


def _reader(path: Path, raw: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if path.suffix == ".gz" else raw


class _Walk:
    """Goes through one log, line by line. `_head` is None where it is not known what came before."""

    def __init__(
        self, verdict: Verdict, digests: Mapping[str, Digest], wanted: set[Expected], progress: Progress | None
    ) -> None:
        self._verdict = verdict
        self._digests = digests
        self._wanted = wanted
        self._progress = progress
        self._digest = next(iter(digests.values()), plain_digest)
        self._report = LogReport("", 0, 0, ())
        self._path = Path()
        self._at = 0
        self._head: bytes | None = None
        self._seq = 0
        self._writer = ""
        # The line before, the chain value before it, and what seemed wrong with it: the next may say it was torn.
        self._line = b""
        self._before: bytes | None = None
        self._suspect: Problem | None = None

    def read(self, file: _File) -> None:
        """The next file of the log."""
        self._path, self._at = file.path, 0
        self._report.files += (str(file.path),)
        if file.beginning is None and file.path.stat().st_size:
            self._problem_in_file("does not begin with a line that says Opened: lines at its beginning were removed")
        with file.path.open("rb") as raw, closing(_reader(file.path, raw)) as stream:
            try:
                self._read_lines(_lines(stream), raw)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                self._problem_in_file(f"cannot be decompressed from about line {self._at + 1} on: {error}")
        if self._at == 0:
            self._problem_in_file(_EMPTY)

    def end(self) -> None:
        """After the last file."""
        self._settle()
        report = self._report
        report.seq, report.chain = self._seq, (self._head or b"").hex()
        # Of what log an empty file is, nobody can tell.
        if report.lines:
            self._verdict.logs.append(report)

    def _read_lines(self, lines: Iterator[bytes], raw: BinaryIO) -> None:
        size = 0
        for line in lines:
            self._at += 1
            size += len(line)
            chain = self._next_request(line)
            if chain is None:
                self._judge(line, take_apart(line))
            else:
                self._go_on(line, self._seq + 1, chain)
                self._report.records += 1
            if not self._at % _STEP and self._progress is not None:
                self._progress(self._path, raw.tell())
        self._report.lines += self._at
        self._verdict.bytes += size

    def _next_request(self, line: bytes) -> bytes | None:
        if self._head is None or self._suspect is not None:
            return None
        return sealed_request(self._digest, self._head, self._seq + 1, line)

    def _is_next(self, line: SealedLine) -> bool:
        return line.seq == self._seq + 1 and self._head is not None and follows(self._digest, self._head, line)

    def _go_on(self, line: bytes, seq: int, chain: bytes) -> None:
        self._line, self._before = line, self._head
        self._head, self._seq = chain, seq
        if self._wanted:
            self._wanted.discard(Expected(seq, chain))

    def _judge(self, line: bytes, sealed: SealedLine | None) -> None:
        """Everything but a line of a request that is in order."""
        if sealed is None:
            self._settle()
            self._suspect = self._problem(_MISSHAPEN if line.endswith(b"\n") else _TORN.format(len(line)))
            self._line, self._before = line, self._head
            return
        beginning = read_beginning(line) if sealed.is_event else None
        if beginning is not None:
            self._begin(line, sealed, beginning)
            return
        self._settle()
        if self._head is not None and not self._is_next(sealed):
            self._report_problem(_why(self._seq, sealed.seq))
        self._go_on(line, sealed.seq, sealed.chain)
        note = read_note(line) if sealed.is_event else None
        self._report.closed = note is not None and note.event is Event.STOPPED
        if note is None:
            self._report.records += 1
        elif note.event is Event.LOST:
            self._report.lost += note.records
            self._note(f"{note.records} records were lost here, because the log could not be written fast enough")

    def _begin(self, line: bytes, sealed: SealedLine, beginning: Beginning) -> None:
        """A process begins a file, or goes on in one."""
        report = self._report
        head = self._head
        if beginning.torn is not None and torn_of(self._line.removesuffix(b"\n")) == beginning.torn:
            self._suspect, head = None, self._before
            self._note(f"the {beginning.torn.bytes} bytes before are of a line that a killed process did not finish")
        elif beginning.torn is not None and self._line:
            self._report_problem("tells of a torn line that is not the one before it")
        self._settle()
        self._choose_digest(beginning)
        if beginning.event is Event.RESUMED and self._at == 1:
            self._report_problem("says Resumed, but is the first of its file: lines before it were removed")
        if head is None or not report.log:
            if beginning.file > 1 or beginning.prev != GENESIS.hex():
                self._note(f"this is file {beginning.file} of the log, and those before it are not given")
            report.log, report.first_file = beginning.log, beginning.file
        elif beginning.prev != head.hex():
            self._report_problem(self._unlinked(beginning))
        elif beginning.file not in (report.last_file, report.last_file + 1):
            self._report_problem(f"is of file {beginning.file} of its log, after file {report.last_file}")
        elif sealed.seq != (self._seq + 1 if beginning.writer.id == self._writer else 1):
            self._report_problem(_why(self._seq, sealed.seq))
        report.last_file = beginning.file
        if self._writer and self._writer != beginning.writer.id and not report.closed:
            self._note("the process before did not end in order: it was killed, or lines at its end were removed")
        if not follows(self._digest, _unhex(beginning.prev), sealed):
            self._report_problem(_CHANGED)
        self._writer = beginning.writer.id
        self._go_on(line, sealed.seq, sealed.chain)
        report.closed = False

    def _choose_digest(self, beginning: Beginning) -> None:
        keyed = beginning.hash == HMAC_SHA256
        self._report.keyed = keyed
        if keyed and not self._digests:
            place = f"{self._path}:{self._at}"
            raise KeyNeeded(f"{place}: the log is sealed by the key {beginning.key_id}: give it with --key-file")
        if keyed:
            found = self._digests.get(beginning.key_id)
            if found is None:
                self._report_problem(f"is sealed by the key {beginning.key_id}, which was not given")
            self._digest = found or next(iter(self._digests.values()))
            return
        if self._digests:
            self._report_problem("begins lines that no key seals: whoever could write them could forge them")
        elif beginning.hash != SHA256:
            self._report_problem(f"names the hash {beginning.hash!r}, which is not known")
        self._digest = plain_digest

    def _unlinked(self, beginning: Beginning) -> str:
        """Why a beginning does not continue what came before."""
        last, files = self._report.last_file, self._report.files
        if beginning.file > last + 1:
            missing = f"file {last + 1}" if beginning.file == last + 2 else f"files {last + 1} to {beginning.file - 1}"
            before = files[-2] if len(files) > 1 else "what is before"
            return f"does not continue {before}: {missing} of the log not given"
        if self._at == 1 and beginning.file == last:
            return f"stands in a second file {last} of the same log: one of them is a copy"
        place = f"the end of {files[-2]}" if self._at == 1 and len(files) > 1 else "the line before"
        return f"does not continue {place}: lines were removed or changed there"

    def _settle(self) -> None:
        """What was wrong with the line before is not explained by the one after it."""
        if self._suspect is not None:
            self._verdict.add(self._suspect)
            self._suspect = None

    def _problem(self, message: str) -> Problem:
        return Problem(str(self._path), self._at, message)

    def _report_problem(self, message: str) -> None:
        self._verdict.add(self._problem(message))

    def _problem_in_file(self, message: str) -> None:
        self._verdict.add(Problem(str(self._path), 0, message))

    def _note(self, message: str) -> None:
        self._verdict.note(self._problem(message))


_MISSHAPEN = "is no line of an audit log: it was changed or added"
_CHANGED = "was changed, or the chain value of the line before it was"
_EMPTY = "is empty and should begin with a line that says Opened: the writer was killed before it, or the file was cut"
_TORN = "is torn: its last {} bytes have no end; the writer was killed, or the file was cut"


def _why(before: int, seq: int) -> str:
    if seq == before + 1:
        return _CHANGED
    if seq > before + 1:
        count = seq - before - 1
        lines = "1 line is" if count == 1 else f"{count} lines are"
        return f"has seq {seq} after {before}: {lines} missing before it, or it was changed"
    return f"has seq {seq} after {before}: it was added, moved or changed"


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    while line := stream.readline(MAX_LINE):
        yield line


def _unhex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
