"""Collects from the data planes when keys were last used, and lets the statuses know, a few at a time."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping

import aiohttp
import msgspec

from tidegate_operator.keys.states import GRAIN_SECONDS
from tidegate_operator.world import Kind, ObjectKey

_log = logging.getLogger(__name__)

POLL_SECONDS = 10.0
# Statuses are news for people; ten thousand keys in use must not cost the API server more than this many writes.
STATUSES_PER_SECOND = 10
PAGE = 5_000
# Clocks of data planes are not read to the second, and a use may be noted while a page is made.
_MARGIN_SECONDS = 2
_TIMEOUT = aiohttp.ClientTimeout(total=20, sock_connect=2)
_NONE: Mapping[str, int] = {}


class _Row(msgspec.Struct, rename="camel"):
    consumer: str
    key: str
    last_used: int | None = None


class _Page(msgspec.Struct):
    now: int
    since: int
    keys: list[_Row]
    next: str | None = None


class KeyUses:
    """The last use of each key on any data plane. Single-threaded."""

    def __init__(
        self,
        *,
        urls: Callable[[], Collection[str]],
        watched: Callable[[ObjectKey], bool],
        on_use: Callable[[ObjectKey], None],
    ) -> None:
        """`urls` are the data planes' admin ports. `watched` says whether somebody wants to know of a consumer;
        `on_use` is called when something is to be told of one."""
        self._urls = urls
        self._watched = watched
        self._on_use = on_use
        self._seen: dict[ObjectKey, dict[str, int]] = {}
        self._told: dict[ObjectKey, Mapping[str, int]] = {}
        self._waiting: dict[ObjectKey, None] = {}
        self._asked: dict[str, tuple[int, int]] = {}

    def of(self, key: ObjectKey) -> Mapping[str, int]:
        """What may be told of a consumer now: seconds since the epoch by name of the key."""
        return self._told.get(key, _NONE)

    def see(self, consumer: str, name: str, used: int) -> None:
        """A data plane says that this key was used at that second."""
        namespace, _, of = consumer.partition("/")
        key = ObjectKey(Kind.CONSUMER, namespace, of)
        if not self._watched(key):
            return
        seen = self._seen.setdefault(key, {})
        if used <= seen.get(name, 0):
            return
        seen[name] = used
        told = self._told.get(key, _NONE).get(name)
        if told is None or used - told >= GRAIN_SECONDS:
            self._waiting[key] = None

    def tell(self, most: int) -> None:
        """Let the first that wait be told."""
        for key in list(self._waiting)[:most]:
            del self._waiting[key]
            if self._watched(key):
                self._told[key] = dict(self._seen[key])
                self._on_use(key)

    async def run(self) -> None:
        """Ask and tell until cancelled."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._ask_all(session), name="key uses")
            tasks.create_task(self._tell_all(), name="key uses told")

    async def _tell_all(self) -> None:
        while True:
            self.tell(STATUSES_PER_SECOND)
            await asyncio.sleep(1.0)

    async def _ask_all(self, session: aiohttp.ClientSession) -> None:
        while True:
            urls = self._urls()
            await asyncio.gather(*(self._ask(url, session) for url in urls))
            for url in self._asked.keys() - set(urls):
                del self._asked[url]
            for key in [key for key in self._seen if not self._watched(key)]:
                del self._seen[key]
                self._told.pop(key, None)
            await asyncio.sleep(POLL_SECONDS)

    async def _ask(self, url: str, session: aiohttp.ClientSession) -> None:
        began, asked = self._asked.get(url, (0, 0))
        try:
            page = await self._page(url, session, asked, "")
            if page.since != began and asked:
                # It has started anew, maybe with another clock.
                page = await self._page(url, session, 0, "")
            first = page
            while page.next is not None:
                page = await self._page(url, session, asked if first.since == began else 0, page.next)
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
            # The poll of its status says so in the log already.
            _log.debug("data plane %s did not tell of its keys: %s", url, error or type(error).__name__)
            return
        self._asked[url] = (first.since, first.now - _MARGIN_SECONDS)

    async def _page(self, url: str, session: aiohttp.ClientSession, since: int, after: str) -> _Page:
        query = {"usedSince": str(since), "limit": str(PAGE)} | ({"after": after} if after else {})
        async with session.get(f"{url}/-/keys", params=query) as response:
            response.raise_for_status()
            page = msgspec.json.decode(await response.read(), type=_Page)
        for row in page.keys:
            if row.last_used is not None:
                self.see(row.consumer, row.key, row.last_used)
        return page
