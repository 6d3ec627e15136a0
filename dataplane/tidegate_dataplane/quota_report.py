"""What quotas stand at on this data plane, and which thresholds were crossed: `/-/quotas`.

There may be hundreds of thousands of counters. They are read a few at a time in between calls, and not again before
twenty times as long has gone by.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from tidegate_dataplane.alerts.alert import Alert
from tidegate_dataplane.alerts.alerts import Alerts
from tidegate_dataplane.alerts.recent import Noted, Teller
from tidegate_dataplane.ledger.report import TOP, CounterReport, LimitReport, Tally
from tidegate_dataplane.store.protocol import StoreState

DEFAULT_TOP: Final = 10
MAX_WAIT_SECONDS: Final = 60.0
_SLICE: Final = 250
_PAUSE_SECONDS: Final = 0.002
_REST: Final = 20


class StoreReport(Struct, frozen=True, rename="camel"):
    """How the shared store fares; `since` is in seconds since the epoch, `owners` the data planes that share it."""

    connected: bool
    reason: str
    since: int
    owners: int


class AlertRow(Struct, frozen=True, rename="camel"):
    """A threshold that was crossed, as this data plane saw it. `told` says who told of it, `webhook` how that fares."""

    seq: int
    told: Teller
    webhook: str
    alert: Alert


class QuotaPage(Struct, frozen=True, rename="camel"):
    """The body of `/-/quotas`. `since` (seconds since the epoch) is when this data plane started: alerts are numbered
    anew then. `seq` is the number of the latest alert. `store` is None without one."""

    now: int
    since: int
    seq: int
    store: StoreReport | None
    limits: tuple[LimitReport, ...]
    alerts: tuple[AlertRow, ...]


class Question(NamedTuple):
    """`after` is the number of the last alert that is known; it is waited `seconds` for the next one."""

    top: int = DEFAULT_TOP
    quota: str = ""
    after: int = 0
    seconds: float = 0.0


class QuotaReport:
    """Answers `/-/quotas`. `counters` goes through those in which something is used or held."""

    def __init__(
        self, counters: Callable[[], Iterator[CounterReport]], alerts: Alerts, store: Callable[[], StoreState | None]
    ) -> None:
        self._counters = counters
        self._alerts = alerts
        self._store = store
        self._since = int(time.time())
        # One for all answers: else the same moment would be another second now and then.
        self._epoch = time.time() - time.monotonic()
        self._limits: tuple[LimitReport, ...] = ()
        self._next = 0.0
        self._reading: asyncio.Task[None] | None = None
        self._closed = False

    def close(self) -> None:
        """Read no counter any more: the ledger is about to be closed. What was read last is still told."""
        self._closed = True

    @property
    def store(self) -> StoreReport | None:
        """How the shared store fares."""
        return store_report(self._store(), self._epoch)

    def alerts(self, count: int) -> tuple[AlertRow, ...]:
        """The latest, the newest first."""
        return tuple(alert_row(noted) for noted in self._alerts.recent.last(count))

    async def answer(self, request: Request) -> Response:
        """With `after=SEQ&timeoutSeconds=T`: as soon as there is an alert beyond number SEQ, or after T seconds."""
        try:
            question = read_question(request.query_params)
        except ValueError as error:
            return _json(400, {"error": str(error)})
        if question.seconds:
            await self._wait(question)
        return _json(200, await self.page(question))

    async def page(self, question: Question) -> QuotaPage:
        """What is known now."""
        await self._read()
        found = (each for each in self._limits if not question.quota or each.quota == question.quota)
        recent = self._alerts.recent
        return QuotaPage(
            now=int(time.time()),
            since=self._since,
            seq=recent.seq,
            store=self.store,
            limits=tuple(replace(each, top=each.top[: question.top]) for each in found),
            alerts=tuple(alert_row(noted) for noted in recent.after(question.after)),
        )

    async def _wait(self, question: Question) -> None:
        try:
            async with asyncio.timeout(question.seconds):
                await self._alerts.recent.wait_beyond(question.after)
        except (TimeoutError, asyncio.CancelledError):
            # Only the listener cancels: the asker is gone, or we stop. Both get what is known now.
            return

    async def _read(self) -> None:
        """Read the counters, unless that was done a moment ago; all who ask meanwhile wait for the same reading."""
        if self._reading is None:
            if self._closed or time.monotonic() < self._next:
                return
            self._reading = asyncio.get_running_loop().create_task(self._read_all(), name="quota report")
        await asyncio.shield(self._reading)

    async def _read_all(self) -> None:
        tally, counters, busy = Tally(TOP), self._counters(), 0.0
        try:
            while not self._closed:
                began = time.monotonic()
                taken = list(islice(counters, _SLICE))
                for found in taken:
                    tally.add(found)
                busy += time.monotonic() - began
                if len(taken) < _SLICE:
                    self._limits = tally.reports()
                    break
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self._next = time.monotonic() + _REST * busy
            self._reading = None


def read_question(query: QueryParams) -> Question:
    """Raises ValueError that says what is wrong."""
    try:
        top = int(query.get("top", DEFAULT_TOP))
        after = int(query.get("after", 0))
        seconds = min(float(query.get("timeoutSeconds", 0)), MAX_WAIT_SECONDS)
    except ValueError:
        raise ValueError("top and after are integers, timeoutSeconds is a number") from None
    if not 0 <= top <= TOP:
        raise ValueError(f"top is between 0 and {TOP}")
    if not seconds >= 0:
        raise ValueError("timeoutSeconds is not negative")
    return Question(top, query.get("quota", "")[:600], after, seconds)


def store_report(state: StoreState | None, epoch: float) -> StoreReport | None:
    """What is told of the store; None without one. `epoch`: seconds since the epoch at 0 of the monotonic clock."""
    if state is None:
        return None
    since = int(epoch + state.since)
    return StoreReport(connected=state.connected, reason=state.reason.value, since=since, owners=state.owners)


def alert_row(noted: Noted) -> AlertRow:
    """As it stands now."""
    return AlertRow(noted.seq, noted.told, noted.webhook, noted.alert)


def _json(status: int, body: object) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
