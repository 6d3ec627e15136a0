"""Who tells: a claim on an alert's name, which at most one data plane holds at a time."""

import time
from collections.abc import Callable
from typing import Protocol

from tidegate_dataplane.store.protocol import EpochChanged, Store, StoreUnavailable


class ClaimUnavailable(Exception):
    """Nobody can say now whether the name is free; the message says why."""


class Claims(Protocol):
    """Names that are held for a time by whoever came first. Both methods raise ClaimUnavailable."""

    async def claim(self, name: str, seconds: float) -> bool:
        """Hold `name` for so long; False when somebody holds it already."""
        ...

    async def keep(self, name: str, seconds: float) -> None:
        """Hold what was claimed for so long from now on."""
        ...


class StoreClaims:
    """Claims over all data planes, in the shared store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def claim(self, name: str, seconds: float) -> bool:
        try:
            return await self._store.claim(name, seconds)
        except (StoreUnavailable, EpochChanged) as error:
            raise ClaimUnavailable(str(error)) from None

    async def keep(self, name: str, seconds: float) -> None:
        # To claim again what one has is to prolong it; what somebody else has by now stays theirs.
        await self.claim(name, seconds)


class ProcessClaims:
    """Claims of one process: without a shared store, each data plane tells by itself. At most `most` names."""

    def __init__(self, *, most: int = 100_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._until: dict[str, float] = {}

    async def claim(self, name: str, seconds: float) -> bool:
        now = self._clock()
        if self._until.get(name, now) > now:
            return False
        self._hold(name, now + seconds)
        return True

    async def keep(self, name: str, seconds: float) -> None:
        self._hold(name, self._clock() + seconds)

    def _hold(self, name: str, until: float) -> None:
        self._until.pop(name, None)
        self._until[name] = until
        if len(self._until) > self._most:
            del self._until[next(iter(self._until))]
