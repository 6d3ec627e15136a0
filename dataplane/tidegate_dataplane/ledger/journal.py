"""What this data plane has used of shared limits, in a file that outlives it.

A table of fixed rows, mapped into memory: writing a figure is writing memory, and the kernel keeps what was written
when the process is killed. Rows are dense and never move while they live, so that a row number stays good; an open-
addressed index finds the row of a counter (128 bits of its key) and slot (see store/protocol.py). Without a path the
table lives in memory alone and is gone with the process.

The file's blocks are allocated before they are mapped, for writing to a page without one kills the process when the
disk is full. A file that cannot grow is emptied and left, and the table goes on in memory: an old file would later
speak of less than was used.

One process at a time: the file is locked. All integers are 64 bits, signed, of this machine's byte order.
"""

import asyncio
import fcntl
import logging
import mmap
import os
import secrets
from array import array
from collections.abc import Iterator
from pathlib import Path
from struct import unpack
from typing import Final

from tidegate_dataplane.store.protocol import OWNER_BYTES, Position

_log = logging.getLogger(__name__)

# Columns of a row. LOW and HIGH are the counter's key. The figures are this data plane's own in SLOT; OTHERS is what
# all other data planes had been granted in it, when the store last said so. SEEN is for whoever looks for idle rows.
LOW, HIGH, SLOT, USED, HELD, GRANTED, OTHERS, KIND, WIDTH, END, SEEN, STATE = range(12)
COLUMNS: Final = 12
# STATE: 0 free, 1 in use.
_MAGIC: Final = int.from_bytes(b"tidegte1", "little")
_HEADER: Final = 64  # integers
_VERSION, _OWNER, _SEQUENCE, _ACKNOWLEDGED, _EPOCH, _ROWS, _OWNERS = 1, 2, 4, 5, 6, 7, 8
# A batch may have been sent and not noted when the process was killed: numbers go on well beyond it.
_LEAP: Final = 1_000_000
SYNC_SECONDS: Final = 1.0
_FIRST_ROWS: Final = 1_024
_FIRST_SIZE: Final = (_HEADER + _FIRST_ROWS * COLUMNS) * 8
_EMPTY, _GONE = 0, 1  # in the index; rows are stored with 2 added


class JournalError(ValueError):
    """The file cannot be used; the message says what to do."""


