"""What the audit log costs: on the event loop, in its thread, and to verify. Run: python tests/bench/audit.py"""

import gzip
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tidegate_dataplane.audit import AuditLog, AuditRecord, AuditTarget, AuditTokens
from tidegate_dataplane.audit.sink import FileSink
from tidegate_dataplane.audit.verify import verify
from tidegate_dataplane.audit.writer import AuditWriter
from tidegate_dataplane.runtime.objects import RuleRef
from tidegate_dataplane.snapshot.entries import Operation

ROUNDS, RECORDS, LINES = 5, 20_000, 300_000
KEY = b"a key of the audit log for benchmarks"


def record() -> AuditRecord:
    """As of a served request: about 700 bytes in its line."""
    return AuditRecord(
        time=datetime.fromtimestamp(1_800_000_000.25, UTC),
        request_id="0123456789abcdef0000000000000001",
        outcome="Served",
        status=200,
        gateway="default",
        revision=42,
        latency_ms=812.345,
        bytes_in=1234,
        bytes_out=5678,
        consumer="team-a/search",
        key="2026-q4",
        credentials=("2026-q4",),
        address="10.1.2.3",
        host="ai.example.com",
        path="/v1/chat/completions",
        route="team-a/chat",
        target=AuditTarget("team-a/openai-eu", "gpt-4o-mini"),
        operation=Operation.CHAT,
        model="chat-fast",
        version="2024-07-18",
        method="APIKey",
        rule=RuleRef("AIPolicy", "team-a/open", 3, "researchers"),
        tokens=AuditTokens(523, 121, "Reported"),
        decision_ms=0.061,
        upstream_ms=640.1,
        attempts=1,
    )


def best(once: Callable[[], float]) -> float:
    return min(once() for _ in range(ROUNDS))


def on_the_loop() -> None:
    """Making the record, and handing it over."""

    def make() -> float:
        began = time.process_time()
        for _ in range(RECORDS):
            record()
        return (time.process_time() - began) / RECORDS * 1e6

    def add() -> float:
        with tempfile.TemporaryDirectory() as folder:
            log = AuditLog(AuditWriter(FileSink(Path(folder) / "audit.jsonl")))
            one = record()
            began = time.process_time()
            for _ in range(RECORDS):
                log.add(one)
            took = time.process_time() - began
            log.start()
            log.stop()
        return took / RECORDS * 1e6

    print(f"event loop: make the record {best(make):.2f} µs, hand it over {best(add):.2f} µs")


def in_the_thread(folder: Path, key: bytes | None) -> Path:
    path = folder / f"{'keyed' if key else 'plain'}.jsonl"
    writer = AuditWriter(FileSink(path), key=key)
    writer.tend()
    portion = [record()] * 128
    times = []
    for _ in range(LINES // 128):
        began = time.thread_time()
        writer.write(portion)
        times.append(time.thread_time() - began)
    writer.close()
    writer.release()
    each = sum(times) / len(times) / 128
    print(f"thread, {path.stem}: {each * 1e6:.2f} µs of CPU a record with its write, {1 / each:,.0f} records/s")
    return path


def verifying(path: Path, key: bytes | None) -> None:
    began = time.process_time()
    verdict = verify([path], keys=[key] if key else [])
    took = time.process_time() - began
    if not verdict.valid:
        sys.exit(f"{path} is not whole: {verdict.problems[0]}")
    lines = verdict.logs[0].lines
    print(f"verify, {path.name}: {verdict.bytes / took / 1e6:.0f} MB/s of lines, {lines / took:,.0f} lines/s")


def main() -> None:
    on_the_loop()
    with tempfile.TemporaryDirectory() as folder:
        for key in (None, KEY):
            verifying(in_the_thread(Path(folder), key), key)
        packed = Path(folder) / "plain.jsonl.1.gz"
        packed.write_bytes(gzip.compress((Path(folder) / "plain.jsonl").read_bytes(), 1))
        verifying(packed, None)


if __name__ == "__main__":
    main()
