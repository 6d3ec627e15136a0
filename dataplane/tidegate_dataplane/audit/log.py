"""The queue between the requests and the audit log's own thread.

The request path only appends to a list. The thread encodes, chains, writes and flushes. When the sink is slow or
fails, memory stays bounded, and one of two things happens: records are dropped and counted, or calls are refused.
"""

import logging
import threading
from collections import deque
from time import monotonic

from tidegate_dataplane.audit.record import AuditRecord
from tidegate_dataplane.audit.writer import AuditWriter, Head
from tidegate_dataplane.settings import WhenFull

# What waits is written after so many seconds, or at once when so many records wait: that much a kill -9 may cost.
FLUSH_SECONDS = 0.05
FLUSH_RECORDS = 1024
# So many records may wait for a sink that is slow or fails, about a kilobyte each.
MAX_WAITING = 50_000
# A write that takes longer counts as one that hangs.
STALL_SECONDS = 1.0
# So many at once, so that other threads run in between.
_PORTION = 128
_log = logging.getLogger(__name__)


class AuditGate:
    """Whether calls may go upstream as far as auditing is concerned: `closed` says why not, empty when they may."""

    __slots__ = ("closed",)

    def __init__(self) -> None:
        self.closed = ""


class AuditLog:
    """Takes records from the event loop and writes them from a thread of its own.

    `gate` closes only with `WhenFull.DENY`: while the queue is full, the sink fails, or a write hangs.
    """

    def __init__(
        self, writer: AuditWriter, *, max_waiting: int = MAX_WAITING, when_full: WhenFull = WhenFull.DROP
    ) -> None:
        self.gate = AuditGate()
        self._writer = writer
        self._max_waiting = max_waiting
        self._busy_at = min(FLUSH_RECORDS, max_waiting)
        self._denies = when_full is WhenFull.DENY
        self._waiting: deque[AuditRecord] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._writing_since = 0.0
        self._dropped = 0
        self._noted = 0
        self._failure = ""
        self._announced = 0

    @property
    def written(self) -> int:
        """Records in the log."""
        return self._writer.written

    @property
    def dropped(self) -> int:
        """Records that are not in the log and never will be."""
        return self._dropped + self._writer.lost

    @property
    def waiting(self) -> int:
        """Records that are not yet written."""
        return len(self._waiting) + self._writer.unfinished

    @property
    def head(self) -> Head:
        """How far the log is written, for `tidegate audit verify --expect SEQ:CHAIN`."""
        return self._writer.head

    @property
    def writer(self) -> AuditWriter:
        return self._writer

    @property
    def failure(self) -> str:
        """Why nothing can be written now; empty when all is well."""
        since = self._writing_since
        if since and monotonic() - since > STALL_SECONDS:
            return f"a write to the audit log has been hanging for more than {STALL_SECONDS:g} s"
        return self._failure

    def start(self) -> None:
        self._thread.start()

    def add(self, record: AuditRecord) -> None:
        """Append a record; never blocks, never raises."""
        waiting = self._waiting
        if len(waiting) >= self._busy_at:
            self._add_to_many(record)
        else:
            waiting.append(record)
        if self._denies and self._writing_since:
            self.look()

    def look(self) -> None:
        """Close the gate when a write hangs; the thread, which opens it again, cannot do that itself."""
        if self._denies and (failure := self.failure):
            self.gate.closed = failure

    def stop(self, timeout: float = 5.0) -> None:
        """Write what is waiting, end the thread and close the sink; one that hangs is left after `timeout` seconds."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        left = self.waiting
        if left:
            self._dropped += left
            self._waiting.clear()
            _log.error("%d audit records are lost: %s", left, self.failure or "the audit log was never started")
        if not self._thread.is_alive():
            self._writer.release()

    def _add_to_many(self, record: AuditRecord) -> None:
        """A call that went upstream under the promise of an audit line keeps it: calls in flight are few."""
        if len(self._waiting) < self._max_waiting:
            self._waiting.append(record)
        else:
            if self._denies:
                self.gate.closed = f"{self._max_waiting} audit records are waiting to be written"
            if self._denies and record.attempts:
                self._waiting.append(record)
            else:
                self._dropped += 1
        if not self._failure and not self._wake.is_set():
            self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            self._write_all()
        self._write_all(last=True)

    def _write_all(self, *, last: bool = False) -> None:
        """Everything that waits, or as much as can be written now."""
        self._writing_since = monotonic()
        try:
            writer, waiting = self._writer, self._waiting
            writer.tend()
            while waiting:
                self._writing_since = monotonic()
                writer.write([waiting.popleft() for _ in range(min(len(waiting), _PORTION))])
                writer.tend()
            lost = self.dropped - self._noted
            if lost:
                self._noted += lost
                writer.note_lost(lost)
            if last:
                writer.close()
            if last or writer.head.file != self._announced:
                self._announce(writer.head)
        except Exception as error:  # noqa: BLE001 - whatever it is, requests must go on, and the next turn tries again
            self._fail(error)
        else:
            self._failure = ""
            if self.gate.closed:
                self.gate.closed = ""
                _log.warning("the audit log is written again")
        finally:
            self._writing_since = 0.0

    def _announce(self, head: Head) -> None:
        """In the process's own log, which goes elsewhere: what `verify` may expect of a file that nobody touches."""
        self._announced = head.file
        _log.info("the audit log %s is written up to %d:%s in its file %d", head.log, head.seq, head.chain, head.file)

    def _fail(self, error: Exception) -> None:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        if not self._failure:
            expected = isinstance(error, OSError)
            _log.error("the audit log cannot be written: %s", reason, exc_info=None if expected else error)
        self._failure = f"the audit log cannot be written: {reason}"
        if self._denies:
            self.gate.closed = self._failure
