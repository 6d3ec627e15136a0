"""The data plane's side of `worker.py`: started with the first text, started again when it was lost. Blocks; for
threads only."""

import atexit
import logging
import os
import select
import subprocess
import sys
import threading
import time
from typing import Final

from tidegate_dataplane.counting.encodings import Encoding
from tidegate_dataplane.counting.worker import ANSWER, ENCODINGS, QUESTION

# Far longer than loading a vocabulary and counting the longest text takes.
_PATIENCE_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)


class Worker:
    """One process for all encodings. `count` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._not_before = 0.0

    @property
    def pid(self) -> int | None:
        """None when no process runs."""
        return None if self._process is None else self._process.pid

    def count(self, text: str, encoding: Encoding) -> int | None:
        """Tokens of a text; None when it cannot be counted, for example while the process is lost."""
        data = text.encode("utf-8", "surrogatepass")
        with self._lock:
            if self._process is None and not self._start():
                return None
            try:
                return self._ask(QUESTION.pack(ENCODINGS.index(encoding), len(data)) + data)
            except (OSError, TimeoutError) as error:
                _log.warning("the counting process is lost (%s): tokens are estimated until it is back", error)
                self._stop()
                self._not_before = time.monotonic() + _PAUSE_SECONDS
                return None

    def close(self) -> None:
        """End the process; the next text starts another."""
        with self._lock:
            self._stop()

    def _ask(self, question: bytes) -> int | None:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise BrokenPipeError("it does not run")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        _write(process.stdin.fileno(), question, deadline)
        number: int = ANSWER.unpack(_read(process.stdout.fileno(), ANSWER.size, deadline))[0]
        return None if number < 0 else number

    def _start(self) -> bool:
        if time.monotonic() < self._not_before:
            return False
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tidegate_dataplane.counting.worker"],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C is for the data plane
            )
        except OSError as error:
            _log.warning("the counting process does not start (%s): tokens are estimated", error)
            self._not_before = time.monotonic() + _PAUSE_SECONDS
            return False
        if self._process.stdin is not None:
            os.set_blocking(self._process.stdin.fileno(), False)
        return True

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.wait()


def _write(pipe: int, data: bytes, deadline: float) -> None:
    left = memoryview(data)
    while left:
        _wait(pipe, select.POLLOUT, deadline)
        left = left[os.write(pipe, left) :]


def _read(pipe: int, size: int, deadline: float) -> bytes:
    found = b""
    while len(found) < size:
        _wait(pipe, select.POLLIN, deadline)
        part = os.read(pipe, size - len(found))
        if not part:
            raise BrokenPipeError("it ended")
        found += part
    return found


def _wait(pipe: int, what: int, deadline: float) -> None:
    """Not by select(), which knows no file descriptors above 1,023."""
    asked = select.poll()
    asked.register(pipe, what)
    if not asked.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise TimeoutError(f"no answer in {_PATIENCE_SECONDS:g} s")


WORKER: Final = Worker()
atexit.register(WORKER.close)
