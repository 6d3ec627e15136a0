"""Tells of thresholds that are crossed: once each a window, whichever data planes see it.

Whoever sees a crossing claims its name. A quota without a webhook is told of at once, by a metric and a line in the
log. With a webhook the claim is held for CLAIM_SECONDS at a time while the receiver is called, and for the rest of the
window when it has answered: so a data plane that dies in between is followed by another that saw the crossing too, and
looks again at LOOKS_SECONDS. Then, and after a store that is away for UNCLAIMED_SECONDS, a receiver may hear twice,
with the same id.
"""

import asyncio
import heapq
import logging
import random
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Final

from prometheus_client.core import Metric

from tidegate_dataplane.alerts.alert import Alert, alert_id, shown_scope
from tidegate_dataplane.alerts.claims import Claims, ClaimUnavailable
from tidegate_dataplane.alerts.delivery import Deliveries
from tidegate_dataplane.alerts.lines import Lines
from tidegate_dataplane.alerts.recent import Noted, RecentAlerts, Teller
from tidegate_dataplane.alerts.rule import NEVER, AlertRule, aligned_window, threshold
from tidegate_dataplane.metrics import Counter
from tidegate_dataplane.source.backoff import Backoff

_log = logging.getLogger(__name__)

CLAIM_SECONDS: Final = 15.0
_KEEP_EVERY_SECONDS: Final = 5.0
LOOKS_SECONDS: Final = (20.0, 60.0, 240.0)
UNCLAIMED_SECONDS: Final = 60.0
# After the end of a window: clocks differ; and whoever looks last must still see that a receiver was told.
_MARGIN_SECONDS: Final = 60.0
_DELIVERY_MARGIN_SECONDS: Final = 600.0
# Shorter windows alert once in so many seconds.
SHORTEST_SECONDS: Final = 60.0
_MAX_PENDING: Final = 4_096
_MAX_LOOKS: Final = 8_192
_MAX_KNOWN: Final = 200_000
# Claims take turns with the counters of calls on one connection, and must not hold these up.
_CLAIMS_AT_ONCE: Final = 4
_STOP_SECONDS: Final = 3.0


