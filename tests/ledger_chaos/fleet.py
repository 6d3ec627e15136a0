"""Several real data planes on one snapshot and one shared store; they can be killed, and come back with journals."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from bench import worlds
from cluster.harness.gateway import program
from cluster.harness.processes import ChildProcess, free_port, stop_all, wait_for_http
from redis_parts.started import Started
from tidegate_dataplane.snapshot.bundle import encode_bundle
from tidegate_operator.compile import compile_world, make_bundle

GATEWAY = "default"
_READY_DEADLINE = 60.0


@dataclass
class Plane:
    """One data plane. `downs` are the spans (monotonic seconds) from each kill until it was ready again."""

    number: int
    folder: Path
    command: Sequence[str | Path]
    port: int
    admin_port: int
    process: ChildProcess | None = None
    downs: list[tuple[float, float]] = field(default_factory=list)

    @property
    def audit(self) -> Path:
        return self.folder / "audit.jsonl"

    def launch(self) -> None:
        """Start it; it may not be ready when this returns."""
        self.process = ChildProcess(f"plane-{self.number}", self.command, log=self.folder / "plane.log")

    async def wait_ready(self) -> None:
        """Until it serves. Raises ProcessFailed with the end of its log."""
        url = f"http://127.0.0.1:{self.admin_port}/-/ready"
        await asyncio.to_thread(wait_for_http, url, deadline=_READY_DEADLINE, process=self.process)

    async def kill(self) -> None:
        """SIGKILL; `bring_back` ends the span."""
        self.downs.append((monotonic(), float("inf")))
        await asyncio.to_thread(self.running.kill9)

    async def bring_back(self) -> None:
        """Start it again with its journal."""
        self.launch()
        await self.wait_ready()
        self.downs[-1] = (self.downs[-1][0], monotonic())

    @property
    def running(self) -> ChildProcess:
        """Its process; raises RuntimeError when it was never started."""
        if self.process is None:
            raise RuntimeError(f"plane {self.number} was never started")
        return self.process

    async def admin(self, path: str) -> Any:
        """A GET of the admin port, as JSON."""
        return await asyncio.to_thread(self._admin, path)

    def _admin(self, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=10)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


class Fleet(Started):
    """`count` planes that serve `manifests`. `store` is the URL of the shared store. An async context manager.

    `prefix` is put before each command, `more` after it.
    """

    def __init__(
        self,
        manifests: Iterable[worlds.Manifest],
        *,
        count: int,
        store: str | None,
        prefix: Sequence[str] = (),
        more: Sequence[str] = (),
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tidegate-fleet-"))
        self._snapshot = self.directory / "snapshot.json"
        self._snapshot.write_bytes(snapshot(manifests))
        self._ports: set[int] = set()
        self.planes = [self._prepare(number, store, prefix, more) for number in range(count)]

    def _prepare(self, number: int, store: str | None, prefix: Sequence[str], more: Sequence[str]) -> Plane:
        folder = self.directory / f"plane-{number}"
        folder.mkdir()
        port, admin_port = self._free_port(), self._free_port()
        command: list[str | Path] = [*prefix, program("tidegate-dataplane"), "--gateway", GATEWAY]
        command += ["--snapshot-file", self._snapshot, "--audit-file", folder / "audit.jsonl"]
        command += ["--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{admin_port}"]
        if store is not None:
            command += ["--store", store, "--journal", folder / "journal"]
        return Plane(number, folder, [*command, "--drain-delay", "0s", *more], port, admin_port)

    def _free_port(self) -> int:
        """One that no other plane is to have: none listens yet, so that each looks free."""
        while (port := free_port()) in self._ports:
            pass
        self._ports.add(port)
        return port

    async def start(self) -> None:
        """Start all and wait until each is ready."""
        for plane in self.planes:
            plane.launch()
        await asyncio.gather(*(plane.wait_ready() for plane in self.planes))

    @property
    def ports(self) -> list[int]:
        return [plane.port for plane in self.planes]

    async def stop(self) -> None:
        """Stop all in order; their folders stay."""
        await asyncio.to_thread(stop_all, [plane.process for plane in self.planes if plane.process is not None])

    async def close(self) -> None:
        """Stop all and remove their folders."""
        await self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def snapshot(manifests: Iterable[worlds.Manifest]) -> bytes:
    """The file a data plane reads; raises ValueError when an object is not valid."""
    compiled = compile_world(worlds.world(manifests), worlds.FACTS)
    faults = [verdict for verdict in compiled.verdicts.values() if verdict.errors or verdict.unresolved]
    if faults:
        raise ValueError(f"the world is not valid: {faults[0]}")
    return encode_bundle(make_bundle(compiled, worlds.FACTS, 1))
