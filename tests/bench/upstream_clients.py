"""Which HTTP client should speak to providers? Ours beside the ones that could have been taken instead.

Each client runs alone on one core, the instant server on another; rounds are interleaved. Clients that the project does
not need are installed once, from a lock file with hashes, into a folder outside the checkout.

    PYTHONPATH=tests .venv/bin/python -m bench.upstream_clients [--seconds 2] [--rounds 2] [--skip-scratch]
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.cores import GATEWAY_CORE, LOAD_CORE, pinned
from bench.figures import median, report, table

LOCK = Path(__file__).with_suffix(".lock")
TESTS = Path(__file__).resolve().parents[1]
IN_SCRATCH = ("pyreqwest", "httpx")
TIMES = ("p50", "p99", "cpu")
CLIENTS = ("tidegate", "pyreqwest", "aiohttp", "httpx")


def cache_root() -> Path:
    """Outside the checkout: $TIDEGATE_CACHE, else $XDG_CACHE_HOME/tidegate, else ~/.cache/tidegate."""
    own, shared = os.environ.get("TIDEGATE_CACHE"), os.environ.get("XDG_CACHE_HOME")
    base = Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "tidegate"
    return base.expanduser()


def scratch_python() -> Path:
    """The interpreter of an environment with the locked clients; made when missing."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    folder = cache_root() / f"upstream-clients-{digest}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    print(f"installing {', '.join(IN_SCRATCH)} into {folder} (a few seconds, once)", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    strict = ["--require-hashes", "--no-deps", "--only-binary=:all:"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *strict, "-r", LOCK], check=True)
    (folder / "complete").touch()
    return python


def command(core: int, python: Path | str, *arguments: str) -> list[str]:
    return pinned(core, [python, "-m", "bench.upstream_drivers", *arguments])


@contextmanager
def instant_server() -> Iterator[str]:
    """Yield the port of the server, on a core of its own."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    argv = command(LOAD_CORE, sys.executable, "serve")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def measure(client: str, python: Path | str, port: str, concurrency: int, seconds: float) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    argv = command(GATEWAY_CORE, python, "drive", client, port, str(concurrency), str(seconds))
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, env=environment, timeout=60 + seconds)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description="requests/s and latency of HTTP clients on one core")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each run")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--skip-scratch", action="store_true", help="only the clients that the project has anyway")
    options = parser.parse_args()
    clients = [name for name in CLIENTS if not (options.skip_scratch and name in IN_SCRATCH)]
    pythons = {name: scratch_python() if name in IN_SCRATCH else sys.executable for name in clients}
    results: list[dict[str, Any]] = []
    tables: list[str] = []
    with instant_server() as port:
        for concurrency in (32, 1):
            rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in clients}
            for number in range(options.rounds):
                for name in clients:
                    print(f"c={concurrency} round {number + 1}/{options.rounds}: {name}", file=sys.stderr)
                    rounds[name].append(measure(name, pythons[name], port, concurrency, options.seconds))
            rows = []
            for name, figures in rounds.items():
                middle = {key: median([each[key] for each in figures]) for key in figures[0]}
                results.append({"client": name, "concurrency": concurrency, **middle})
                rows.append((name, f"{middle['rate']:,.0f}", *(f"{middle[key] * 1e6:,.0f}" for key in TIMES)))
            header = ("client", "requests/s", "p50 µs", "p99 µs", "processor µs/request")
            tables.append(table(f"one core, concurrency {concurrency}, {len(clients)} clients", header, rows))
    return report("upstream-clients", tables=tables, goals=(), data={"results": results})


if __name__ == "__main__":
    sys.exit(main())
