"""The audit log: one JSON line for each decision.

The request path only appends to a list; a thread encodes, writes and flushes. When the sink is slow, memory stays
bounded: lines are dropped and counted, requests never wait.
"""

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from tidegate_dataplane.runtime.objects import RuleRef
from tidegate_dataplane.snapshot.entries import Operation

FLUSH_SECONDS = 0.05
MAX_WAITING = 50_000
_log = logging.getLogger(__name__)


class AuditTokens(Struct, frozen=True, gc=False):
    """`source` is Reported (by the provider), Estimated, or None."""

    input: int
    output: int
    source: str


class AuditTarget(Struct, frozen=True, gc=False):
    """Where the request went last."""

    backend: str
    model: str


class AuditRecord(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """One line. `time` is the arrival (UTC), latencies are milliseconds, `key` is a key's name."""

    time: datetime
    request_id: str
    outcome: str
    status: int
    gateway: str
    revision: int
    latency_ms: float
    bytes_in: int
    bytes_out: int
    code: str = ""
    consumer: str = ""
    key: str = ""
    address: str = ""
    host: str = ""
    path: str = ""
    route: str = ""
    target: AuditTarget | None = None
    operation: Operation | None = None
    model: str = ""
    method: str = ""
    rule: RuleRef | None = None
    shadow: tuple[RuleRef, ...] = ()
    tokens: AuditTokens | None = None
    upstream_ms: float = 0.0
    attempts: int = 0
    streamed: bool = False


class AuditLog:
    """Takes records from the event loop and writes them from a thread of its own.

    `write` gets whole lines and may block. `dropped` and `written` count records.
    """

    def __init__(self, write: Callable[[bytes], object], *, max_waiting: int = MAX_WAITING) -> None:
        self._write = write
        self._max_waiting = max_waiting
        self._waiting: deque[AuditRecord] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._complained = False
        self.dropped = 0
        self.written = 0

    def start(self) -> None:
        self._thread.start()

    def add(self, record: AuditRecord) -> None:
        """Append a record; never blocks, never raises."""
        waiting = self._waiting
        if len(waiting) >= self._max_waiting:
            self.dropped += 1
        else:
            waiting.append(record)

    def stop(self, timeout: float = 5.0) -> None:
        """Write what is waiting and end the thread; a sink that hangs is left after `timeout` seconds."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        encoder = msgspec.json.Encoder()
        while not self._stopping.wait(FLUSH_SECONDS):
            self._flush(encoder)
        self._flush(encoder)

    def _flush(self, encoder: msgspec.json.Encoder) -> None:
        """Write in portions, so that other threads run in between."""
        waiting = self._waiting
        while waiting:
            portion = [waiting.popleft() for _ in range(min(len(waiting), 256))]
            try:
                self._write(encoder.encode_lines(portion))
                self.written += len(portion)
            except (OSError, ValueError) as error:
                self.dropped += len(portion)
                if not self._complained:
                    self._complained = True
                    _log.error("the audit log cannot be written: %s", error)


class AuditSink:
    """A file that is appended to, opened anew when it was moved away (log rotation), or standard output."""

    def __init__(self, where: str, *, check_seconds: float = 1.0) -> None:
        """`where` is a path or `-`; a move is noticed within `check_seconds`. Raises OSError."""
        self._check_seconds = check_seconds
        self._path = None if where == "-" else Path(where)
        self._file: BinaryIO = sys.stdout.buffer if self._path is None else self._path.open("ab", buffering=0)
        self._checked = time.monotonic()

    def write(self, lines: bytes) -> None:
        if self._path is not None and time.monotonic() - self._checked > self._check_seconds:
            self._checked = time.monotonic()
            self._reopen_if_moved(self._path)
        view = memoryview(lines)
        while view:
            view = view[self._file.write(view) :]
        self._file.flush()

    def close(self) -> None:
        if self._path is not None:
            self._file.close()

    def _reopen_if_moved(self, path: Path) -> None:
        try:
            moved = not os.path.samestat(path.stat(), os.fstat(self._file.fileno()))
        except OSError:
            moved = True
        if moved:
            self._file.close()
            self._file = path.open("ab", buffering=0)
