"""Data planes of a test: stores on a real server, and lines to send."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

from tidegate_dataplane.store.protocol import EpochChanged, Kind, Line, Position, Result, StoreUnavailable
from tidegate_dataplane.store.redis_store import RedisStore
from tidegate_dataplane.store.settings import Mode, StoreSettings

DAY_MS = 86_400_000


def single(port: int, **more: object) -> StoreSettings:
    return StoreSettings(mode=Mode.SINGLE, addresses=(("127.0.0.1", port),), **more)  # type: ignore[arg-type]


async def until(holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Poll; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 -- what is waited for has no event
            await asyncio.sleep(0.01)


async def plane(settings: StoreSettings, *, position: Position | None = None, gateway: str = "test") -> RedisStore:
    """A connected data plane that has declared nothing yet."""
    store = RedisStore(settings, gateway=gateway, position=position or Position(secrets.token_bytes(16)))
    await store.start()
    try:
        await until(lambda: store.state.connected)
    except BaseException:
        await store.aclose()
        raise
    return store


async def settled(store: RedisStore, seconds: float = 15.0) -> None:
    """Wait until the store grants again: nobody is missing any more."""
    probe = gauge(b"settled".ljust(16), limit=1, need=1)
    release = gauge(b"settled".ljust(16), limit=1)
    async with asyncio.timeout(seconds):
        while True:
            try:
                result = await ask(store, probe)
            except (StoreUnavailable, EpochChanged):
                result = None
            if result is not None and result.status == 0:
                await ask(store, release)
                return
            await asyncio.sleep(0.05)


async def ready(settings: StoreSettings, **more: object) -> RedisStore:
    """A data plane that has declared that it has nothing, and is granted what fits."""
    store = await plane(settings, **more)  # type: ignore[arg-type]
    await store.declare([], ())
    await settled(store)
    return store


async def ask(store: RedisStore, line: Line) -> Result:
    """One decision of one line."""
    return (await store.exchange([[line]])).results[0][0]


def today() -> int:
    """The start of the present day, UTC, in ms."""
    return int(time.time() * 1000) // DAY_MS * DAY_MS


def window(
    key: bytes, *, limit: int, used: int = 0, firm: int = 0, keep: int = 0, need: int = 0, want: int = 0, start: int = 0
) -> Line:
    """A calendar day's counter; figures of the day that begins at `start`, today if 0."""
    day = today()
    bounds = (day, day + DAY_MS, day + 2 * DAY_MS)
    return Line(key, Kind.WINDOW, *bounds, start or day, limit, used, firm, keep, need, want)


def gauge(key: bytes, *, limit: int, firm: int = 0, keep: int = 0, need: int = 0, want: int = 0) -> Line:
    """A concurrency counter."""
    return Line(key, Kind.GAUGE, 0, 0, 0, 0, limit, 0, firm, max(firm, keep), need, want)
