"""A store that answers as a test tells it, when it tells it to: for what happens between question and answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence

from tidegate_dataplane.store.protocol import (
    Answer,
    Declared,
    Kind,
    Line,
    Position,
    Reason,
    Result,
    Status,
    StoreState,
    StoreUnavailable,
)

Answering = Callable[[Line], Result]


def granting(line: Line) -> Result:
    """All that is needed, and all that is wanted of a bucket's tokens; nothing is anybody else's."""
    granted = line.keep + line.need
    if line.kind == Kind.BUCKET:
        granted = max(line.need, line.want)
    return Result(Status.OK, line.slot, granted, granted, granted, line.used, 0, 0)


def refusing(line: Line) -> Result:
    """As a counter that is used up."""
    return Result(Status.REFUSED, line.slot, line.keep, line.limit, line.limit, line.limit, 5_000, 1)


def rebuilding(line: Line) -> Result:
    """As a store that waits for data planes to declare."""
    if not line.need:
        return granting(line)
    return Result(Status.REBUILDING, line.slot, line.keep, line.keep, line.keep, line.used, 5_000, 0)


class ToldStore:
    """A Store. `answer` makes the result of a line; while `held` is not set, answers wait. `asked` are all lines."""

    def __init__(self, answer: Answering = granting) -> None:
        self.answer = answer
        self.free = asyncio.Event()
        self.free.set()
        self.batches: list[list[list[Line]]] = []
        self.connected = True
        self.server_ms: int | None = None
        self.confirmed_at = float("-inf")

    @property
    def asked(self) -> list[Line]:
        """The lines that asked for something."""
        return [line for batch in self.batches for lines in batch for line in lines if line.need]

    async def exchange(self, decisions: Sequence[Sequence[Line]]) -> Answer:
        """See Store."""
        if not self.connected:
            raise StoreUnavailable(Reason.LOST)
        sent = time.monotonic()
        self.batches.append([list(lines) for lines in decisions])
        await self.free.wait()
        if not self.connected:
            raise StoreUnavailable(Reason.LOST)
        self.confirmed_at = sent
        results = [[self.answer(line) for line in lines] for lines in decisions]
        now = int(time.time() * 1000) if self.server_ms is None else self.server_ms
        return Answer(1, now, 1, [_all_or_nothing(each) for each in results])

    async def declare(self, rows: Sequence[Declared], known_owners: Collection[bytes] | None) -> list[Result]:
        """See Store."""
        return [Result(Status.OK, row.slot, row.keep, row.total, row.total, row.used, 0, 0) for row in rows]

    async def claim(self, name: str, seconds: float) -> bool:
        """See Store."""
        return True

    def on_epoch_changed(self, call: Callable[[], None]) -> None:
        """See Store."""

    @property
    def state(self) -> StoreState:
        """See Store."""
        reason = Reason.NONE if self.connected else Reason.LOST
        return StoreState(self.connected, reason, 0.0, self.confirmed_at, must_declare=False, owners=1, opened=0)

    @property
    def position(self) -> Position:
        """See Store."""
        return Position(bytes(16))

    @property
    def known_owners(self) -> frozenset[bytes]:
        """See Store."""
        return frozenset()

    async def start(self) -> None:
        """See Store."""

    async def aclose(self) -> None:
        """See Store."""


def _all_or_nothing(results: list[Result]) -> list[Result]:
    if any(result.status != Status.OK for result in results):
        for result in results:
            if result.status == Status.OK:
                result.status = Status.NOT_TRIED
    return results
