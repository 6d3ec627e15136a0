"""The key sets in use, kept fresh in the background, so that no request waits for an identity provider.

A request waits in two cases only, and at most WAIT_SECONDS: for the very first fetch of a source, and when a token
names a key that is not there yet, which asks the source out of turn, at most once in UNKNOWN_KEY_SECONDS. When the
provider is away the last good keys serve on; how long is the business of who reads `age`. Only the provider's own
word removes a key: a well-formed key set without it.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from tidegate_dataplane.authenticate.fetching import KeySource, ProviderError, fetch_keys
from tidegate_dataplane.authenticate.keys import KeySet
from tidegate_dataplane.source.backoff import Backoff
from tidegate_dataplane.upstream import UpstreamClient

_log = logging.getLogger(__name__)

WAIT_SECONDS: Final = 2.0
UNKNOWN_KEY_SECONDS: Final = 30.0
MIN_REFRESH_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = (1.0, 30.0)
_JITTER: Final = 0.1

Clock = Callable[[], float]


class KeySetState(Struct, frozen=True):
    """How a source of keys fares. `age` in seconds, None before the first keys."""

    name: str
    keys: int
    age: float | None
    failures: int
    error: str
    skipped: tuple[str, ...]


class FollowedKeys:
    """The keys of one source. `keys` is None until they were fetched; belongs to one event loop."""

    def __init__(
        self,
        source: KeySource,
        client: UpstreamClient,
        *,
        refresh: float,
        clock: Clock,
        on_change: Callable[[], object],
    ) -> None:
        """`refresh`: seconds between two fetches. `on_change` is called when the keys are others than before."""
        self.source = source
        self.keys: KeySet | None = None
        self.failures = 0  # in a row
        self.total_failures = 0
        self.error = ""
        self._client = client
        self._refresh = refresh
        self._clock = clock
        self._on_change = on_change
        self._fetched_at = 0.0
        self._asked_at = -UNKNOWN_KEY_SECONDS
        self._next_at = 0.0
        loop = asyncio.get_running_loop()
        self._wanted = asyncio.Event()
        self._first: asyncio.Future[None] = loop.create_future()
        # Done when an attempt has ended that began after somebody asked; None while nobody asks.
        self._asked: asyncio.Future[None] | None = None
        self._backoff = Backoff(*_RETRY_SECONDS)
        self._task = loop.create_task(self._follow(), name=f"keys of {source.name}")

    @property
    def age(self) -> float:
        """Seconds since the last fetch that succeeded."""
        return self._clock() - self._fetched_at

    @property
    def retry_after(self) -> float:
        """Seconds until the next fetch."""
        return max(0.0, self._next_at - self._clock())

    @property
    def state(self) -> KeySetState:
        keys = self.keys
        if keys is None:
            return KeySetState(self.source.name, 0, None, self.total_failures, self.error, ())
        return KeySetState(
            self.source.name, len(keys.keys), self.age, self.total_failures, self.error, keys.skipped[:5]
        )

    def set_refresh(self, seconds: float) -> None:
        """Take another period, from the next fetch on."""
        self._refresh = seconds

    async def first(self) -> KeySet | None:
        """The keys; when there are none yet, wait for the first attempt to fetch them."""
        if not self._first.done():
            await asyncio.wait((self._first,), timeout=WAIT_SECONDS)
        return self.keys

    def ask(self) -> None:
        """Have the source asked out of turn, unless that was done a moment ago."""
        if self._asked is None and self._clock() - self._asked_at >= UNKNOWN_KEY_SECONDS:
            self._asked_at = self._clock()
            self._asked = asyncio.get_running_loop().create_future()
            self._wanted.set()

    async def unknown_key(self) -> None:
        """Ask, and wait for the answer. One fetch serves all who wait."""
        self.ask()
        if self._asked is not None:
            await asyncio.wait((self._asked,), timeout=WAIT_SECONDS)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        _finish(self._first)
        _finish(self._asked)

    async def _follow(self) -> None:
        while True:
            self._wanted.clear()
            asked = self._asked
            succeeded = await self._attempt()
            _finish(self._first)
            if asked is not None:
                _finish(asked)
                self._asked = None
            pause = self._refresh * random.uniform(1 - _JITTER, 1) if succeeded else self._backoff.wait()  # noqa: S311 - spreads load, protects nothing
            self._next_at = self._clock() + pause
            try:
                async with asyncio.timeout(pause):
                    await self._wanted.wait()
            except TimeoutError:
                pass

    async def _attempt(self) -> bool:
        try:
            keys = await fetch_keys(self._client, self.source)
        except ProviderError as error:
            self._failed(str(error))
            return False
        except Exception as error:  # noqa: BLE001 - whatever the defect, the next attempt must come
            _log.exception("fetching the keys of %s failed", self.source.name)
            self._failed(f"failed with {type(error).__name__}, see the log")
            return False
        self._succeeded(keys)
        return True

    def _succeeded(self, keys: KeySet) -> None:
        before, self.keys = self.keys, keys
        self._fetched_at = self._clock()
        if self.failures or before is None:
            _log.info("the keys of %s were fetched: %d", self.source.name, len(keys.keys))
        self.failures = 0
        self.error = ""
        self._backoff.reset()
        if before is None or before.version != keys.version:
            if not keys.keys:
                _log.warning("%s publishes no usable key: %s", self.source.name, "; ".join(keys.skipped[:5]) or "none")
            self._on_change()

    def _failed(self, error: str) -> None:
        self.failures += 1
        self.total_failures += 1
        if error != self.error:
            _log.warning("the keys of %s cannot be fetched: %s", self.source.name, error)
        self.error = error


def _finish(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


class KeySets:
    """All sources in use. `follow` says which; it keeps what it has of those that stay."""

    def __init__(
        self, client: UpstreamClient, *, on_change: Callable[[], object], clock: Clock = time.monotonic
    ) -> None:
        self._client = client
        self._on_change = on_change
        self._clock = clock
        self._followed: dict[KeySource, FollowedKeys] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def follow(self, sources: Mapping[KeySource, float]) -> None:
        """Follow these from now on: for each the seconds between two fetches, not below MIN_REFRESH_SECONDS."""
        for source in self._followed.keys() - sources.keys():
            self._close(self._followed.pop(source))
        for source, refresh in sources.items():
            seconds = max(refresh, MIN_REFRESH_SECONDS)
            followed = self._followed.get(source)
            if followed is None:
                self._followed[source] = FollowedKeys(
                    source, self._client, refresh=seconds, clock=self._clock, on_change=self._on_change
                )
            else:
                followed.set_refresh(seconds)

    def of(self, source: KeySource) -> FollowedKeys | None:
        """What is known of a source; None when it is not followed any more."""
        return self._followed.get(source)

    @property
    def states(self) -> list[KeySetState]:
        """How they fare. May be read from another thread."""
        return [followed.state for followed in list(self._followed.values())]

    async def aclose(self) -> None:
        """Stop following."""
        self.follow({})
        await asyncio.gather(*self._closing)

    def _close(self, followed: FollowedKeys) -> None:
        task = asyncio.get_running_loop().create_task(followed.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
