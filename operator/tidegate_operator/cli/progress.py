"""How far a long command has come: a line that moves on a terminal, a plain line every few seconds elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_QUIET_SECONDS = 2.0
_EVERY_SECONDS = 5.0


class Progress:
    """Says on stderr what is being done, once that has taken two seconds."""

    def __init__(self, command: str, status: Any = None) -> None:
        self._command = command
        self._status = status
        self._doing = ""
        self._next = time.monotonic() + _QUIET_SECONDS

    def stage(self, doing: str) -> None:
        """From now on it does something else, such as `reading main`."""
        self._doing = doing
        self._show(doing)

    def step(self, done: int, total: int) -> None:
        """How much of it is done."""
        if total:
            self._show(f"{self._doing}: {done:,} of {total:,}")

    def _show(self, text: str) -> None:
        if self._status is not None:
            self._status.update(text)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY_SECONDS
            print(f"tidegate {self._command}: {text}", file=sys.stderr, flush=True)


@contextmanager
def progress(command: str) -> Iterator[Progress]:
    """A Progress while the block runs; on a terminal the line is gone afterwards."""
    if not sys.stderr.isatty():
        yield Progress(command)
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield Progress(command, status)
