"""A real data plane under load, killed or told to stop: what of its audit log is there afterwards."""

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

from cluster.harness.processes import ChildProcess, free_port, wait_for_http
from dataplane.audit_logs import AUDIT_KEY
from dataplane.factory import KEY, bundle_of, shard
from dataplane.raw_http import chat, read_answer, request
from dataplane.waiting import until
from tidegate_dataplane.audit.log import FLUSH_SECONDS
from tidegate_dataplane.audit.verify import verify
from tidegate_dataplane.snapshot.bundle import encode_bundle

# The stated bound is FLUSH_SECONDS and the time of one write; a busy machine may be late by this much.
BOUND = FLUSH_SECONDS + 0.45
CALLERS = 8


class Plane:
    """A data plane of its own process, with a keyed log that it rotates."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "audit.jsonl"
        self.port, self._admin = free_port(), free_port()
        self._folder = folder
        (folder / "key").write_bytes(AUDIT_KEY)
        (folder / "snapshot.json").write_bytes(encode_bundle(bundle_of(shard())))

    def start(self) -> ChildProcess:
        command = [sys.executable, "-m", "tidegate_dataplane.main", "--no-api", "--drain-delay=0s"]
        command += ["--listen", f"127.0.0.1:{self.port}", "--admin-listen", f"127.0.0.1:{self._admin}"]
        command += ["--snapshot-file", str(self._folder / "snapshot.json"), "--audit-file", str(self.log)]
        command += ["--audit-key-file", str(self._folder / "key"), "--audit-max-bytes", "200000"]
        process = ChildProcess("dataplane", command, log=self._folder / "log")
        wait_for_http(f"http://127.0.0.1:{self._admin}/-/ready", deadline=30, process=process)
        return process

    @property
    def files(self) -> list[Path]:
        return sorted(self.log.parent.glob("audit.jsonl*"))

    def ids(self) -> set[str]:
        """Of the requests in whole lines."""
        whole = [line for file in self.files for line in file.read_bytes().split(b"\n")[:-1]]
        return {line["requestId"] for line in map(_read, whole) if "requestId" in line}


def _read(line: bytes) -> dict[str, str]:
    """A torn line tells nothing."""
    try:
        found: dict[str, str] = json.loads(line)
    except ValueError:
        return {}
    return found


async def load(port: int, answered: dict[str, float], end: asyncio.Event) -> None:
    """Ask until the connection breaks; notes when each request was answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while not end.is_set():
            writer.write(request(chat(), key=KEY))
            found = await read_answer(reader)
            answered[found.headers["x-request-id"]] = time.monotonic()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def killed_under_load(plane: Plane, *, requests: int) -> tuple[dict[str, float], float]:
    """Which requests were answered when, and when the process was killed."""
    process = await asyncio.to_thread(plane.start)
    answered: dict[str, float] = {}
    end = asyncio.Event()
    callers = [asyncio.create_task(load(plane.port, answered, end)) for _ in range(CALLERS)]
    try:
        began = time.monotonic()
        await until(lambda: len(answered) >= requests and time.monotonic() - began > 2 * BOUND, seconds=60)
        at = time.monotonic()
        process.kill9()
    finally:
        end.set()
        await asyncio.gather(*callers)
        process.stop()
    return answered, at


async def test_a_kill_costs_at_most_what_is_younger_than_the_bound(tmp_path: Path) -> None:
    plane = Plane(tmp_path)
    answered: dict[str, float] = {}
    for _ in range(3):
        of_this_run, killed = await killed_under_load(plane, requests=500)
        old = {request_id for request_id, at in of_this_run.items() if at < killed - BOUND}
        assert old
        assert old - plane.ids() == set()
        answered |= dict.fromkeys(old, killed)
    verdict = verify(plane.files, keys=[AUDIT_KEY])
    # The last kill may have torn a line, or struck as a file was begun; the earlier ones are told of by the process
    # after them.
    marks = ("is torn", "is empty")
    assert [each.message for each in verdict.problems if not any(mark in each.message for mark in marks)] == []
    assert verdict.found <= 1
    assert verdict.logs[0].records >= len(answered)
    assert verdict.logs[0].last_file > 1
    assert [len(verdict.logs), verdict.logs[0].closed] == [1, False]


async def test_nothing_is_lost_when_told_to_stop(tmp_path: Path) -> None:
    plane = Plane(tmp_path)
    process = await asyncio.to_thread(plane.start)
    answered: dict[str, float] = {}
    end = asyncio.Event()
    callers = [asyncio.create_task(load(plane.port, answered, end)) for _ in range(CALLERS)]
    await until(lambda: len(answered) >= 200, seconds=60)
    process.signal(signal.SIGTERM)
    await asyncio.gather(*callers)
    await asyncio.to_thread(process.wait)
    assert process.exit_code == 0
    assert set(answered) - plane.ids() == set()
    verdict = verify(plane.files, keys=[AUDIT_KEY])
    assert verdict.valid
    assert verdict.logs[0].closed
