"""Follows what data planes tell of quotas: figures for statuses, a few at a time, and Events at once.

A long poll: a data plane answers as soon as a threshold is crossed. Only an operator that leads asks.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable
from math import inf

import aiohttp
import msgspec

from tidegate_dataplane.snapshot.entries import Accuracy, QuotaEntry
from tidegate_operator.quotas.events import QuotaEvents
from tidegate_operator.quotas.figures import (
    ASKED,
    CONNECTED,
    UNAVAILABLE,
    QuotaFigures,
    Told,
    quota_figures,
    store_state,
)
from tidegate_operator.quotas.pages import LimitPage, Page, StorePage
from tidegate_operator.world import Kind, ObjectKey

_log = logging.getLogger(__name__)

POLL_SECONDS = 5
RETRY_SECONDS = 1.0
TICK_SECONDS = 0.5
# Between two answers of one data plane, however many thresholds are crossed there.
MIN_INTERVAL = 0.2
# Statuses are news for people: each quota's at most so often unless a threshold was crossed, and so many a second.
STATUS_SECONDS = 30.0
STATUSES_PER_TICK = 5
# To find out whether there is something to tell takes a fifth of a millisecond.
MADE_PER_TICK = 100
# How long an operator that has just begun to lead waits for the first answers.
FIRST_ANSWERS_SECONDS = 3.0
_SLICE = 200
_TIMEOUT = aiohttp.ClientTimeout(total=POLL_SECONDS + 15, sock_connect=2)


class _Given:
    """What the status of a quota was last given, and when; None: nothing yet."""

    __slots__ = ("at", "entry", "figures")

    def __init__(self, entry: QuotaEntry) -> None:
        self.entry = entry
        self.figures: QuotaFigures | None = None
        self.at = -inf

    def give(self, figures: QuotaFigures, now: float) -> QuotaFigures:
        self.figures, self.at = figures, now
        return figures


class QuotaWatch:
    """Single-threaded. `of` is for whoever writes statuses; `run` asks until cancelled."""

    def __init__(
        self,
        *,
        urls: Callable[[], Collection[str]],
        leading: Callable[[], bool],
        quotas: Callable[[], Iterable[QuotaEntry]],
        events: QuotaEvents,
        on_change: Callable[[ObjectKey], None],
        clock: Callable[[], float] = time.monotonic,
        status_seconds: float = STATUS_SECONDS,
    ) -> None:
        """`urls` are the data planes' admin ports, `quotas` those in force; `leading` once this operator leads and has
        published. `on_change` is called when something is to be told of one."""
        self._urls = urls
        self._leading = leading
        self._quotas = quotas
        self._events = events
        self._on_change = on_change
        self._clock = clock
        self._status_seconds = status_seconds
        self._pages: dict[str, Page] = {}
        self._by_quota: dict[str, dict[str, list[LimitPage]]] = {}
        self._polls: dict[str, asyncio.Task[None]] = {}
        self._given: dict[ObjectKey, _Given] = {}
        # Quotas that there may be something to tell of, and those of which it is to be told at once.
        self._waiting: dict[ObjectKey, None] = {}
        self._urgent: dict[ObjectKey, None] = {}
        # Quotas of which something new was said; None for all of them.
        self._news: set[str] | None = None
        self._counted = 0
        self._store = CONNECTED
        self._since = clock()
        self._heard: set[str] = set()

    def of(self, key: ObjectKey, entry: QuotaEntry) -> QuotaFigures | None:
        """The figures of a quota in force as they may be told now; None while nothing is known."""
        if not self._known():
            return None
        given = self._given.get(key)
        if given is None or given.entry != entry:
            given = self._given[key] = _Given(entry)
        # The status of a quota that nothing was told of yet is about to be written for some other reason.
        return given.figures or given.give(self._make(entry), self._clock())

    def take(self, url: str, page: Page) -> None:
        """What a data plane says."""
        former = self._pages.get(url)
        self._heard.add(url)
        self._pages[url] = page
        limits: dict[str, list[LimitPage]] = {}
        for limit in page.limits:
            limits.setdefault(limit.quota, []).append(limit)
        known = self._by_quota.get(url, {})
        self._by_quota[url] = limits
        if former is None or former.store != page.store:
            self._news = None
        elif self._news is not None:
            self._news.update(own for own in known.keys() | limits.keys() if known.get(own) != limits.get(own))
        for noted in page.alerts:
            namespace, _, name = noted.alert.quota.partition("/")
            key = ObjectKey(Kind.QUOTA, namespace, name)
            self._urgent[key] = None
            self._events.threshold(key, noted.alert)

    def forget(self, url: str) -> None:
        """A data plane is gone."""
        if self._pages.pop(url, None) is not None:
            self._news = None
        self._by_quota.pop(url, None)

    async def run(self) -> None:
        """Ask and tell until cancelled."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            try:
                while True:
                    self._adjust(session)
                    if self._leading():
                        await self.tick()
                    await asyncio.sleep(TICK_SECONDS)
            finally:
                for task in self._polls.values():
                    task.cancel()
                await asyncio.gather(*self._polls.values(), return_exceptions=True)
                self._polls.clear()

    async def tick(self) -> None:
        """Look at the quotas of which there is news, and let the first of those that wait for it be told."""
        if not self._known():
            return
        news, self._news = self._news, set()
        if self._counted != len(self._urls()):
            news, self._counted = None, len(self._urls())
        quotas = list(self._quotas())
        self._watch_store(quotas)
        seen: set[ObjectKey] = set()
        for number, entry in enumerate(quotas):
            key = _key(entry)
            seen.add(key)
            given = self._given.get(key)
            if given is None or given.entry != entry:
                self._given[key] = _Given(entry)
                self._waiting[key] = None
            elif news is None or entry.source.key in news:
                self._waiting[key] = None
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
        for gone in self._given.keys() - seen:
            del self._given[gone]
        self._tell_some()

    def _tell_some(self) -> None:
        now, made, told = self._clock(), 0, 0
        for key in [*self._urgent, *self._waiting]:
            given = self._given.get(key)
            if given is not None and key not in self._urgent and now - given.at < self._status_seconds:
                continue
            if made == MADE_PER_TICK or told == STATUSES_PER_TICK:
                return
            self._urgent.pop(key, None)
            self._waiting.pop(key, None)
            if given is None:
                continue
            made += 1
            figures = self._make(given.entry)
            if given.figures is None or not figures.looks_like(given.figures):
                told += 1
                given.give(figures, now)
                self._on_change(key)

    def _known(self) -> bool:
        """Whether all data planes have been heard, or have had the time."""
        if not self._leading():
            return False
        return self._heard.issuperset(self._urls()) or self._clock() - self._since > FIRST_ANSWERS_SECONDS

    def _told(self, entry: QuotaEntry) -> Told:
        own = entry.source.key
        return Told(
            limits=tuple(limit for url in sorted(self._by_quota) for limit in self._by_quota[url].get(own, ())),
            stores=self._told_stores(),
            data_planes=len(self._urls()),
            heard=len(self._pages),
        )

    def _make(self, entry: QuotaEntry) -> QuotaFigures:
        return quota_figures(entry, self._told(entry))

    def _watch_store(self, quotas: list[QuotaEntry]) -> None:
        """Tell of each change on the quotas that need the store."""
        stores = self._told_stores()
        text = store_state(stores, len(self._pages))
        state = text.partition(":")[0]
        if state == self._store or state not in (CONNECTED, UNAVAILABLE):
            return
        self._store = state
        since = min((store.since for store in stores if not store.connected), default=0)
        for entry in quotas:
            if entry.accuracy is not Accuracy.LOCAL:
                key = _key(entry)
                self._urgent[key] = None
                self._events.store(key, lost=state == UNAVAILABLE, detail=text, since=since)

    def _told_stores(self) -> tuple[StorePage, ...]:
        return tuple(page.store for _, page in sorted(self._pages.items()) if page.store is not None)

    def _adjust(self, session: aiohttp.ClientSession) -> None:
        leading = self._leading()
        wanted = set(self._urls()) if leading else set()
        if not leading:
            # Whoever leads meanwhile writes statuses and Events: nothing here is known any more.
            self._given.clear()
            self._waiting.clear()
            self._urgent.clear()
            self._store = CONNECTED
            self._news = None
            self._heard.clear()
            self._since = self._clock()
        for url in self._polls.keys() - wanted:
            self._polls.pop(url).cancel()
            self.forget(url)
        for url in wanted - self._polls.keys():
            self._polls[url] = asyncio.create_task(self._poll(url, session), name=f"quotas of {url}")

    async def _poll(self, url: str, session: aiohttp.ClientSession) -> None:
        since, after = 0, 0
        while True:
            began = asyncio.get_running_loop().time()
            try:
                page = await self._ask(url, session, after)
            except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
                # The poll of its status says so in the log already.
                _log.debug("data plane %s did not tell of its quotas: %s", url, error or type(error).__name__)
                self._heard.add(url)
                self.forget(url)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if page.since != since and after:
                # It has started anew, and numbers its alerts anew.
                since, after = page.since, 0
                continue
            since, after = page.since, page.seq
            self.take(url, page)
            elapsed = asyncio.get_running_loop().time() - began
            await asyncio.sleep(max(0.0, MIN_INTERVAL - elapsed))

    async def _ask(self, url: str, session: aiohttp.ClientSession, after: int) -> Page:
        first = url not in self._pages
        query = {"top": str(ASKED), "after": str(after), "timeoutSeconds": "0" if first else str(POLL_SECONDS)}
        async with session.get(f"{url}/-/quotas", params=query) as response:
            response.raise_for_status()
            return msgspec.json.decode(await response.read(), type=Page)


def _key(entry: QuotaEntry) -> ObjectKey:
    return ObjectKey(Kind.QUOTA, entry.source.namespace, entry.source.name)
