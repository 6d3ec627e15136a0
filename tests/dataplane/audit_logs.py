"""Audit logs made by the real writer, without a data plane."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tidegate_dataplane.audit import AuditRecord
from tidegate_dataplane.audit.ending import Ending
from tidegate_dataplane.audit.sink import FileSink
from tidegate_dataplane.audit.verdict import Expected, Verdict
from tidegate_dataplane.audit.verify import verify
from tidegate_dataplane.audit.writer import AuditWriter, Head

AUDIT_KEY = b"a key of the audit log, 32 bytes or more"


def record(number: int = 0, *, path: str = "", attempts: int = 0) -> AuditRecord:
    return AuditRecord(
        time=datetime.fromtimestamp(number, UTC),
        request_id=str(number),
        outcome="Served",
        status=200,
        gateway="default",
        revision=1,
        latency_ms=1.0,
        bytes_in=1,
        bytes_out=1,
        path=path,
        attempts=attempts,
    )


class MemorySink:
    """Keeps what is written. `room` is how many bytes it takes before it fails as a full disk does."""

    def __init__(self, room: int | None = None) -> None:
        self.ending = Ending()
        self.data = bytearray()
        self.room = room
        self.moved = False
        self.before: list[bytes] = []
        self.closed = False

    def write(self, data: memoryview) -> int:
        if self.room is None:
            self.data += data
            return len(data)
        if not self.room:
            raise OSError(28, "No space left on device")
        part = data[: self.room]
        self.data += part
        self.room -= len(part)
        return len(part)

    def flush(self) -> None: ...

    def was_moved(self) -> bool:
        return self.moved

    def rotate_if_full(self) -> bool:
        return False

    def reopen(self) -> None:
        self.before.append(bytes(self.data))
        self.data.clear()
        self.moved = False
        self.room = None

    def close(self) -> None:
        self.closed = True

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in bytes(self.data).splitlines()]

    @property
    def line_count(self) -> int:
        return self.data.count(b"\n")

    @property
    def numbers(self) -> list[int]:
        """Of the records that are written wholly."""
        whole = bytes(self.data).rpartition(b"\n")[0].splitlines()
        return [int(line["requestId"]) for line in map(json.loads, whole) if "event" not in line]


def write_file(
    path: Path, records: Sequence[AuditRecord], *, key: bytes | None = None, max_bytes: int = 0, orderly: bool = True
) -> Head:
    """What one process writes; returns where it ended."""
    writer = AuditWriter(FileSink(path, max_bytes=max_bytes), gateway="edge", host="pod-1", process=7, key=key)
    for each in records:
        writer.tend()
        writer.write([each])
    writer.tend()
    if orderly:
        writer.close()
    writer.release()
    return writer.head


def expected(head: Head) -> Expected:
    return Expected(head.seq, bytes.fromhex(head.chain))


def said(verdict: Verdict) -> list[str]:
    """The problems, each as `file name:line: message`."""
    return [f"{Path(each.file).name}:{each.line}: {each.message}" for each in verdict.problems]


def checked(*paths: Path, key: bytes | None = None, head: Head | None = None) -> list[str]:
    return said(verify(paths, keys=[key] if key else [], expected=[expected(head)] if head else []))
