"""Tells receivers: few at once for each address, tried again with growing, jittered pauses, given up in the end.

A receiver that is away must cost others nothing: each address has a queue of its own, and each queue an end.
"""

import asyncio
import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from tidegate_dataplane.alerts.recent import Noted
from tidegate_dataplane.alerts.webhook import NotDelivered, Webhook, shown_origin
from tidegate_dataplane.snapshot.entries import NotifyEntry
from tidegate_dataplane.source.backoff import Backoff

_log = logging.getLogger(__name__)

AT_ONCE: Final = 4
QUEUED: Final = 256
GIVE_UP_SECONDS: Final = 300.0
PAUSES: Final = (1.0, 60.0)


class Result(StrEnum):
    """What came of a delivery: the receiver took it, it never did in all the time, or too many waited for it."""

    DELIVERED = "delivered"
    FAILED = "failed"
    DROPPED = "dropped"


class _Lane:
    """The queue to one address."""

    __slots__ = ("count", "slots")

    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(AT_ONCE)
        self.count = 0


class Deliveries:
    """Belongs to one event loop. `make_backoff` makes the pauses of one delivery."""

    def __init__(
        self,
        webhook: Webhook,
        *,
        make_backoff: Callable[[], Backoff] = lambda: Backoff(*PAUSES),
        give_up_seconds: float = GIVE_UP_SECONDS,
    ) -> None:
        self._webhook = webhook
        self._make_backoff = make_backoff
        self._give_up_seconds = give_up_seconds
        self._lanes: dict[str, _Lane] = {}

    @property
    def waiting(self) -> int:
        """How many are under way."""
        return sum(lane.count for lane in self._lanes.values())

    async def deliver(self, notify: NotifyEntry, noted: Noted) -> Result:
        """Deliver, or give up; `noted.webhook` always tells how it fares."""
        lane = self._lanes.setdefault(notify.url, _Lane())
        if lane.count >= QUEUED:
            noted.webhook = f"dropped: {QUEUED} alerts wait for this receiver"
            _log.warning("%s: not sent to %s, where %d others wait", noted.alert, shown_origin(notify.url), QUEUED)
            return Result.DROPPED
        lane.count += 1
        try:
            return await self._keep_trying(notify, noted, lane)
        finally:
            lane.count -= 1
            if not lane.count:
                self._lanes.pop(notify.url, None)

    async def _keep_trying(self, notify: NotifyEntry, noted: Noted, lane: _Lane) -> Result:
        loop = asyncio.get_running_loop()
        last_moment = loop.time() + self._give_up_seconds
        backoff = self._make_backoff()
        noted.webhook = "pending"
        while True:
            try:
                async with lane.slots:
                    await self._webhook.attempt(notify, noted.alert)
            except NotDelivered as error:
                pause = backoff.wait()
                noted.webhook = f"pending: {error}"
                if loop.time() + pause > last_moment:
                    noted.webhook = f"failed: {error}"
                    _log.error(
                        "%s: webhook %s never took it: %s. See notify of the Quota, and whether the receiver is well.",
                        noted.alert,
                        shown_origin(notify.url),
                        error,
                    )
                    return Result.FAILED
                await asyncio.sleep(pause)
            else:
                noted.webhook = "delivered"
                return Result.DELIVERED
