"""What goes wrong in a run, and when: drawn from the seed, each kind once where there is time for all.

Faults of the store come one after another, each healed before the next; planes are killed in between and meanwhile.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic

from ledger_chaos.fleet import Fleet
from redis_parts.redis_server import RedisServer
from redis_parts.toxiproxy import Proxy

Step = Callable[[], Awaitable[None]]


@dataclass
class Weather:
    """Makes the faults: `kills` of planes, and so many kinds of faults of the store (0: all).

    `log` tells what happened: seconds from the start, and what.
    """

    chance: Random
    fleet: Fleet
    redis: RedisServer
    proxy: Proxy
    kills: int
    kinds: int = 0
    log: list[tuple[float, str]] = field(default_factory=list)
    _began: float = 0.0

    async def run(self, seconds: float) -> None:
        """All faults, spread over about so many seconds; at the end everything is healed and runs."""
        self._began = monotonic()
        await asyncio.gather(self._store_faults(seconds), self._plane_faults(seconds))

    async def _store_faults(self, seconds: float) -> None:
        faults: list[Step] = [
            self._pause,
            self._latency,
            self._resets,
            self._loss,
            self._trickle,
            self._refuse,
            self._restart,
            self._restart_empty,
            self._restart_older,
        ]
        self.chance.shuffle(faults)
        faults = faults[: self.kinds or None]
        for fault in faults:
            await asyncio.sleep(self.chance.uniform(0.3, 0.6) * seconds / len(faults))
            self._note(fault.__name__.removeprefix("_").replace("_", " "))
            await fault()

    async def _plane_faults(self, seconds: float) -> None:
        for _ in range(self.kills):
            await asyncio.sleep(self.chance.uniform(0.5, 1.0) * seconds / self.kills)
            plane = self.chance.choice(self.fleet.planes)
            self._note(f"kill plane {plane.number}")
            await plane.kill()
            await asyncio.sleep(self.chance.uniform(0.0, 1.0))
            await plane.bring_back()
            self._note(f"plane {plane.number} is back")

    async def _pause(self) -> None:
        self.redis.pause()
        await self._wait(0.2, 2.0)
        self.redis.resume()

    async def _latency(self) -> None:
        await self.proxy.latency(self.chance.choice([5, 20, 45, 100, 500]), jitter=10)
        await self._heal_after(0.5, 1.5)

    async def _resets(self) -> None:
        await self.proxy.reset(after=self.chance.randint(0, 50))
        await self._heal_after(0.2, 1.0)

    async def _loss(self) -> None:
        await self.proxy.black_hole(share=self.chance.choice([0.5, 1.0]))
        await self._heal_after(0.3, 1.5)

    async def _trickle(self) -> None:
        await self.proxy.bandwidth(self.chance.choice([1, 8, 64]))
        await self.proxy.slice(self.chance.choice([3, 40]), delay_us=1_000)
        await self._heal_after(0.5, 1.0)

    async def _refuse(self) -> None:
        await self.proxy.disable()
        await self._heal_after(0.2, 1.0)

    async def _restart(self) -> None:
        await self.redis.kill()
        await self._wait(0.0, 1.0)
        await self.redis.start()

    async def _restart_empty(self) -> None:
        await self.redis.kill()
        await self._wait(0.0, 1.0)
        await self.redis.start(with_data=False)

    async def _restart_older(self) -> None:
        """With the data of a second ago, as from a replica that lagged behind."""
        copy = self.redis.directory / "copy"
        await asyncio.to_thread(_copy, self.redis.data, copy)
        await self._wait(0.5, 1.5)
        await self.redis.kill()
        await asyncio.to_thread(_copy, copy, self.redis.data)
        await self.redis.start()

    async def _heal_after(self, least: float, most: float) -> None:
        await self._wait(least, most)
        await self.proxy.heal()

    async def _wait(self, least: float, most: float) -> None:
        await asyncio.sleep(self.chance.uniform(least, most))

    def _note(self, what: str) -> None:
        self.log.append((monotonic() - self._began, what))


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
