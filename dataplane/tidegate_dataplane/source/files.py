"""Polling files: whether something changed, by what the file system says without reading.

The kubelet swaps a mounted ConfigMap by renaming the link `..data`, so its target is part of the signature.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from pathlib import Path

from tidegate_dataplane.source.backoff import Backoff
from tidegate_dataplane.source.state import Health, SourceState

POLL_SECONDS = 1.0
_log = logging.getLogger(__name__)

Signature = tuple[object, ...]


def signature_of(path: Path) -> Signature:
    """What changes when the file, or the directory's list of files, does. Raises OSError when it is missing."""
    found = path.stat()
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def directory_signature(directory: Path) -> Signature:
    """As `signature_of`, for all files in it (not in directories below). Raises OSError."""
    data = directory / "..data"
    link = data.readlink() if data.is_symlink() else None
    files = sorted(each for each in directory.iterdir() if not each.name.startswith("."))
    return (link, *((each.name, *signature_of(each)) for each in files))


class PolledSource(ABC):
    """Looks every `poll` seconds; delivers when the signature changed or the last delivery was not the end of it."""

    def __init__(self, name: str, path: Path, *, poll: float = POLL_SECONDS) -> None:
        self.path = path
        self.state = SourceState(name)
        self._poll = poll
        self._delivered: Signature | None = None

    @property
    def states(self) -> tuple[SourceState, ...]:
        return (self.state,)

    @abstractmethod
    def signature(self) -> Signature:
        """Runs in a thread; may raise OSError."""

    @abstractmethod
    async def deliver(self) -> bool:
        """Read and offer; return whether this state of the files is dealt with. May raise OSError."""

    async def run(self) -> None:
        """Poll until cancelled."""
        backoff = Backoff(self._poll / 10, max(self._poll, 1.0))
        while True:
            pause = self._poll
            try:
                if await self._look():
                    backoff.reset()
                else:
                    pause = backoff.wait()
            except OSError as error:
                self._failed(error)
                self._delivered = None
            await asyncio.sleep(pause)

    async def _look(self) -> bool:
        signature = await asyncio.to_thread(self.signature)
        if signature == self._delivered:
            return True
        done = await self.deliver()
        # Taken before reading: what changed while we read is seen the next time.
        self._delivered = signature if done else None
        return done

    def _failed(self, error: OSError) -> None:
        message = f"{error.filename or self.path}: {error.strerror or error}"
        if self.state.message != message:
            _log.warning("cannot read a source, trying again: %s", message)
        self.state.set(Health.FAILING, message)
