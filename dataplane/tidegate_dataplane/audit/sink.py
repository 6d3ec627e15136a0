"""Where lines of the audit log go: a file that may be rotated, by us or by others, or standard output."""

import errno
import fcntl
import logging
import os
import stat
import sys
import time
from pathlib import Path
from typing import Protocol

from tidegate_dataplane.audit.ending import Ending, read_ending

_MODE = 0o640
_RETRY_SECONDS = 60.0
_log = logging.getLogger(__name__)


class Sink(Protocol):
    """What the writer needs. Every method may block or raise OSError; the writer's thread alone calls them."""

    ending: Ending

    def write(self, data: memoryview) -> int:
        """Write a part at least; returns how many bytes."""
        ...

    def flush(self) -> None:
        """After each portion of lines."""
        ...

    def was_moved(self) -> bool:
        """Whether somebody took the file away: then `reopen`."""
        ...

    def rotate_if_full(self) -> bool:
        """Move the file away ourselves, if it is time; returns whether that was done: then `reopen`."""
        ...

    def reopen(self) -> None:
        """Open the next file and set `ending` anew; on failure the old one stays open."""
        ...

    def close(self) -> None: ...


class StreamSink:
    """An open file descriptor that is not ours, such as standard output."""

    ending = Ending()

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: memoryview) -> int:
        return os.write(self._descriptor, data)

    def flush(self) -> None: ...

    def was_moved(self) -> bool:
        return False

    def rotate_if_full(self) -> bool:
        return False

    def reopen(self) -> None: ...

    def close(self) -> None: ...


class FileSink:
    """A file that is appended to, and opened anew when it was moved away (log rotation).

    With `max_bytes` the file is renamed to FILE.1, FILE.1 to FILE.2 and so on once it has that size; with `max_files`
    no more than so many rotated files are kept. With `fsync` each portion of lines is on the disk before the next.
    """

    def __init__(
        self,
        path: Path,
        *,
        check_seconds: float = 1.0,
        max_bytes: int = 0,
        max_files: int = 0,
        fsync: bool = False,
    ) -> None:
        """Open it; 0 means without limit. A move is noticed within `check_seconds`. Raises OSError."""
        self._path = path
        self._check_seconds = check_seconds
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._fsync = fsync
        self._not_before = 0.0
        self._open(look_back=True)
        self._checked = time.monotonic()

    def write(self, data: memoryview) -> int:
        written = os.write(self._descriptor, data)
        self._size += written
        return written

    def flush(self) -> None:
        if self._fsync and self._regular:
            os.fsync(self._descriptor)

    def was_moved(self) -> bool:
        now = time.monotonic()
        if not self._regular or now - self._checked < self._check_seconds:
            return False
        self._checked = now
        return self._is_elsewhere()

    def rotate_if_full(self) -> bool:
        """On failure the file stays where it is, and grows; tried again after a minute."""
        full = self._regular and 0 < self._max_bytes <= self._size
        if not full or time.monotonic() < self._not_before:
            return False
        try:
            if not self._is_elsewhere():
                _shift(self._path, self._max_files)
        except OSError as error:
            self._not_before = time.monotonic() + _RETRY_SECONDS
            _log.error("the audit file %s cannot be rotated: %s", self._path, error.strerror or error)
            return False
        return True

    def reopen(self) -> None:
        before = self._descriptor
        self._open(look_back=False)
        os.close(before)

    def close(self) -> None:
        os.close(self._descriptor)

    def _open(self, *, look_back: bool) -> None:
        descriptor = _open_for_append(self._path)
        try:
            status = os.fstat(descriptor)
            regular = stat.S_ISREG(status.st_mode)
            if regular:
                _lock(descriptor, self._path)
            ending = read_ending(self._path, look_back=look_back) if regular else Ending()
            if regular and self._fsync:
                _sync_folder(self._path)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor, self._regular, self._size, self.ending = descriptor, regular, status.st_size, ending
        self._not_before = 0.0

    def _is_elsewhere(self) -> bool:
        try:
            return not os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except OSError:
            return True


def _open_for_append(path: Path) -> int:
    """A pipe without a reader is an error and not a wait without end."""
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(path, flags, _MODE)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(error.errno, "nobody reads this pipe; start its reader first", str(path)) from None
        raise
    os.set_blocking(descriptor, True)
    return descriptor


def _lock(descriptor: int, path: Path) -> None:
    """Two writers in one file would tear its chain. Not every file system has locks; without, it is not noticed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OSError(error.errno, "another process writes this audit file; give each its own", str(path)) from None
    except OSError:
        pass


def _sync_folder(path: Path) -> None:
    """A file whose name is not on the disk is lost with the power, however often it is synced itself."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _shift(path: Path, keep: int) -> None:
    """FILE to FILE.1, FILE.1 to FILE.2 and so on, never over another one; a kill in between leaves a gap, which the
    next time fills. Raises OSError."""
    free = 1
    while _rotated(path, free):
        free += 1
    if 0 < keep < free:
        for number in range(keep, free):
            for each in _rotated(path, number):
                each.unlink()
        free = keep
    for number in range(free - 1, 0, -1):
        for each in _rotated(path, number):
            each.rename(each.with_name(each.name.replace(f"{path.name}.{number}", f"{path.name}.{number + 1}", 1)))
    path.rename(path.with_name(f"{path.name}.1"))


def _rotated(path: Path, number: int) -> list[Path]:
    """The file of that number, plain or compressed."""
    names = (f"{path.name}.{number}", f"{path.name}.{number}.gz")
    return [each for each in map(path.with_name, names) if each.exists()]


def make_sink(where: str, *, max_bytes: int = 0, max_files: int = 0, fsync: bool = False) -> Sink:
    """`where` is a path, or `-` for standard output. Raises OSError."""
    if where == "-":
        return StreamSink(sys.stdout.fileno())
    return FileSink(Path(where), max_bytes=max_bytes, max_files=max_files, fsync=fsync)
