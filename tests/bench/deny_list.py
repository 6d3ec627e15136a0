"""A deny list and a leaked-key list of 100,000 entries each: what they cost a request, a reload and an operator.

Two routes of one data plane take turns, the one with both lists in its policy, the other without: two processes may
differ by a quarter with the same code, by where their memory happens to lie. Then one process reads the lists as an
operator and as a data plane do: from nothing, after one edited line, and when nothing has changed.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hashlib
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from bench import worlds
from bench.call import expect_answer
from bench.figures import Goal, median, report, table
from bench.gateway import Gateway, start_gateway
from bench.nginx import start_upstream
from bench.programs import require_programs, require_two_cores
from bench.rounds import HEADER, Contender, Series, interleave
from bench.throughput import CONNECTIONS, SMALL
from tidegate_dataplane.engine import Call, decide
from tidegate_dataplane.reload import Outcome, Reloader
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.lists import AddressList, HashList, Lists
from tidegate_dataplane.snapshot.bundle import Bundle, encode_bundle
from tidegate_dataplane.snapshot.entries import Operation
from tidegate_dataplane.snapshot.records import address_number
from tidegate_operator.compile import Memo, compile_world, make_bundle
from tidegate_operator.compile.compiled import Compiled, Served
from tidegate_operator.world import ConfigMapKey, World

ENTRIES = 100_000
_PARTS = 4
_NAMESPACE = worlds.namespace_of(0)
_LISTED = worlds.route_name(1)
_LOOKUPS = 20_000


@dataclass(frozen=True)
class Step:
    """What one change of the lists took: the operator's compilation and the data plane's reload (seconds), and what
    travelled (shards, bytes)."""

    name: str
    compiling: float
    loading: float
    shards: int
    size: int

    def row(self) -> tuple[str, ...]:
        """A line of the table."""
        loading = f"{self.loading * 1000:.1f}" if self.shards else "-"
        return (self.name, f"{self.compiling * 1000:.1f}", loading, str(self.shards), f"{self.size / 1024:.0f}")


def main() -> int:
    """Run it; returns the exit code."""
    arguments = argparse.ArgumentParser(prog="bench.deny_list", description=__doc__)
    arguments.add_argument("--rounds", type=int, default=9, help="rounds of both contenders")
    arguments.add_argument("--seconds", type=float, default=4, help="seconds of one measurement (whole ones)")
    options = arguments.parse_args()
    require_programs("wrk", "nginx", "taskset")
    require_two_cores()
    addresses, hashes = list(_addresses(ENTRIES)), list(_hashes(ENTRIES))
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        series, memory = throughput(Path(name), addresses, hashes, rounds=options.rounds, seconds=options.seconds)
    steps, first, last = asyncio.run(reloads(addresses, hashes))
    looked_up, decided = lookups(last.lists), deciding(first, last)
    ratio = series[1].rate / series[0].rate if series[0].rate else 0.0
    pairs = [after.load.rate / before.load.rate for before, after in zip(*(one.rounds for one in series), strict=True)]
    return report(
        "deny_list",
        tables=[
            table(
                f"one core, c={CONNECTIONS}, medians of {options.rounds} rounds", HEADER, [it.row() for it in series]
            ),
            table(
                f"{ENTRIES:,} addresses and {ENTRIES:,} key hashes",
                ("change", "operator ms", "data plane ms", "shards", "KiB"),
                [step.row() for step in steps],
            ),
            table("a look-up", ("list", "µs", "bytes an entry"), looked_up),
            table("a decision", ("", "µs"), [(name, f"{spent:.2f}") for name, spent in decided]),
            table(
                "memory of the data plane, MiB",
                ("", "peak"),
                [(name, f"{size >> 20}") for name, size in memory.items()],
            ),
        ],
        goals=[*_goals(ratio, pairs, series, steps), _added(decided)],
        data={
            "series": [item.data() for item in series],
            "pairs": pairs,
            "steps": [step.__dict__ for step in steps],
            "lookups": looked_up,
            "decisions": decided,
            "peak_bytes": memory,
        },
    )


def throughput(
    folder: Path, addresses: list[str], hashes: list[str], *, rounds: int, seconds: float
) -> tuple[list[Series], dict[str, int]]:
    """Both routes in turn, and the most memory that a data plane held with and without the lists."""
    with start_upstream(folder) as upstream:
        plain, listed = folder / "plain.json", folder / "listed.json"
        endpoint = f"{upstream.url}/v1"
        for path, world in (
            (plain, _world([], [], endpoint=endpoint)),
            (listed, _world(addresses, hashes, endpoint=endpoint, only=_LISTED)),
        ):
            compiled = compile_world(world, worlds.FACTS)
            path.write_bytes(encode_bundle(make_bundle(compiled, worlds.FACTS, 1)))
        with (
            start_gateway(folder, plain, name="plain") as without,
            start_gateway(folder, listed, name="listed") as with_lists,
        ):
            contenders = [_contender("no list", with_lists, folder, 0), _contender("two lists", with_lists, folder, 1)]
            series = interleave(contenders, connections=CONNECTIONS, rounds=rounds, seconds=seconds)
            return series, {"no list": without.peak_bytes(), "two lists": with_lists.peak_bytes()}


async def reloads(addresses: list[str], hashes: list[str]) -> tuple[list[Step], Runtime, Runtime]:
    """Lists that come, one line that changes, no change, and all lines changed; and the first and last Runtime."""
    reloader = Reloader(worlds.FACTS.gateway)
    memo = Memo()
    served: Served | None = None
    known: set[str] = set()
    steps: list[Step] = []
    runtimes: list[Runtime] = []
    before = _world([], [], endpoint=None)
    edited = [*addresses[:-1], "198.51.100.77"]
    others = list(_addresses(ENTRIES, 2)), list(_hashes(ENTRIES, 2))
    worlds_ = {
        "no list yet": before,
        "both lists appear": _world(addresses, hashes, endpoint=None, old=before),
        "one line of the addresses": _world(edited, hashes, endpoint=None, old=before),
        "nothing": _world(list(edited), list(hashes), endpoint=None, old=before),
        "one line of the hashes": _world(edited, [*hashes[:-1], "0" * 64], endpoint=None, old=before),
        "every line of both": _world(*others, endpoint=None, old=before),
    }
    for revision, (name, world) in enumerate(worlds_.items(), 1):
        began = time.perf_counter()
        compiled = compile_world(world, worlds.FACTS, served, memo)
        compiling, served = time.perf_counter() - began, compiled.served
        fresh = [shard for shard in compiled.shards if shard.sha256 not in known]
        known = {shard.sha256 for shard in compiled.shards}
        loading = await _load(reloader, compiled, revision)
        steps.append(Step(name, compiling, loading, len(fresh), sum(len(shard.data) for shard in fresh)))
        if reloader.runtime is not None:
            runtimes.append(reloader.runtime)
    reloader.close()
    return steps[1:], runtimes[0], runtimes[-1]


async def _load(reloader: Reloader, compiled: Compiled, revision: int) -> float:
    bundle: Bundle = make_bundle(compiled, worlds.FACTS, revision)
    began = time.perf_counter()
    outcome = await reloader.offer(bundle)
    if outcome is not Outcome.LOADED:
        raise RuntimeError(f"the data plane answered {outcome}: {reloader.last_refusal}")
    return time.perf_counter() - began


def lookups(lists: Lists) -> list[tuple[str, str, str]]:
    """Microseconds to look up what is new each time, and what the compiled lists take."""
    asked = [(str(IPv4Address(number)), hashlib.sha256(b"%d" % number).digest()[:16]) for number in range(_LOOKUPS)]
    rows = []
    for key, found in sorted(lists.items()):
        if isinstance(found, AddressList):
            spent = _each(found.contains, [address for address, _ in asked])
        else:
            spent = _each(found.contains, [digest for _, digest in asked])
        rows.append((f"{key} {key.kind}", f"{spent * 1e6:.2f}", f"{_bytes_of(found) / found.count:.1f}"))
    return rows


def deciding(without: Runtime, with_lists: Runtime) -> list[tuple[str, float]]:
    """Microseconds to decide about a call: without lists, with both, and with both from ever new addresses.

    The best of alternating turns: unlike throughput, a busy machine hardly changes it.
    """
    here = ["127.0.0.1"] * _LOOKUPS
    anywhere = [str(IPv4Address(number)) for number in range(_LOOKUPS)]
    cases = [("no list", without, here), ("two lists", with_lists, here), ("new addresses", with_lists, anywhere)]
    best = dict.fromkeys((name for name, _, _ in cases), float("inf"))
    for _ in range(7):
        for name, runtime, addresses in cases:
            if addresses is anywhere:
                runtime.lists.remembered.clear()
                address_number.cache_clear()
            best[name] = min(best[name], _decide_all(runtime, addresses))
    return list(best.items())


def _decide_all(runtime: Runtime, addresses: list[str]) -> float:
    model, keys = worlds.model_of(0), (worlds.api_key(0),)
    now = time.time()
    calls = [
        Call("bench", worlds.PATH, "/v1", Operation.CHAT, model, {}, address=address, keys=keys)
        for address in addresses
    ]
    denied = 0
    began = time.perf_counter()
    for call in calls:
        denied += decide(runtime, call, now).denial is not None
    spent = (time.perf_counter() - began) / len(calls) * 1e6
    if denied:
        raise RuntimeError(f"{denied} calls were refused")
    return spent


def _each(function: Callable[[Any], bool], values: list[Any]) -> float:
    def once() -> float:
        began = time.perf_counter()
        for value in values:
            function(value)
        return (time.perf_counter() - began) / len(values)

    return min(once() for _ in range(5))


def _bytes_of(found: AddressList | HashList) -> int:
    return sum(
        sys.getsizeof(value)
        for kind in type(found).__mro__
        for name in getattr(kind, "__slots__", ())
        if not isinstance(value := getattr(found, name), int)
    )


def _goals(ratio: float, pairs: list[float], series: list[Series], steps: list[Step]) -> list[Goal]:
    slowest = max(step.loading for step in steps)
    line = next(step for step in steps if step.name == "one line of the addresses")
    idle = next(step for step in steps if step.name == "nothing")
    errors = sum(item.errors for item in series)
    cpu = [median([item.cpu_us for item in one.rounds]) for one in series]
    return [
        Goal("throughput with both lists", f"{ratio:.3f} of without", ">= 0.97", ratio >= 0.97),
        Goal("the same, median of the rounds", f"{median(pairs):.3f}", ">= 0.97", median(pairs) >= 0.97),
        Goal("CPU a request with both lists", f"{cpu[1] / cpu[0]:.3f} of without", "<= 1.03", cpu[1] <= 1.03 * cpu[0]),
        Goal("slowest reload of a data plane", f"{slowest * 1000:.0f} ms", "<= 1000 ms", slowest <= 1),
        Goal("shards rewritten by one line", str(line.shards), "<= 2", line.shards <= 2),
        Goal("shards rewritten by no change", str(idle.shards), "0", idle.shards == 0),
        Goal("errors", str(errors), "0", errors == 0),
    ]


def _added(decided: list[tuple[str, float]]) -> Goal:
    (_, without), (_, known), (_, new) = decided
    words = f"{known - without:.2f} µs, from a new address {new - without:.2f} µs"
    return Goal("added to a decision by both lists", words, "<= 2 µs when remembered", known - without <= 2)


def _contender(name: str, gateway: Gateway, folder: Path, route: int) -> Contender:
    call = gateway.call(folder, route=route)
    expect_answer(call)
    return Contender(name, call, gateway.process.pid)


def _world(
    addresses: list[str], hashes: list[str], *, endpoint: str | None, old: World | None = None, only: str = ""
) -> World:
    """A small world whose policy names the lists, if there is anything in them; with `only`, a policy of that route.

    Objects stay those of `old`.
    """
    listed = [f"feed-{part}" for part in range(_PARTS)], [f"leaks-{part}" for part in range(_PARTS)]
    world = old or worlds.world(worlds.manifests(worlds.Size(*SMALL, endpoint=endpoint)))
    if not addresses:
        return world
    manifest = _login(only) if only else worlds.policy(_NAMESPACE)
    manifest["spec"]["network"] = {"denyLists": [{"configMapRef": {"name": name}} for name in listed[0]]}
    manifest["spec"]["authentication"]["leakedKeys"] = [{"configMapRef": {"name": name}} for name in listed[1]]
    policy = worlds.resource(manifest, generation=2)
    config_maps = {
        ConfigMapKey(_NAMESPACE, name): {"list.txt.gz": gzip.compress("\n".join(lines[part::_PARTS]).encode(), mtime=0)}
        for names, lines in zip(listed, (addresses, hashes), strict=True)
        for part, name in enumerate(names)
    }
    # The other route has a policy of its own too, but for the lists.
    other = worlds.resource(_login(worlds.route_name(0)))
    resources = {**world.resources, policy.key: policy} | ({other.key: other} if only else {})
    return World(resources, config_maps=config_maps)


def _login(route: str) -> worlds.Manifest:
    manifest = worlds.policy(_NAMESPACE)
    manifest["metadata"]["name"] = f"login-{route}"
    manifest["spec"] = {
        "targetRefs": [{"kind": "AIRoute", "name": route}],
        "authentication": {"methods": ["APIKey"]},
    }
    return manifest


def _addresses(count: int, seed: int = 1) -> Iterable[str]:
    """Seven in ten IPv4, as in real feeds; none is where the load comes from."""
    chance = random.Random(seed)
    for _ in range(count):
        if chance.random() < 0.7:
            yield str(IPv4Address(chance.randrange(0x8000_0000, 0xDFFF_FFFF))) + chance.choice(("", "", "/28", "/24"))
        else:
            yield str(IPv6Address((0x2A00 << 112) | chance.getrandbits(112))) + chance.choice(("", "/64", "/48"))


def _hashes(count: int, seed: int = 1) -> Iterable[str]:
    chance = random.Random(seed)
    return (chance.randbytes(32).hex() for _ in range(count))


if __name__ == "__main__":
    sys.exit(main())