class Journal:
    """The table. `cells` is the flat view of all integers: row `r`, column `c` is `cells[base(r) + c]`."""

    def __init__(self, path: Path | None = None) -> None:
        """Open or make it. Raises JournalError, or OSError when the file cannot be opened."""
        self.path = path
        self._fd = None if path is None else _open(path)
        self._free: list[int] = []
        self._index = array("I")
        self._marks = 0
        self._live = 0
        self._left = False
        try:
            self._map = _in_memory(_FIRST_SIZE) if self._fd is None else self._read(self._fd)
        except BaseException:
            if self._fd is not None:
                os.close(self._fd)
            raise
        self.cells = memoryview(self._map).cast("q")
        if not self.cells[0]:
            self.cells[:_HEADER] = _new_header()
        self._read_rows()

    @property
    def position(self) -> Position:
        """Where this data plane stands with the store, for a process that begins."""
        owner = bytes(self.cells[_OWNER : _OWNER + 2].cast("B"))
        sequence = self.cells[_SEQUENCE]
        return Position(owner, sequence + _LEAP if sequence else 0, self.cells[_ACKNOWLEDGED], self.cells[_EPOCH])

    def note(self, position: Position) -> None:
        """Remember it, after each exchange."""
        self.cells[_SEQUENCE] = position.sequence
        self.cells[_ACKNOWLEDGED] = position.acknowledged
        self.cells[_EPOCH] = position.epoch

    @property
    def owners(self) -> int:
        """How many data planes there were when the store was heard of last; 0: it never was."""
        return self.cells[_OWNERS]

    @owners.setter
    def owners(self, owners: int) -> None:
        self.cells[_OWNERS] = owners

    @property
    def live(self) -> int:
        """Number of rows in use."""
        return self._live

    def find(self, low: int, high: int, slot: int) -> int:
        """Where the row of a counter and slot begins in `cells`; 0 when there is none."""
        index, cells = self._index, self.cells
        mask = len(index) - 1
        place = (low ^ slot * 0x9E3779B1) & mask
        while (mark := index[place]) != _EMPTY:
            if mark != _GONE:
                at = _HEADER + (mark - 2) * COLUMNS
                if cells[at + LOW] == low and cells[at + SLOT] == slot and cells[at + HIGH] == high:
                    return at
            place = (place + 1) & mask
        return 0

    def add(self, low: int, high: int, slot: int, kind: int, width: int, end: int) -> int:
        """A new row, all figures zero; `end` (milliseconds of the store's clock, 0: never) is when it may go."""
        row = self._free.pop() if self._free else self._grow()
        at = _HEADER + row * COLUMNS
        cells = self.cells
        cells[at + LOW], cells[at + HIGH], cells[at + SLOT] = low, high, slot
        cells[at + USED] = cells[at + HELD] = cells[at + GRANTED] = cells[at + OTHERS] = 0
        cells[at + KIND], cells[at + WIDTH], cells[at + END], cells[at + SEEN] = kind, width, end, 0
        cells[at + STATE] = 1
        self._live += 1
        if (self._marks + 1) * 2 > len(self._index):
            self._rebuild()
        else:
            self._enter(row)
        return at

    def drop(self, at: int) -> None:
        """Forget a row."""
        row = (at - _HEADER) // COLUMNS
        cells, index = self.cells, self._index
        mask = len(index) - 1
        place = (cells[at + LOW] ^ cells[at + SLOT] * 0x9E3779B1) & mask
        while index[place] != row + 2:
            place = (place + 1) & mask
        index[place] = _GONE
        cells[at + STATE] = 0
        self._live -= 1
        self._free.append(row)

    @property
    def count(self) -> int:
        """Number of rows, free ones included."""
        return self.cells[_ROWS]

    def at(self, row: int) -> int:
        """Where a row begins in `cells`; 0 when it is free."""
        at = _HEADER + row * COLUMNS
        return at if self.cells[at + STATE] else 0

    def rows(self) -> Iterator[int]:
        """Where each row in use begins; rows may be dropped meanwhile."""
        for row in range(self.cells[_ROWS]):
            at = _HEADER + row * COLUMNS
            if self.cells[at + STATE]:
                yield at

    async def keep_on_disk(self) -> None:
        """Once a second, in a thread: what a machine forgets whose power fails is no more than that. The kernel keeps
        what only the process loses. Never ends, but for a disk that fails."""
        while self._fd is not None:
            await asyncio.sleep(SYNC_SECONDS)
            writing = asyncio.ensure_future(asyncio.to_thread(os.fdatasync, self._fd))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await asyncio.wait([writing])  # the file is about to be closed
                raise
            except OSError as error:
                _log.error("the usage journal %s cannot be written to its disk (%s)", self.path, error.strerror)
                return

    def close(self) -> None:
        """Unlock the file."""
        self.cells.release()
        self._map.close()
        if self._fd is not None:
            os.close(self._fd)

    def _read(self, fd: int) -> mmap.mmap:
        size = os.fstat(fd).st_size
        if not size:
            # The header first: should the process be killed right now, the file is one that can be read.
            os.pwrite(fd, _new_header(), 0)
            size = _HEADER * 8
        head = array("q")
        head.frombytes(os.pread(fd, _HEADER * 8, 0).ljust(_HEADER * 8, b"\0"))
        if head[0] != _MAGIC or head[_VERSION] != COLUMNS:
            raise JournalError(
                f"{self.path} is no usage journal of this version: give another path, or remove the file"
            )
        if (_HEADER + head[_ROWS] * COLUMNS) * 8 > size or size % 8:
            raise JournalError(f"{self.path} has lost its end: remove it; the store still knows what it was told")
        size = max(size, _FIRST_SIZE)
        os.posix_fallocate(fd, 0, size)
        return mmap.mmap(fd, size)

    def _grow(self) -> int:
        row = self.cells[_ROWS]
        if _HEADER + (row + 1) * COLUMNS > len(self.cells):
            size = (_HEADER + 2 * row * COLUMNS) * 8
            if self._fd is None or self._left:
                self._move(size)
            else:
                self._grow_file(self._fd, size)
        self.cells[_ROWS] = row + 1
        return row

    def _grow_file(self, fd: int, size: int) -> None:
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            _log.error(
                "the usage journal %s cannot grow (%s): what is used is noted in memory alone until a restart; make "
                "room on its disk",
                self.path,
                error.strerror,
            )
            self._move(size)
            self._left = True
            os.ftruncate(fd, 0)  # the lock stays
            return
        self.cells.release()
        self._map.resize(size)
        self.cells = memoryview(self._map).cast("q")

    def _move(self, size: int) -> None:
        """To more memory."""
        larger = _in_memory(size)
        larger[: len(self._map)] = self._map[:]
        self.cells.release()
        self._map.close()
        self._map = larger
        self.cells = memoryview(larger).cast("q")

    def _read_rows(self) -> None:
        """What an earlier process held is held no more: it was killed, or has settled all of it."""
        cells = self.cells
        for row in range(cells[_ROWS]):
            at = _HEADER + row * COLUMNS
            if cells[at + STATE]:
                cells[at + HELD] = 0
                cells[at + GRANTED] = cells[at + USED]
                self._live += 1
            else:
                self._free.append(row)
        self._rebuild()

    def _rebuild(self) -> None:
        size = 1 << max(10, (2 * self._live + 2).bit_length())
        self._index = array("I", [0]) * size
        self._marks = 0
        for at in self.rows():
            self._enter((at - _HEADER) // COLUMNS)

    def _enter(self, row: int) -> None:
        at = _HEADER + row * COLUMNS
        index = self._index
        mask = len(index) - 1
        place = (self.cells[at + LOW] ^ self.cells[at + SLOT] * 0x9E3779B1) & mask
        while index[place] > _GONE:
            place = (place + 1) & mask
        if index[place] == _EMPTY:
            self._marks += 1
        index[place] = row + 2


def _new_header() -> memoryview:
    header = array("q", bytes(8 * _HEADER))
    header[0], header[_VERSION] = _MAGIC, COLUMNS
    header[_OWNER], header[_OWNER + 1] = unpack("=qq", secrets.token_bytes(OWNER_BYTES))
    return memoryview(header)


def _in_memory(size: int) -> mmap.mmap:
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise JournalError(f"{path} is in use by another process: give each data plane a journal of its own") from None
    return fd
