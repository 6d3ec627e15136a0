"""Follows what data planes tell of quotas: figures for statuses, a few at a time, and Events at once.

A long poll: a data plane answers as soon as a threshold is crossed. Only an operator that leads asks.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable

import aiohttp
import msgspec

from tidegate_dataplane.snapshot.entries import Accuracy, QuotaEntry
from tidegate_operator.quotas.events import QuotaEvents
from tidegate_operator.quotas.figures import ASKED, CONNECTED, UNAVAILABLE, QuotaFigures, Told, quota_figures
from tidegate_operator.quotas.pages import LimitPage, Page
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
# How long an operator that has just begun to lead waits for the first answers.
FIRST_ANSWERS_SECONDS = 3.0
_SLICE = 200
_TIMEOUT = aiohttp.ClientTimeout(total=POLL_SECONDS + 15, sock_connect=2)


class _Given:
    """What was last made of what is known of a quota, and what its status was last given."""

    __slots__ = ("at", "entry", "figures", "made", "told", "urgent")

    def __init__(self, entry: QuotaEntry, told: Told, made: QuotaFigures) -> None:
        self.entry = entry
        self.told = told
        self.made = made
        self.figures = made
        self.at = 0.0
        self.urgent = True


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
        published. `on_change` is called when something is to
        be told of one."""
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
        self._stores: dict[ObjectKey, str] = {}
        self._since = clock()
        self._heard: set[str] = set()

    def of(self, key: ObjectKey, entry: QuotaEntry) -> QuotaFigures | None:
        """The figures of a quota in force as they may be told now; None while nothing is known."""
        if not self._known():
            return None
        given = self._given.get(key)
        if given is None or given.entry != entry:
            told = self._told(entry)
            given = self._given[key] = _Given(entry, told, quota_figures(entry, told))
            given.at = self._clock()
            given.urgent = False
        return given.figures

    def take(self, url: str, page: Page) -> None:
        """What a data plane says."""
        self._heard.add(url)
        self._pages[url] = page
        limits: dict[str, list[LimitPage]] = {}
        for limit in page.limits:
            limits.setdefault(limit.quota, []).append(limit)
        self._by_quota[url] = limits
        for noted in page.alerts:
            namespace, _, name = noted.alert.quota.partition("/")
            key = ObjectKey(Kind.QUOTA, namespace, name)
            if (given := self._given.get(key)) is not None:
                given.urgent = True
            self._events.threshold(key, noted.alert)

    def forget(self, url: str) -> None:
        """A data plane is gone."""
        self._pages.pop(url, None)
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
        """Look at all quotas in force, and let the first of those of which there is something to tell be told."""
        if not self._known():
            return
        now, most = self._clock(), STATUSES_PER_TICK
        seen: set[ObjectKey] = set()
        for number, entry in enumerate(list(self._quotas())):
            key = ObjectKey(Kind.QUOTA, entry.source.namespace, entry.source.name)
            seen.add(key)
            self._look(key, entry)
            if most and self._due(key, now):
                most -= 1
                self._tell(key, now)
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
        for gone in self._given.keys() - seen:
            del self._given[gone]
            self._stores.pop(gone, None)

    def _known(self) -> bool:
        """Whether all data planes have been heard, or have had the time."""
        if not self._leading():
            return False
        return self._heard.issuperset(self._urls()) or self._clock() - self._since > FIRST_ANSWERS_SECONDS

    def _told(self, entry: QuotaEntry) -> Told:
        own = entry.source.key
        return Told(
            limits=tuple(limit for url in sorted(self._by_quota) for limit in self._by_quota[url].get(own, ())),
            stores=()
            if entry.accuracy is Accuracy.LOCAL
            else tuple(page.store for _, page in sorted(self._pages.items()) if page.store is not None),
            data_planes=len(self._urls()),
            heard=len(self._pages),
        )

    def _look(self, key: ObjectKey, entry: QuotaEntry) -> None:
        told, given = self._told(entry), self._given.get(key)
        if given is None or given.entry != entry:
            # Nothing was given yet: whatever there is to tell is news.
            given = self._given[key] = _Given(entry, told, quota_figures(entry, told))
            given.figures = QuotaFigures()
        elif given.told != told:
            given.told, given.made = told, quota_figures(entry, told)
        self._watch_store(key, given)

    def _watch_store(self, key: ObjectKey, given: _Given) -> None:
        state = given.made.store.partition(":")[0]
        if state not in (CONNECTED, UNAVAILABLE):
            return
        former = self._stores.get(key, CONNECTED)
        self._stores[key] = state
        if state == former:
            return
        given.urgent = True
        since = min((store.since for store in given.told.stores if not store.connected), default=0)
        self._events.store(key, lost=state == UNAVAILABLE, detail=given.made.store, since=since)

    def _due(self, key: ObjectKey, now: float) -> bool:
        given = self._given[key]
        if given.made.looks_like(given.figures):
            given.urgent = False
            return False
        return given.urgent or now - given.at >= self._status_seconds

    def _tell(self, key: ObjectKey, now: float) -> None:
        given = self._given[key]
        given.figures, given.at, given.urgent = given.made, now, False
        self._on_change(key)

    def _adjust(self, session: aiohttp.ClientSession) -> None:
        leading = self._leading()
        wanted = set(self._urls()) if leading else set()
        if not leading:
            # Whoever leads meanwhile writes statuses and Events: nothing here is known any more.
            self._given.clear()
            self._stores.clear()
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
