"""The whole process under pressure: how many calls begin in one turn of the event loop, and whose.

A saturated loop serves its connections one after another, so whoever has fifty times the connections of another gets
fifty times the time. Here only so many calls begin in a turn; the others wait, and the next turn takes them from all
consumers alike. This needs no measure of saturation: while the loop keeps up, nobody waits; when it does not, its turns
are full, and what waits in line costs nothing, for its connection brings no next call. A flood is so slowed down to
what the others leave.

It stands behind identification (whoever is unknown is refused earlier) and before the body is parsed and decided on, so
that a call that has to go away has cost little, and nothing that was decided grows old in the line.
"""

import asyncio
from typing import Final

from tidegate_dataplane.pressure.gate import Shed, ShedReason, Waiting, longest_wait
from tidegate_dataplane.pressure.line import RANKS, Line
from tidegate_dataplane.settings import Pressure
from tidegate_dataplane.snapshot.entries import Priority

_CALM_SECONDS: Final = 0.5
"""A call that has to go away is answered only after that time: a caller that comes again at once would otherwise take
more of the loop by being refused than by being served."""


class Turns:
    """Belongs to one event loop. `begin` costs an addition and a comparison; False means: `await wait(...)`."""

    __slots__ = ("_begun", "_line", "_loop", "_most", "_options", "held_back")

    def __init__(self, options: Pressure) -> None:
        self._options = options
        self._most = options.calls_per_turn
        self._begun = 0
        self._line: Line[Waiting] = Line(options.process_queue)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.held_back = 0  # how many calls had to wait, ever

    @property
    def waiting(self) -> int:
        """How many calls stand in line."""
        return len(self._line)

    def begin(self) -> bool:
        """Whether the call may begin in this turn."""
        begun = self._begun
        if begun >= self._most:
            return False
        if begun == 0:
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self._next_turn)
        self._begun = begun + 1
        return True

    async def wait(self, consumer: str, priority: Priority) -> None:
        """Wait for a turn, as long as the priority may. Raises Shed."""
        self.held_back += 1
        loop = asyncio.get_running_loop()
        place = Waiting(consumer, RANKS[priority], loop.create_future())
        leaving = self._line.join(place)
        if leaving is not None and not leaving.turn.done():
            leaving.turn.set_result(ShedReason.PUSHED_OUT if leaving is not place else ShedReason.FULL)
        if not self._begun:
            self._begun = self._most
            loop.call_soon(self._next_turn)
        timer = loop.call_later(longest_wait(self._options.wait_seconds, priority), self._time_up, place)
        try:
            refused = await place.turn
        finally:
            timer.cancel()
            self._line.leave(place)
        if refused is not None:
            await asyncio.sleep(_CALM_SECONDS)
            raise Shed(refused, priority)

    def _next_turn(self) -> None:
        self._begun = 0
        line, most = self._line, self._most
        while len(line) and self._begun < most:
            place = line.take()
            if not place.turn.done():
                self._begun += 1
                place.turn.set_result(None)
        if self._begun:
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _time_up(self, place: Waiting) -> None:
        if not place.turn.done():
            self._line.leave(place)
            place.turn.set_result(ShedReason.TIMEOUT)
