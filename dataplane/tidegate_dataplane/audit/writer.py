"""Chained lines into a sink: begins files, goes on in them, and never tears what it can still finish."""

import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from tidegate_dataplane.audit.chain import HMAC_SHA256, SHA256, Chain, key_id, keyed_digest, plain_digest, take_apart
from tidegate_dataplane.audit.ending import torn_of
from tidegate_dataplane.audit.record import AuditRecord, Beginning, Event, Note, Torn, Writer
from tidegate_dataplane.audit.sink import Sink

_NOTHING = memoryview(b"")


class Head(NamedTuple):
    """How far the log is written: `chain` (hex) is the chain value of line `seq` of this writer."""

    log: str
    file: int
    seq: int
    chain: str


class AuditWriter:
    """Not thread-safe: one thread writes. `head`, `written` and `lost` (records) may be read by any.

    What a failed write left over is kept and finished by the next call, so a line is never torn while the process
    lives.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        gateway: str = "default",
        host: str = "",
        process: int = 0,
        key: bytes | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._key = key
        self._encode = msgspec.json.Encoder().encode_lines
        self._who = Writer(secrets.token_hex(8), gateway, host, process, clock())
        ending = sink.ending
        self._log = ending.log or secrets.token_hex(8)
        self._file = ending.file
        self._torn: Torn | None = ending.torn
        self._chain = Chain(plain_digest if key is None else keyed_digest(key), ending.chain)
        self._pending = _NOTHING
        self._sent = 0
        self._records = 0
        self._at_start = True
        self._begun = False
        self.written = 0
        self.lost = 0
        self.head = Head(self._log, self._file, 0, ending.chain.hex())

    @property
    def id(self) -> str:
        """The random name of this process in its lines."""
        return self._who.id

    @property
    def key_id(self) -> str:
        """Which key seals the chain; empty when it has none."""
        return "" if self._key is None else key_id(self._key)

    def tend(self) -> None:
        """Finish what is left over, and change the file when it is time. Raises OSError; call again then."""
        try:
            self._drain()
        except OSError:
            if not self._sink.was_moved():
                raise
            self._abandon()
        if self._begun and (self._sink.was_moved() or self._sink.rotate_if_full()):
            self._begun = False
            self._put(Note(Event.ROTATED, self._clock()))
        if not self._begun:
            self._begin()

    def write(self, records: Sequence[AuditRecord]) -> None:
        """Write all of them. On OSError they are kept and written by the next call of `tend`."""
        before = self._chain.seq
        lines = self._chain.seal(self._encode_lines(records))
        self._records = self._chain.seq - before
        self._send(lines)

    def note_lost(self, records: int) -> None:
        """Say in the log that so many records are not in it."""
        self._put(Note(Event.LOST, self._clock(), records))

    def close(self) -> None:
        """Say that the end was in order. Raises OSError; the sink stays open."""
        self._put(Note(Event.STOPPED, self._clock()))

    def release(self) -> None:
        """Close the sink."""
        self._sink.close()

    @property
    def unfinished(self) -> int:
        """Records that are sealed and not wholly written."""
        return self._records

    def _begin(self) -> None:
        """The first line of a file, or the first of ours in it."""
        if not self._at_start:
            self._sink.reopen()
        ending = self._sink.ending
        if not ending.fresh and not self._at_start:
            # Somebody put a file with lines there: go on in it, and let `verify` tell what it is.
            self._log, self._file, self._torn = ending.log or self._log, ending.file, ending.torn
            self._chain.head = ending.chain
        self._at_start = False
        self._begun = True
        self._file += 1 if ending.fresh or not self._file else 0
        torn, self._torn = self._torn, None
        beginning = Beginning(
            event=Event.OPENED if ending.fresh else Event.RESUMED,
            time=self._clock(),
            log=self._log,
            file=self._file,
            prev=self._chain.head.hex(),
            writer=self._who,
            hash=SHA256 if self._key is None else HMAC_SHA256,
            key_id=self.key_id,
            torn=torn,
        )
        line = self._chain.seal(self._encode([beginning]))
        self._send(line if ending.fresh or torn is None else b"\n" + line)

    def _put(self, note: Note) -> None:
        self._send(self._chain.seal(self._encode([note])))

    def _encode_lines(self, records: Sequence[AuditRecord]) -> bytes:
        try:
            return self._encode(records)
        except ValueError:  # a text that is not Unicode: find whose, and do without that record
            if len(records) == 1:
                self.lost += 1
                return b""
            return b"".join(self._encode_lines([record]) for record in records)

    def _send(self, data: bytes) -> None:
        """What is left over of before goes first."""
        left = bytes(self._pending[self._sent :])
        self._pending, self._sent = memoryview(left + data if left else data), 0
        self._drain()

    def _drain(self) -> None:
        pending = self._pending
        while self._sent < len(pending):
            self._sent += self._sink.write(pending[self._sent :])
        if pending:
            self._sink.flush()
            self._pending, self._sent = _NOTHING, 0
            self.written += self._records
            self._records = 0
            self.head = Head(self._log, self._file, self._chain.seq, self._chain.head.hex())

    def _abandon(self) -> None:
        """The file was moved away and takes no more: what is left over of it is lost, and the next file says so."""
        sent, left = bytes(self._pending[: self._sent]), bytes(self._pending[self._sent :])
        whole, newline, torn = sent.rpartition(b"\n")
        last = take_apart(whole[whole.rfind(b"\n") + 1 :] + newline)
        if last is None:
            self._chain.head, self._chain.seq = bytes.fromhex(self.head.chain), self.head.seq
        else:
            self._chain.head, self._chain.seq = last.chain, last.seq
        lost = left.count(b"\n") if self._records else 0
        self.lost += lost
        self.written += self._records - lost
        self._torn = torn_of(torn) if torn else None
        self._pending, self._sent, self._records, self._begun = _NOTHING, 0, 0, False
