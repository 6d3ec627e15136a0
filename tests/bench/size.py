"""What 5,000 routes and 20,000 consumers cost a data plane: start, memory, and throughput beside a small one."""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import worlds
from bench.call import expect_answer
from bench.figures import Goal, report, table
from bench.gateway import Gateway, start_gateway, write_snapshot
from bench.nginx import start_upstream
from bench.programs import require_programs, require_two_cores
from bench.rounds import HEADER, Contender, Series, interleave
from bench.throughput import CONNECTIONS, SMALL
from bench.wrk import Call

LARGE = (5_000, 20_000)
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Footprint:
    """One data plane: what it serves, what compiling took, when it was ready, what it held before and after load."""

    name: str
    routes: int
    consumers: int
    compile_seconds: float
    start_seconds: float
    ready_mib: float
    loaded_mib: float
    peak_mib: float

    def row(self) -> tuple[str, ...]:
        """A line of the table."""
        return (
            self.name,
            f"{self.routes:,}",
            f"{self.consumers:,}",
            f"{self.compile_seconds:.2f}",
            f"{self.start_seconds:.2f}",
            f"{self.ready_mib:.0f}",
            f"{self.loaded_mib:.0f}",
            f"{self.peak_mib:.0f}",
        )


def main() -> int:
    """Run it; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="bench.size", description=__doc__)
    arguments.add_argument("--routes", type=int, default=LARGE[0])
    arguments.add_argument("--consumers", type=int, default=LARGE[1])
    arguments.add_argument("--rounds", type=int, default=4)
    arguments.add_argument("--seconds", type=float, default=4, help="seconds of one measurement (whole ones)")
    options = arguments.parse_args()
    require_programs("wrk", "nginx", "taskset")
    require_two_cores()
    large = (options.routes, options.consumers)
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        footprints, series = measure(Path(name), large, rounds=options.rounds, seconds=options.seconds)
    return report(
        "size",
        tables=[
            table(
                "one data plane, memory in MiB, times in seconds",
                ("case", "routes", "consumers", "compile", "start", "ready", "after load", "peak"),
                [item.row() for item in footprints],
            ),
            table(f"throughput, medians of {options.rounds} rounds", HEADER, [item.row() for item in series]),
        ],
        goals=judge(footprints[1], series),
        data={"footprints": [asdict(item) for item in footprints], "series": [item.data() for item in series]},
    )


def measure(
    folder: Path, large: tuple[int, int], *, rounds: int, seconds: float
) -> tuple[list[Footprint], list[Series]]:
    """Both data planes run side by side on the gateway's core; one idles while the other is measured."""
    with start_upstream(folder) as upstream:
        sizes = {
            name: worlds.Size(*counts, endpoint=f"{upstream.url}/v1")
            for name, counts in (("small", SMALL), ("large", large))
        }
        compiled = {name: write_snapshot(folder / f"{name}.json", size) for name, size in sizes.items()}
        with (
            start_gateway(folder, folder / "small.json", name="small") as small,
            start_gateway(folder, folder / "large.json", name="large") as big,
        ):
            gateways = {"small": small, "large": big}
            ready = {name: gateway.process.resident_bytes for name, gateway in gateways.items()}
            contenders = [
                Contender(name, _call(folder, gateways[name], size), gateways[name].process.pid)
                for name, size in sizes.items()
            ]
            for contender in contenders:
                expect_answer(contender.call)
            series = interleave(contenders, connections=CONNECTIONS, rounds=rounds, seconds=seconds)
            footprints = [
                Footprint(
                    name,
                    size.routes,
                    size.consumers,
                    compiled[name],
                    gateways[name].started_in,
                    ready[name] / _MIB,
                    gateways[name].process.resident_bytes / _MIB,
                    gateways[name].peak_bytes() / _MIB,
                )
                for name, size in sizes.items()
            ]
    return footprints, series


def judge(large: Footprint, series: list[Series]) -> list[Goal]:
    """The promises on size."""
    share = series[1].rate / series[0].rate if series[0].rate else 0.0
    errors = sum(item.errors for item in series)
    return [
        Goal("start of the large one", f"{large.start_seconds:.2f} s", "<= 3 s", large.start_seconds <= 3),
        Goal("peak memory of the large one", f"{large.peak_mib:.0f} MiB", "<= 250 MiB", large.peak_mib <= 250),
        Goal("its throughput beside the small one", f"{share:.3f}", ">= 0.90", share >= 0.9),
        Goal("errors", str(errors), "0", errors == 0),
    ]


def _call(folder: Path, gateway: Gateway, size: worlds.Size) -> Call:
    """A call in the middle of the world: neither the first route nor the first consumer."""
    route = size.routes // 2
    return gateway.call(folder, route=route, consumer=worlds.consumer_for(route, size))


if __name__ == "__main__":
    sys.exit(main())