class Alerts:
    """Belongs to one event loop. Nothing is told before `start`; crossings until then wait for it."""

    def __init__(
        self,
        *,
        gateway: str,
        cluster: Callable[[], str],
        claims: Claims,
        deliveries: Deliveries,
        now: Callable[[], float] = time.time,
        claim_seconds: float = CLAIM_SECONDS,
        looks_seconds: tuple[float, ...] = LOOKS_SECONDS,
        unclaimed_seconds: float = UNCLAIMED_SECONDS,
    ) -> None:
        """`now` is in seconds since the epoch."""
        self._gateway = gateway
        self._cluster = cluster
        self._claims = claims
        self._deliveries = deliveries
        self._now = now
        self._claim_seconds = claim_seconds
        self._looks_seconds = looks_seconds
        self._unclaimed_seconds = unclaimed_seconds
        self.recent = RecentAlerts()
        self.fired = Counter("tidegate_quota_alerts", "Thresholds of quotas that were crossed.", ("quota", "threshold"))
        self.deliveries = Counter(
            "tidegate_quota_alert_deliveries", "Alerts sent to webhooks, by what came of them.", ("quota", "result")
        )
        self._lines = Lines(_log, now)
        self._known: dict[int, None] = {}
        self._early: list[tuple[AlertRule, Noted]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: set[str] = set()
        self._looks: list[tuple[float, int, int, AlertRule, Noted]] = []
        self._looked = asyncio.Event()
        self._slots = asyncio.Semaphore(_CLAIMS_AT_ONCE)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._standing: list[asyncio.Task[None]] = []

    def note(self, rule: AlertRule, scope: str, start: float, end: float, used: int, amount: int) -> int:
        """A counter's total use is `used` of `amount` in the window from `start` to `end` (seconds since the epoch).

        Returns the use from which on it wants to hear of this counter again in this window, NEVER for no more. The
        caller keeps that number beside the counter, forgets it (0) when the window or the amount is another, and
        compares before it calls: that is all that a threshold costs a request.
        """
        if end - start < SHORTEST_SECONDS:
            start, end = aligned_window(SHORTEST_SECONDS, start)
        for percent in rule.percents:
            least = threshold(amount, percent)
            if used < least or not self._cross(rule, scope, (int(start), int(end)), used, amount, percent):
                return least
        return NEVER

    def start(self) -> None:
        """Begin to tell."""
        self._loop = loop = asyncio.get_running_loop()
        self._standing = [
            loop.create_task(self._keep_claims(), name="alert claims"),
            loop.create_task(self._look_again(), name="alert looks"),
        ]
        early, self._early = self._early, []
        for rule, noted in early:
            self._begin(rule, noted)

    async def aclose(self) -> None:
        """Give what is under way a moment, then stop. What was not delivered is told by a data plane that goes on."""
        self._loop = None
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_STOP_SECONDS)
        tasks = [*self._tasks, *self._standing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def families(self) -> Iterable[Metric]:
        """What `/metrics` shows."""
        return (self.fired.family(), self.deliveries.family())

    def _cross(
        self, rule: AlertRule, scope: str, window: tuple[int, int], used: int, amount: int, percent: int
    ) -> bool:
        """Whether this crossing is taken care of; False when there is no room for it now."""
        cluster = self._cluster()
        id = alert_id(rule, scope, window[0], percent, gateway=self._gateway, cluster=cluster)
        known = int(id[:16], 16)
        if known in self._known:
            return True
        if len(self._tasks) + len(self._early) >= _MAX_PENDING:
            return False
        if len(self._known) >= _MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[known] = None
        alert = Alert(
            id=id,
            gateway=self._gateway,
            cluster=cluster,
            quota=rule.quota,
            limit=rule.limit,
            unit=rule.unit,
            scope=shown_scope(scope),
            threshold=percent,
            used=used,
            amount=amount,
            window_start=window[0],
            window_end=window[1],
            at=int(self._now()),
        )
        self._begin(rule, self.recent.add(alert))
        return True

    def _begin(self, rule: AlertRule, noted: Noted) -> None:
        if self._loop is None:
            self._early.append((rule, noted))
            return
        self._run(self._loop, self._fire(rule, noted))

    def _run(self, loop: asyncio.AbstractEventLoop, telling: Coroutine[None, None, None]) -> None:
        task = loop.create_task(telling, name="alert")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        # Whatever the defect, the other alerts are told.
        if not task.cancelled() and task.exception() is not None:
            _log.error("telling of an alert failed", exc_info=task.exception())

    async def _fire(self, rule: AlertRule, noted: Noted) -> None:
        first = self._claim_seconds if rule.notify else self._rest(rule, noted.alert)
        if await self._claimed(noted.alert, first):
            await self._tell(rule, noted)
        else:
            noted.told = Teller.ELSEWHERE
            if rule.notify:
                self._look_later(0, rule, noted)

    async def _claimed(self, alert: Alert, seconds: float) -> bool:
        """Whether it is ours to tell. While the store is away nobody knows; in the end everybody tells."""
        loop = asyncio.get_running_loop()
        last_moment = loop.time() + self._unclaimed_seconds
        backoff = Backoff(0.25, 5.0)
        while True:
            try:
                async with self._slots:
                    return await self._claims.claim(_name(alert), seconds)
            except ClaimUnavailable:
                pause = backoff.wait()
                if loop.time() + pause > last_moment:
                    return True
                await asyncio.sleep(pause)

    async def _tell(self, rule: AlertRule, noted: Noted) -> None:
        noted.told = Teller.HERE
        alert = noted.alert
        self.fired.add((alert.quota, str(alert.threshold)))
        self._lines.write(alert)
        if rule.notify is None:
            return
        name = _name(alert)
        self._held.add(name)
        try:
            result = await self._deliveries.deliver(rule.notify, noted)
        finally:
            self._held.discard(name)
        self.deliveries.add((alert.quota, result.value))
        try:
            await self._claims.keep(name, self._rest(rule, alert))
        except ClaimUnavailable:
            _log.warning("%s: the store is away, so that another data plane may send it again", alert)

    def _rest(self, rule: AlertRule, alert: Alert) -> float:
        """How long nobody else is to tell of it."""
        margin = _DELIVERY_MARGIN_SECONDS if rule.notify else _MARGIN_SECONDS
        return max(0.0, alert.window_end - self._now()) + margin

    async def _keep_claims(self) -> None:
        while True:
            await asyncio.sleep(min(_KEEP_EVERY_SECONDS, self._claim_seconds / 3))
            for name in list(self._held):
                try:
                    await self._claims.keep(name, self._claim_seconds)
                except ClaimUnavailable:
                    break

    def _look_later(self, round: int, rule: AlertRule, noted: Noted) -> None:
        if round < len(self._looks_seconds) and len(self._looks) < _MAX_LOOKS:
            due = time.monotonic() + self._looks_seconds[round] * random.uniform(1.0, 1.25)  # noqa: S311 - spreads load
            heapq.heappush(self._looks, (due, noted.seq, round, rule, noted))
            self._looked.set()

    async def _look_again(self) -> None:
        """Whether those that claimed an alert lived to deliver it."""
        while True:
            if not self._looks:
                self._looked.clear()
                await self._looked.wait()
            due, _, round, rule, noted = self._looks[0]
            wait = due - time.monotonic()
            if wait > 0:
                self._looked.clear()
                try:
                    async with asyncio.timeout(wait):
                        await self._looked.wait()
                except TimeoutError:
                    pass
                continue
            heapq.heappop(self._looks)
            await self._look(round, rule, noted)

    async def _look(self, round: int, rule: AlertRule, noted: Noted) -> None:
        try:
            async with self._slots:
                orphaned = await self._claims.claim(_name(noted.alert), self._claim_seconds)
        except ClaimUnavailable:
            orphaned = False
        if not orphaned:
            self._look_later(round + 1, rule, noted)
        elif self._loop is not None:
            _log.info("%s: who claimed it did not deliver it, so it is told from here", noted.alert)
            self._run(self._loop, self._tell(rule, noted))


def _name(alert: Alert) -> str:
    return f"alert:{alert.id}"
