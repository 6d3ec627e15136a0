"""A route with thousands of subscribers: what one more costs the compiler and a data plane, in time and memory.

python -m tests.bench.subscribers [--subscribers 5000]
"""

import argparse
import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from msgspec.structs import replace

from samples.snapshots import NOON, call, key_of
from tidegate_dataplane.engine import decide
from tidegate_dataplane.runtime import Runtime, build
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.codec import decode_index, decode_shard
from tidegate_dataplane.snapshot.entries import Index, Shard
from tidegate_operator.compile import Compiled, Memo, compile_world, make_bundle
from tidegate_operator.world import Facts, Kind, ObjectKey, Resource, World

FACTS = Facts()
OWNER = "models"


def world_of(count: int) -> World:
    """One route with `count` approved subscriptions, one of each namespace's only consumer."""
    resources: dict[ObjectKey, Resource] = {}

    def add(kind: Kind, namespace: str, name: str, spec: dict[str, Any]) -> None:
        key = ObjectKey(kind, namespace, name)
        resources[key] = Resource(key, spec, 1, f"uid-{len(resources)}", len(resources))

    add(Kind.BACKEND, OWNER, "mock", {"provider": "Mock"})
    add(
        Kind.ROUTE,
        OWNER,
        "chat",
        {
            "models": ["gpt-4o"],
            "targets": [{"backendRef": {"name": "mock"}}],
            "allowedNamespaces": ["*"],
            "subscription": {"plans": [{"name": "gold", "rateLimit": {"requests": 100}}, {"name": "basic"}]},
        },
    )
    methods = {"targetRefs": [{"kind": "Namespace"}], "authentication": {"methods": ["APIKey"]}}
    add(Kind.POLICY, OWNER, "keys", methods)
    for number in range(count):
        add_subscriber(add, number)
    return World(resources)


def add_subscriber(add: Callable[[Kind, str, str, dict[str, Any]], None], number: int) -> None:
    """A consumer, its subscription and the approval."""
    namespace = f"team-{number:05}"
    digest = sha256(key_of(f"{namespace}/app").encode()).hexdigest()
    add(Kind.CONSUMER, namespace, "app", {"credentials": {"apiKeys": [{"name": "k", "sha256": digest}]}})
    wish = {"consumerRef": {"name": "app"}, "routeRef": {"namespace": OWNER, "name": "chat"}, "plan": "gold"}
    add(Kind.SUBSCRIPTION, namespace, "app-chat", {**wish, "reason": "to measure", "notAfter": "2027-01-01T00:00:00Z"})
    granted = {"namespace": namespace, "name": "app-chat", "consumer": "app", "route": "chat", "plan": "gold"}
    add(Kind.APPROVAL, OWNER, f"{namespace}.app-chat", {"subscription": granted})


def decoded(bundle: Bundle, names: set[str] | None = None) -> tuple[Index, dict[str, Shard]]:
    """As a data plane reads it: all shards, or those of these names."""
    index = decode_index(bundle.index)
    return index, {
        ref.name: decode_shard(bundle.shards[ref.name], name=ref.name, sha256=ref.sha256)
        for ref in index.shards
        if names is None or ref.name in names
    }


def milliseconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long it keeps the processor busy, and what it returns."""
    started = time.process_time()
    result = work()
    return (time.process_time() - started) * 1000, result


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscribers", type=int, default=5000)
    count = parser.parse_args().subscribers
    world = world_of(count)
    memo = Memo()
    cold, compiled = milliseconds(lambda: compile_world(world, FACTS, None, memo))
    sizes = [len(shard.data) for shard in compiled.shards]
    print(f"{count} subscribers: first compilation {cold:.0f} ms, {len(sizes)} shards, the largest {max(sizes)} bytes")
    index, shards = decoded(make_bundle(compiled, FACTS, 1))
    first, runtime = milliseconds(lambda: build(index, shards))
    print(f"first build {first:.1f} ms")
    again, rebuilt, written = _one_revoked(world, memo, compiled, runtime)
    print(f"one revoked: compile {again:.1f} ms, {written} shards written, decode and build {rebuilt:.1f} ms")
    print(f"memory of the subscribers in a data plane: {_memory(compiled):.1f} MB")
    asked = call(keys=(key_of("team-00007/app"),))
    assert decide(runtime, asked, NOON).denial is None
    rounds = [milliseconds(lambda: [decide(runtime, asked, NOON) for _ in range(2000)])[0] / 2 for _ in range(9)]
    print(f"a decision for a subscriber: {statistics.median(rounds):.2f} µs")


def _one_revoked(world: World, memo: Memo, compiled: Compiled, runtime: Runtime) -> tuple[float, float, int]:
    """Medians of compiling, and of decoding and building; how many shards that wrote."""
    times, builds, written = [], [], 0
    for number in range(9):
        world = _revoked(world, ObjectKey(Kind.APPROVAL, OWNER, f"team-{number:05}.app-chat"))
        spent, after = milliseconds(lambda: compile_world(world, FACTS, compiled.served, memo))  # noqa: B023 - at once
        known = {shard.sha256 for shard in compiled.shards}
        changed = {shard.name for shard in after.shards if shard.sha256 not in known}
        bundle = make_bundle(after, FACTS, number + 2)
        took, runtime = milliseconds(lambda: build(*decoded(bundle, changed), runtime))  # noqa: B023 - at once
        times.append(spent)
        builds.append(took)
        compiled, written = after, len(changed)
    return statistics.median(times), statistics.median(builds), written


def _revoked(world: World, key: ObjectKey) -> World:
    old = world.resources[key]
    spec = {**old.spec, "revoked": True}
    return World({**world.resources, key: Resource(key, spec, 2, old.uid, old.created)})


def _memory(compiled: Compiled) -> float:
    """What a Runtime takes beyond one whose route has no subscribers."""
    sizes = []
    for keep in (False, True):
        gc.collect()
        tracemalloc.start()
        index, shards = decoded(make_bundle(compiled, FACTS, 1))
        if not keep:
            shards = {
                name: replace(shard, routes=tuple(replace(route, subscribers=()) for route in shard.routes))
                for name, shard in shards.items()
            }
        built = build(index, shards)
        shards = {}
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        del built
    return (sizes[1] - sizes[0]) / 1e6


if __name__ == "__main__":
    main()
