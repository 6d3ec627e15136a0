"""Compiles a world into a snapshot file and runs one data plane on it, alone on the gateway's core."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import worlds
from bench.cores import GATEWAY_CORE, pinned
from bench.wrk import Call
from cluster.harness.gateway import program
from cluster.harness.processes import ChildProcess, free_port, wait_for_http
from tidegate_dataplane.snapshot.bundle import Bundle, encode_bundle
from tidegate_operator.compile import compile_world, make_bundle
from tidegate_operator.compile.compiled import Compiled

_READY_DEADLINE = 60.0


@dataclass(frozen=True)
class Gateway:
    """A running data plane; a context manager. `started_in` is seconds from exec to /-/ready."""

    process: ChildProcess
    url: str
    admin_url: str
    started_in: float
    audit: Path

    def call(self, folder: Path, *, route: int = 0, consumer: int = 0) -> Call:
        """A chat request that consumer `consumer` may make on route `route`; its body goes to a file in `folder`."""
        model = worlds.model_of(route)
        body = folder / f"body-{model}.json"
        body.write_bytes(worlds.chat_body(model))
        return Call(self.url + worlds.PATH, body, json_headers(worlds.api_key(consumer)))

    def status(self) -> Any:
        """What `/-/status` says."""
        return json.loads(fetch(self.admin_url, "/-/status"))

    def peak_bytes(self) -> int:
        """The most memory the process ever held (VmHWM)."""
        return peak_bytes(self.process.pid)

    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()


@dataclass(frozen=True)
class Snapshot:
    """A compiled world and the seconds its compilation took."""

    compiled: Compiled
    seconds: float

    def bundle(self, revision: int) -> Bundle:
        """The snapshot as that revision."""
        return make_bundle(self.compiled, facts=worlds.FACTS, revision=revision)


def make_snapshot(manifests: Iterable[worlds.Manifest]) -> Snapshot:
    """Compile a world from nothing, as an operator that has just started does."""
    world = worlds.world(manifests)
    began = time.perf_counter()
    compiled = compile_world(world, worlds.FACTS)
    return Snapshot(compiled, time.perf_counter() - began)


def write_snapshot(path: Path, size: worlds.Size) -> float:
    """Compile the world into the file a data plane reads; returns the seconds the compiler took."""
    snapshot = make_snapshot(worlds.manifests(size))
    path.write_bytes(encode_bundle(snapshot.bundle(1)))
    return snapshot.seconds


def start_gateway(folder: Path, snapshot: Path, *, name: str = "tidegate", more: Sequence[str | Path] = ()) -> Gateway:
    """Start `tidegate-dataplane` on a snapshot (a file, or a mounted directory) and wait until it is ready.

    `more` flags come last.
    """
    listen, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    audit = folder / f"{name}-audit.jsonl"
    command: list[str | Path] = [program("tidegate-dataplane"), "--gateway", "default"]
    command += ["--snapshot-dir" if snapshot.is_dir() else "--snapshot-file", snapshot]
    command += ["--listen", listen, "--admin-listen", admin, "--audit-file", audit, *more]
    began = time.monotonic()
    process = ChildProcess(name, pinned(GATEWAY_CORE, command), log=folder / f"{name}.log")
    try:
        wait_for_http(f"http://{admin}/-/ready", deadline=_READY_DEADLINE, process=process)
    except BaseException:
        process.stop()
        raise
    return Gateway(process, f"http://{listen}", f"http://{admin}", time.monotonic() - began, audit)


def json_headers(key: str) -> dict[str, str]:
    """Headers of a JSON request with a bearer key."""
    return {"content-type": "application/json", "authorization": f"Bearer {key}"}


def fetch(url: str, path: str) -> bytes:
    """The body of a GET of a loopback URL; raises OSError, or RuntimeError for a status other than 200."""
    host, port = url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise RuntimeError(f"GET {url}{path} answered {response.status}: {body[:200]!r}")
    return body


def peak_bytes(pid: int) -> int:
    """The most memory that process `pid` ever held: VmHWM of /proc, bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
