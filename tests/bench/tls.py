"""What TLS costs: requests over kept connections, and new connections, plain, with TLS and with client certificates.

    PYTHONPATH=tests .venv/bin/python -m bench.tls [--seconds 5] [--rounds 3]

Each variant is a data plane of its own on the gateway's core, with one Mock route and an API key. Rounds alternate.
Told are the rate and the CPU time that the data plane spent on each, of which the least counts: unlike the rate, it
hardly depends on what else the machine does. New connections are measured with `connection: close` (wrk, which has no
client certificates) and as bare handshakes (`openssl s_time`).
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.cores import GATEWAY_CORE, LOAD_CORE, cpu_seconds, pinned
from bench.wrk import Call, run_wrk
from cluster.harness.gateway import program
from cluster.harness.processes import ChildProcess, free_port, wait_for_http
from dataplane.factory import KEY, bundle_of, shard
from dataplane.raw_http import chat
from dataplane.secured import Site
from tidegate_dataplane.snapshot.bundle import encode_bundle

_HANDSHAKES = re.compile(r"(\d+) connections in (\d+) real seconds")
_CONNECTIONS = 32
_CLIENTS = 4


@dataclass(frozen=True)
class Figure:
    """How many in a second, and CPU microseconds for each."""

    rate: float
    cpu_us: float

    def __str__(self) -> str:
        return f"{self.rate:,.0f}/s at {self.cpu_us:.0f} µs"


class Variant:
    """A data plane with these flags; a context manager."""

    def __init__(self, folder: Path, name: str, flags: Sequence[object]) -> None:
        self.name = name
        self.port = free_port()
        admin = free_port()
        self.scheme = "https" if flags else "http"
        self._folder = folder
        command = [program("tidegate-dataplane"), "--no-api", "--snapshot-file", folder / "snapshot", "--log-level"]
        command += ["warning", "--listen", f"127.0.0.1:{self.port}", "--admin-listen", f"127.0.0.1:{admin}", *flags]
        self.process = ChildProcess(name, pinned(GATEWAY_CORE, command), log=folder / f"{name}.log")
        wait_for_http(f"http://127.0.0.1:{admin}/-/ready", process=self.process)

    def requests(self, seconds: float, *, close: bool = False) -> Figure:
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        if close:
            headers["connection"] = "close"
        url = f"{self.scheme}://127.0.0.1:{self.port}/v1/chat/completions"
        before = cpu_seconds(self.process.pid)
        load = run_wrk(Call(url, self._folder / "body", headers), connections=_CONNECTIONS, seconds=seconds)
        if load.errors:
            raise RuntimeError(f"{self.name}: {load.errors} errors")
        return Figure(load.rate, (cpu_seconds(self.process.pid) - before) / load.requests * 1e6)

    def handshakes(self, seconds: float, client: Path | None) -> Figure:
        """Full ones, by several clients at once."""
        command = ["openssl", "s_time", "-connect", f"127.0.0.1:{self.port}", "-new", "-time", str(round(seconds))]
        if client is not None:
            command += ["-cert", str(client), "-key", str(client)]
        before = cpu_seconds(self.process.pid)
        running = [
            subprocess.Popen(pinned(LOAD_CORE, command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(_CLIENTS)
        ]
        found = [_HANDSHAKES.search(each.communicate()[0]) for each in running]
        counts = [(int(each[1]), int(each[2])) for each in found if each is not None]
        spent = cpu_seconds(self.process.pid) - before
        # s_time goes on for up to a second more than it was told.
        return Figure(sum(count / span for count, span in counts), spent / sum(count for count, _ in counts) * 1e6)

    def __enter__(self) -> Variant:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-tls-") as folder:
        _measure(Path(folder), options.seconds, options.rounds)


def _measure(folder: Path, seconds: float, rounds: int) -> None:
    (folder / "snapshot").write_bytes(encode_bundle(bundle_of(shard())))
    (folder / "body").write_bytes(chat())
    site = Site(folder / "site")
    issued = site.callers.issue_client("search")
    client = folder / "client.pem"
    client.write_bytes(issued.key + issued.certificate)
    site.revoke()
    tls: list[object] = ["--tls-dir", site.secret.path]
    mutual = [*tls, "--client-ca", site.client_ca, "--client-crl", site.crl]
    with ExitStack() as running:
        variants = [
            running.enter_context(Variant(folder, name, flags))
            for name, flags in (("plain", []), ("tls", tls), ("mtls", mutual))
        ]
        best: dict[tuple[str, str], Figure] = {}
        for number in range(rounds):
            for variant in variants:
                figures = {"kept": variant.requests(seconds), "new": variant.requests(seconds, close=True)}
                if variant.scheme == "https":
                    figures["handshakes"] = variant.handshakes(seconds, client if variant.name == "mtls" else None)
                for what, figure in figures.items():
                    key = variant.name, what
                    best[key] = min(best.get(key, figure), figure, key=lambda each: each.cpu_us)
                print(
                    f"round {number + 1} {variant.name}: {', '.join(f'{k} {v}' for k, v in figures.items())}",
                    flush=True,
                )
    for (name, what), figure in best.items():
        print(f"best {name:6} {what:10} {figure}")


if __name__ == "__main__":
    main()
