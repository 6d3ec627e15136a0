"""The audit log when its disk is slow, full or gone: memory stays bounded, no line is torn, and a loss is told."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dataplane.audit_logs import MemorySink, checked, record
from tidegate_dataplane.audit import AuditLog
from tidegate_dataplane.audit.sink import FileSink
from tidegate_dataplane.audit.verify import verify
from tidegate_dataplane.audit.writer import AuditWriter
from tidegate_dataplane.settings import WhenFull


def wait_for(condition: Callable[[], object], *, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.005)


class HangingSink(MemorySink):
    """Its writes wait until `let_go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()
        self.entered = threading.Event()

    def write(self, data: memoryview) -> int:
        self.entered.set()
        self.let_go.wait(30)
        return super().write(data)


def test_a_sink_that_hangs_costs_records_which_the_log_tells(tmp_path: Path) -> None:
    sink = HangingSink()
    log = AuditLog(AuditWriter(sink), max_waiting=100)
    log.start()
    assert sink.entered.wait(10)
    for number in range(5000):
        log.add(record(number))
    assert (log.waiting, log.dropped) == (100, 4900)
    assert not log.gate.closed
    sink.let_go.set()
    wait_for(lambda: "Lost" in sink.data.decode())
    log.add(record(6000))
    log.stop()
    assert sink.numbers == [*range(100), 6000]
    assert [line["records"] for line in sink.lines if line.get("event") == "Lost"] == [4900]
    (tmp_path / "log").write_bytes(sink.data)
    verdict = verify([tmp_path / "log"])
    assert verdict.valid
    assert verdict.logs[0].lost == 4900


def test_a_sink_that_hangs_to_the_end_is_left_and_the_loss_counted(caplog: pytest.LogCaptureFixture) -> None:
    sink = HangingSink()
    log = AuditLog(AuditWriter(sink))
    log.start()
    assert sink.entered.wait(10)
    for number in range(10):
        log.add(record(number))
    log.stop(timeout=0.1)
    assert (log.written, log.dropped) == (0, 10)
    assert not sink.closed  # a descriptor in use is not closed
    assert "10 audit records are lost" in caplog.text
    sink.let_go.set()


def test_records_wait_for_a_disk_that_is_full_and_no_line_is_torn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = MemorySink(room=1000)
    log = AuditLog(AuditWriter(sink))
    log.start()
    for number in range(50):
        log.add(record(number))
    wait_for(lambda: log.failure)
    assert "No space left on device" in log.failure
    assert len(sink.data) == 1000
    sink.room = 1000
    wait_for(lambda: len(sink.data) == 2000)
    sink.room = None
    wait_for(lambda: log.written == 50)
    log.stop()
    assert (log.dropped, log.failure) == (0, "")
    assert sink.numbers == list(range(50))
    (tmp_path / "log").write_bytes(sink.data)
    assert checked(tmp_path / "log") == []
    assert caplog.text.count("cannot be written") == 1


def test_the_process_s_own_log_tells_where_the_audit_log_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    log = AuditLog(AuditWriter(FileSink(tmp_path / "log")))
    log.start()
    log.add(record())
    log.stop()
    head = log.head
    assert f"the audit log {head.log} is written up to 3:{head.chain} in its file 1" in caplog.text
    assert checked(tmp_path / "log", head=head) == []


def test_a_disk_that_stays_full_costs_the_rest_and_is_counted() -> None:
    log = AuditLog(AuditWriter(MemorySink(room=0)))
    log.start()
    log.add(record())
    log.stop()
    assert (log.dropped, log.written) == (1, 0)


def test_a_full_file_that_was_moved_away_is_given_up_and_the_next_tells(tmp_path: Path) -> None:
    sink = MemorySink(room=1000)
    log = AuditLog(AuditWriter(sink))
    log.start()
    for number in range(50):
        log.add(record(number))
    wait_for(lambda: log.failure)
    sink.moved = True
    wait_for(lambda: not log.failure)
    log.add(record(60))
    log.stop()
    before, after = tmp_path / "log.1", tmp_path / "log"
    before.write_bytes(sink.before[0])
    after.write_bytes(sink.data)
    assert log.written + log.dropped == 51
    assert len([line for line in sink.lines if "requestId" in line]) == sink.numbers.count(60) == 1
    verdict = verify([before, after])
    assert [str(each) for each in verdict.problems] == []
    assert verdict.logs[0].lost == log.dropped > 0


def test_a_record_that_cannot_be_written_down_is_counted_and_costs_no_other() -> None:
    sink = MemorySink()
    log = AuditLog(AuditWriter(sink))
    log.start()
    log.add(record(1))
    log.add(record(2, path="\ud800"))
    log.add(record(3))
    log.stop()
    assert (sink.numbers, log.written, log.dropped) == ([1, 3], 2, 1)


def test_a_defect_in_the_sink_does_not_end_the_log(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MemorySink):
        broken = True

        def write(self, data: memoryview) -> int:
            if self.broken:
                raise RuntimeError("a defect")
            return super().write(data)

    sink = Broken()
    log = AuditLog(AuditWriter(sink), when_full=WhenFull.DENY)
    log.start()
    log.add(record(1))
    wait_for(lambda: log.gate.closed)
    assert "a defect" in log.gate.closed
    sink.broken = False
    wait_for(lambda: not log.gate.closed)
    log.stop()
    assert sink.numbers == [1]


def test_when_told_to_deny_the_gate_closes_while_the_disk_is_full() -> None:
    sink = MemorySink(room=0)
    log = AuditLog(AuditWriter(sink), when_full=WhenFull.DENY)
    log.start()
    log.add(record(1))
    wait_for(lambda: log.gate.closed)
    assert "No space left on device" in log.gate.closed
    sink.room = None
    wait_for(lambda: not log.gate.closed)
    log.stop()
    assert sink.numbers == [1]


def test_when_told_to_deny_the_gate_closes_while_the_queue_is_full_and_calls_keep_their_lines() -> None:
    sink = HangingSink()
    log = AuditLog(AuditWriter(sink), when_full=WhenFull.DENY, max_waiting=10)
    log.start()
    assert sink.entered.wait(10)
    for number in range(10):
        log.add(record(number))
    closed = [log.gate.closed]
    log.add(record(10, attempts=1))  # let in before the gate closed
    closed.append(log.gate.closed)
    assert closed == ["", "10 audit records are waiting to be written"]
    log.add(record(11))  # refused
    sink.let_go.set()
    wait_for(lambda: not log.gate.closed)
    log.stop()
    assert (sink.numbers, log.dropped) == (list(range(11)), 1)


def test_when_told_to_deny_the_gate_closes_while_a_write_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate_dataplane.audit.log.STALL_SECONDS", 0.05)
    sink = HangingSink()
    log = AuditLog(AuditWriter(sink), when_full=WhenFull.DENY)
    log.start()
    assert sink.entered.wait(10)
    wait_for(lambda: log.failure)
    log.add(record(1))
    assert "hanging" in log.gate.closed
    sink.let_go.set()
    wait_for(lambda: not log.gate.closed)
    log.stop()
    assert sink.numbers == [1]


def test_many_records_are_written_before_the_next_flush_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate_dataplane.audit.log.FLUSH_SECONDS", 3600.0)
    log = AuditLog(AuditWriter(MemorySink()))
    log.start()
    for number in range(1100):
        log.add(record(number))
    wait_for(lambda: log.written >= 1024)
    log.stop()


def test_a_pipe_that_nobody_reads_bounds_memory_and_stops_in_time(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="nobody reads this pipe"):
        FileSink(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        log = AuditLog(AuditWriter(FileSink(path)), max_waiting=1000)
        log.start()
        for number in range(20_000):
            log.add(record(number))
        wait_for(lambda: log.dropped)
        began = time.monotonic()
        log.stop(timeout=0.5)
        assert time.monotonic() - began < 5
        assert log.waiting <= 1000
    finally:
        os.close(reader)
