"""The alerts of late, for `/-/quotas` and `/-/status`, and for whoever waits for the next one."""

import asyncio
from collections import deque
from enum import StrEnum
from typing import Final

from msgspec import Struct

from tidegate_dataplane.alerts.alert import Alert

KEPT: Final = 1_000


class Teller(StrEnum):
    """Which data plane told of an alert: nobody yet, this one, or another."""

    PENDING = "Pending"
    HERE = "Here"
    ELSEWHERE = "Elsewhere"


class Noted(Struct, rename="camel", eq=False):
    """An alert that this data plane has seen. `seq` rises by one; `webhook` says how the delivery fares, "" without."""

    seq: int
    alert: Alert
    told: Teller = Teller.PENDING
    webhook: str = ""


class RecentAlerts:
    """The last KEPT ones, the oldest first. Belongs to one event loop."""

    def __init__(self, kept: int = KEPT) -> None:
        self._noted: deque[Noted] = deque(maxlen=kept)
        self._changed = asyncio.Event()
        self.seq = 0

    def add(self, alert: Alert) -> Noted:
        self.seq += 1
        noted = Noted(self.seq, alert)
        self._noted.append(noted)
        self._changed.set()
        self._changed = asyncio.Event()
        return noted

    def after(self, seq: int) -> list[Noted]:
        """Those that were noted after number `seq`."""
        return [noted for noted in self._noted if noted.seq > seq]

    def last(self, count: int) -> list[Noted]:
        """The latest, the newest first."""
        return [noted for noted, _ in zip(reversed(self._noted), range(count), strict=False)]

    async def wait_beyond(self, seq: int) -> None:
        """Return as soon as there is one after number `seq`."""
        while self.seq <= seq:
            await self._changed.wait()
