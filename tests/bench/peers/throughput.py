"""Tidegate with the whole catalogue on, beside LiteLLM and Portkey as plain pass-throughs and nginx as a proxy."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import worlds
from bench.call import expect_answer
from bench.figures import report, table
from bench.gateway import start_gateway, write_snapshot
from bench.nginx import start_proxy, start_upstream
from bench.peers.install import LITELLM_LOCK, install_litellm, install_portkey, litellm_version
from bench.peers.start import start_litellm, start_portkey
from bench.programs import require_programs, require_two_cores
from bench.rounds import HEADER, Contender, Series, interleave
from bench.throughput import CONNECTIONS, SMALL
from bench.wrk import Call

# Portkey runs on a compiler that learns: its first seconds are its worst.
_WARM_UP = 4.0


def main() -> int:
    """Run it; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="bench.peers.throughput", description=__doc__)
    arguments.add_argument("--rounds", type=int, default=3, help="rounds for each contender")
    arguments.add_argument("--seconds", type=float, default=5, help="seconds of one measurement (whole ones)")
    options = arguments.parse_args()
    require_programs("wrk", "nginx", "taskset", "node", "npm")
    require_two_cores()
    programs = {"litellm": install_litellm(), "portkey": install_portkey()}
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        series = measure(Path(name), programs, rounds=options.rounds, seconds=options.seconds)
    title = f"one core, {worlds.BODY_BYTES}-byte chat bodies, medians of {options.rounds} rounds"
    return report(
        "peers",
        tables=[table(title, (*HEADER, "of tidegate"), rows(series))],
        goals=[],
        data={"litellm": litellm_version(LITELLM_LOCK.read_text()), "series": [item.data() for item in series]},
    )


def measure(folder: Path, programs: dict[str, Path], *, rounds: int, seconds: float) -> list[Series]:
    """All four in interleaved rounds at c=32; they are stopped at the end, whatever happened."""
    with ExitStack() as stack:
        upstream = stack.enter_context(start_upstream(folder))
        proxy = stack.enter_context(start_proxy(folder, upstream_port=upstream.port))
        endpoint, snapshot = f"{upstream.url}/v1", folder / "snapshot.json"
        write_snapshot(snapshot, worlds.Size(*SMALL, endpoint=endpoint))
        gateway = stack.enter_context(start_gateway(folder, snapshot))
        own = gateway.call(folder)
        body, model = own.body, worlds.model_of(0)
        portkey = start_portkey(programs["portkey"], folder, endpoint=endpoint, body=body)
        stack.enter_context(portkey)
        litellm = start_litellm(programs["litellm"], folder, endpoint=endpoint, body=body, model=model)
        stack.enter_context(litellm)
        contenders = [
            Contender("tidegate, full policy", own, gateway.process.pid),
            Contender("nginx, plain proxy", Call(proxy.url + worlds.PATH, body, own.headers), proxy.process.pid),
            Contender("portkey, pass-through", portkey.call, portkey.process.pid),
            Contender("litellm, pass-through", litellm.call, litellm.process.pid),
        ]
        for contender in contenders:
            expect_answer(contender.call)
        return interleave(contenders, connections=CONNECTIONS, rounds=rounds, seconds=seconds, warm_up=_WARM_UP)


def rows(series: Sequence[Series]) -> list[tuple[str, ...]]:
    """The table's lines, with each rate as a share of Tidegate's."""
    own = series[0].rate
    return [(*item.row(), f"{item.rate / own:.3f}" if own else "") for item in series]


if __name__ == "__main__":
    sys.exit(main())
