"""A time limit that does not take a busy event loop for a slow store."""

import asyncio
from types import TracebackType
from typing import Final

# One turn of the event loop, for what has already come.
_GRACE_SECONDS: Final = 0.002


class Deadline:
    """`async with Deadline(seconds)`: raises TimeoutError, as asyncio.timeout does, a little later.

    An event loop that was held up sees its timers before what arrived meanwhile. So when the time is over, the loop
    first gets a turn to read.
    """

    __slots__ = ("_loop", "_seconds", "_timeout", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._timeout.__aenter__()
        self._timer = self._loop.call_later(self._seconds, self._over)

    def _over(self) -> None:
        self._timer = self._loop.call_later(_GRACE_SECONDS, self._expire)

    def _expire(self) -> None:
        self._timeout.reschedule(self._loop.time())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)
