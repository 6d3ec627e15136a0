"""Calls that wait until a quota has something left for them: `onExceed: Queue`.

For each counter one line, and only its head tries again: when the limit says that it may fit, when somebody gave
something back (`notify`), and now and then, since other data planes give back without telling. As soon as the head was
served, the next one tries. So however many wait, a window that begins is asked once at a time, in order of priority
and fairly between consumers.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tidegate_dataplane.ledger.demand import Excess
from tidegate_dataplane.pressure.line import RANKS, Line, Place
from tidegate_dataplane.snapshot.entries import Priority

POLL_SECONDS: Final = 0.5
"""How long a head waits at most before it tries again."""
NEVER: Final = float("inf")
_SHORTEST: Final = 0.005
R = TypeVar("R")


class _Call(Place):
    """`turn` gets True when the call is the head and may try, False when it has to go."""

    __slots__ = ("turn",)
    turn: "asyncio.Future[bool]"


class _Counter:
    """The line of one counter; `busy` while its head tries, `told` when something was given back since it began to."""

    __slots__ = ("busy", "line", "timer", "told")

    def __init__(self, most: int) -> None:
        self.line: Line[_Call] = Line(most)
        self.busy = self.told = False
        self.timer: asyncio.TimerHandle | None = None


class QuotaLines:
    """Belongs to one event loop. `most` bounds the calls that wait for one counter."""

    def __init__(self, most: int = 1024) -> None:
        self._most = most
        self._counters: dict[str, _Counter] = {}

    @property
    def waiting(self) -> int:
        """How many calls wait, for all counters together."""
        return sum(len(counter.line) + counter.busy for counter in self._counters.values())

    async def reserve(
        self,
        attempt: Callable[[], Awaitable[R | Excess]],
        excess: Excess,
        *,
        priority: Priority,
        consumer: str,
        longest: float,
    ) -> R | Excess:
        """What `attempt` comes to once it fits; the latest Excess when it does not within `longest` seconds, when the
        line is full, or when it never can (`retry_after` is inf). `excess` is what the first try came to.

        `attempt` tries to reserve once, by the clock of that moment; what it raises is passed on. It may still be
        under way when that time is up, for a reservation that was made is not thrown away.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + longest
        call = _Call(consumer, RANKS[priority])
        first = True
        while excess.retry_after != NEVER:
            key = excess.demand.key
            if not await self._turn(key, call, excess, deadline, first=first):
                break
            try:
                found = await attempt()
            except BaseException:
                self._next(key)
                raise
            if not isinstance(found, Excess):
                self._next(key)
                return found
            first, excess = found.demand.key != key, found
            if first or excess.retry_after == NEVER:
                self._next(key)
            else:
                self._counters[key].busy = False
        return excess

    def notify(self, key: str) -> None:
        """Something of the counter was given back: its head tries at once. Costs nothing when nobody waits."""
        if self._counters and (counter := self._counters.get(key)) is not None:
            counter.told = True
            asyncio.get_running_loop().call_soon(self._wake, key, counter)

    async def _turn(self, key: str, call: _Call, excess: Excess, deadline: float, *, first: bool) -> bool:
        """Whether it is the call's turn to try; one that has tried already keeps its place."""
        loop = asyncio.get_running_loop()
        call.turn = loop.create_future()
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = _Counter(self._most)
        leaving = None
        if first:
            leaving = counter.line.join(call)
        else:
            counter.line.put_back(call)
        if leaving is not None and not leaving.turn.done():
            leaving.turn.set_result(False)
        if not first or counter.timer is None:
            self._try_in(key, counter, excess.retry_after)
        end = loop.call_at(deadline, _end, call)
        try:
            return await call.turn
        except asyncio.CancelledError:
            if call.turn.done() and not call.turn.cancelled() and call.turn.result():
                self._next(key)
            raise
        finally:
            end.cancel()
            counter.line.leave(call)
            self._forget(key, counter)

    def _try_in(self, key: str, counter: _Counter, seconds: float) -> None:
        if counter.timer is not None:
            counter.timer.cancel()
        wait = _SHORTEST if counter.told else max(_SHORTEST, min(seconds, POLL_SECONDS))
        counter.timer = asyncio.get_running_loop().call_later(wait, self._wake, key, counter)

    def _wake(self, key: str, counter: _Counter) -> None:
        """Let the head try."""
        if counter.busy:
            return
        while len(counter.line):
            call = counter.line.take()
            if not call.turn.done():
                counter.busy, counter.told = True, False
                call.turn.set_result(True)
                return
        self._forget(key, counter)

    def _next(self, key: str) -> None:
        """The head is through: the one behind it tries."""
        counter = self._counters[key]
        counter.busy = False
        self._wake(key, counter)

    def _forget(self, key: str, counter: _Counter) -> None:
        if not counter.busy and not len(counter.line) and self._counters.get(key) is counter:
            if counter.timer is not None:
                counter.timer.cancel()
            del self._counters[key]


def _end(call: _Call) -> None:
    if not call.turn.done():
        call.turn.set_result(False)
