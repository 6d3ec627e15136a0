"""A real redis-server on loopback, and what may be done to it: stop, kill, hang, restart with or without its data.

The port stays the same over restarts, so that whoever was connected finds it again. Starting and stopping never block
the event loop.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from cluster.harness.processes import ChildProcess, ProcessFailed, free_port
from redis_parts.redis_binary import find_redis
from redis_parts.started import Started

_POLL = 0.02


class RedisServer(Started):
    """One server. Use as an async context manager, or call `start` and `close`.

    With `durable` it writes every command to its append-only file before it answers, so that a kill loses nothing.
    `more` are options as on the command line, e.g. `("--requirepass", "x")`; `prefix` is put before the command, e.g.
    `("taskset", "-c", "1")`.
    """

    def __init__(self, *, durable: bool = True, more: tuple[str, ...] = (), prefix: tuple[str, ...] = ()) -> None:
        """Nothing runs yet. Raises ToolsMissing when there is no redis-server."""
        self._binary = find_redis()
        self.directory = Path(tempfile.mkdtemp(prefix="tidegate-redis-"))
        self.port = free_port()
        self.data = self.directory / "data"
        self._durable = durable
        self._more = more
        self._prefix = prefix
        self._process: ChildProcess | None = None

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"redis://{self.address}/0"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.alive

    @property
    def pid(self) -> int:
        return self._started().pid

    def client(self) -> Redis:
        """A client of one's own; close it with `aclose`."""
        return Redis(host="127.0.0.1", port=self.port, socket_connect_timeout=5, socket_timeout=30)

    async def start(self, *, with_data: bool = True) -> None:
        """Start it and wait until it answers; without its data it is as new."""
        if self.running:
            raise RuntimeError("Redis runs already")
        if not with_data:
            shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(exist_ok=True)
        self._process = ChildProcess("redis", [*self._prefix, *self._command()], log=self.directory / "redis.log")
        await self._until_it_answers()

    def _command(self) -> list[str | Path]:
        command: list[str | Path] = [self._binary, "--bind", "127.0.0.1", "--port", str(self.port)]
        command += ["--dir", self.data, "--save", "", "--daemonize", "no"]
        if self._durable:
            command += ["--appendonly", "yes", "--appendfsync", "always"]
        return [*command, *self._more]

    async def _until_it_answers(self, deadline: float = 10.0) -> None:
        process, client = self._started(), self.client()
        try:
            async with asyncio.timeout(deadline):
                while not await _answers(client):
                    if not process.alive:
                        raise ProcessFailed(f"redis-server ended with {process.exit_code}\n{process.log_tail()}")
                    await asyncio.sleep(_POLL)
        finally:
            await client.aclose()

    async def stop(self) -> None:
        """End it in order; from now on connections are refused."""
        process, self._process = self._process, None
        if process is not None:
            process.signal(signal.SIGCONT)
            await asyncio.to_thread(process.stop)

    async def kill(self) -> None:
        """SIGKILL, as a node failure would."""
        await asyncio.to_thread(self._started().kill9)
        self._process = None

    def pause(self) -> None:
        """Make it hang: the kernel goes on to accept connections, and nobody answers."""
        self._started().signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._started().signal(signal.SIGCONT)

    async def restart(self, *, with_data: bool = True) -> None:
        """Kill it and start it anew on the same port."""
        await self.kill()
        await self.start(with_data=with_data)

    async def close(self) -> None:
        """Stop it and remove its folder."""
        await self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _started(self) -> ChildProcess:
        if self._process is None:
            raise RuntimeError("Redis does not run")
        return self._process


async def _answers(client: Redis) -> bool:
    try:
        return bool(await client.ping())
    except (RedisError, OSError):
        return False
