"""Child processes of the cluster tests: start, stop, kill, wait for, read the log of.

A child never outlives its parent, even when the parent is killed: on Linux the kernel is asked to
kill it then. It runs in a session of its own, so that Ctrl-C in a terminal reaches only the parent,
which then stops its children in the right order.
"""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

POLL_INTERVAL = 0.025
"""Seconds between two looks at a condition that is waited for."""

_PORTS = range(20000, 32000)
"""Below Linux' ephemeral ports (32768 and up), so that no outgoing connection takes a port that a
server gives up for the time of its restart."""

# Runs between fork and exec as a program of its own, because `preexec_fn` may deadlock in a parent
# that has threads. 1 is PR_SET_PDEATHSIG. The second look at the parent closes the race in which the
# parent died before the signal was asked for.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
parent, argv = int(sys.argv[1]), sys.argv[2:]
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != parent:
    sys.exit("the parent is gone")
try:
    os.execvp(argv[0], argv)
except OSError as error:
    sys.exit(f"cannot run {argv[0]}: {error.strerror}")
"""


class ProcessFailed(RuntimeError):
    """A child ended or did not become ready; the message holds the end of its log."""


class DeadlineExceeded(ProcessFailed):
    """What was waited for did not happen in time."""


def free_port(*, consecutive: int = 1) -> int:
    """A loopback TCP port that nothing listens on now, or the first of so many `consecutive` ones.

    Chosen at random, so that two sessions on one machine rarely meet.
    """
    for port in random.sample(_PORTS, k=len(_PORTS)):
        if all(is_free(port + offset) for offset in range(consecutive)):
            return port
    raise RuntimeError(f"no free port on 127.0.0.1 between {_PORTS.start} and {_PORTS.stop}")


def is_free(port: int) -> bool:
    """Whether a server could listen on that loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def wait_until(
    condition: Callable[[], bool],
    *,
    what: str,
    deadline: float = 10.0,
    process: ChildProcess | None = None,
) -> float:
    """Poll `condition` until it is true; returns the seconds that took.

    Raises DeadlineExceeded after `deadline` seconds, and ProcessFailed at once when `process` ends.
    """
    start = time.monotonic()
    while not condition():
        if process is not None and not process.alive:
            raise ProcessFailed(f"{what}: {process.name} ended with {process.exit_code}\n{process.log_tail()}")
        if time.monotonic() - start > deadline:
            tail = f"\n{process.log_tail()}" if process is not None else ""
            raise DeadlineExceeded(f"{what}: not within {deadline:g} s{tail}")
        time.sleep(POLL_INTERVAL)
    return time.monotonic() - start


def http_status(url: str, *, timeout: float = 2.0) -> int | None:
    """The status that a GET of a plain-HTTP `url` answers with; None when nobody answers."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=timeout)
    try:
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def wait_for_http(url: str, *, status: int = 200, deadline: float = 20.0, process: ChildProcess | None = None) -> float:
    """Wait until a GET of `url` answers `status`; returns the seconds that took. Raises as `wait_until`."""
    return wait_until(
        lambda: http_status(url) == status,
        what=f"waiting for {status} from {url}",
        deadline=deadline,
        process=process,
    )


class ChildProcess:
    """One running program whose output goes to a file. Use as a context manager, or call `stop`.

    Start it from a thread that lives on: Linux ties the death signal to the thread that forked.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start `argv`; `env` is added to this process's own environment. Output is appended to `log`."""
        self.name = name
        self.log = log
        self._ended = False
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                _guarded([str(part) for part in argv]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative is the signal that ended it."""
        return self._process.poll()

    @property
    def resident_bytes(self) -> int:
        """Memory that the process holds now (RSS, /proc; Linux only)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def stop(self, *, grace: float = 5.0) -> None:
        """Ask it to end (SIGTERM), then kill it after `grace` seconds. Does nothing when it has ended."""
        stop_all([self], grace=grace)

    def wait(self, *, deadline: float = 20.0) -> None:
        """Wait until it has ended by itself; raises subprocess.TimeoutExpired."""
        self._process.wait(deadline)

    def kill9(self) -> None:
        """SIGKILL, as a node failure would: no handler runs, nothing is flushed."""
        self._process.kill()
        self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send any other signal, such as SIGSTOP and SIGCONT for a process that hangs."""
        self._process.send_signal(number)

    def ask_until_it_ends(self, *, deadline: float = 20.0) -> int:
        """SIGTERM every millisecond; returns how often. Raises subprocess.TimeoutExpired."""
        until = time.monotonic() + deadline
        times = 0
        while self.alive:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(self._process.args, deadline)
            self._process.send_signal(signal.SIGTERM)
            times += 1
            time.sleep(0.001)
        return times

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of the log under a heading that names the file."""
        tail = "\n".join(self.log_text().splitlines()[-lines:])
        return f"--- end of {self.log} ---\n{tail}"

    def wait_for_log(self, text: str, *, deadline: float = 20.0) -> float:
        """Wait until `text` stands in the log; returns the seconds that took. Raises as `wait_until`."""
        return wait_until(
            lambda: text in self.log_text(),
            what=f"waiting for {text!r} in the log of {self.name}",
            deadline=deadline,
            process=self,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def stop_all(processes: Iterable[ChildProcess], *, grace: float = 5.0) -> None:
    """Ask all of them to end at once, then wait for each, so that their grace periods run side by side."""
    asked = [process for process in processes if process.alive]
    for process in asked:
        process.signal(signal.SIGTERM)
    for process in asked:
        try:
            process.wait(deadline=grace)
        except subprocess.TimeoutExpired:
            process.kill9()


def _guarded(argv: list[str]) -> list[str]:
    if sys.platform != "linux":
        return argv
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *argv]
