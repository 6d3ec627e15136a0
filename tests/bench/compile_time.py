"""Times the compiler: cold, and warm with one changed object. Run `python tests/bench/compile_time.py`.

Prints wall time and, in brackets, CPU time of the thread: where they differ the machine was busy with something else.
"""

import hashlib
import time
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from tidegate_operator.compile import Compiled, Memo, Served, compile_world
from tidegate_operator.world import Facts, Kind, ObjectKey, Resource, World

FACTS = Facts()
NAMESPACES = 50
WARM_ROUNDS = 15


@dataclass(frozen=True)
class Size:
    """How many objects of each kind a World holds."""

    routes: int
    consumers: int
    backends: int
    policies: int
    quotas: int

    @property
    def total(self) -> int:
        return self.routes + self.consumers + self.backends + self.policies + self.quotas


def make_world(size: Size) -> World:
    """A World of plausible objects over 50 namespaces, plus one policy and one quota for the whole gateway."""
    resources: dict[ObjectKey, Resource] = {}

    def add(kind: Kind, namespace: str, name: str, spec: dict[str, Any]) -> None:
        key = ObjectKey(kind, namespace, name)
        resources[key] = Resource(key, spec, generation=1, uid=f"{kind}-{namespace}-{name}", created=1_700_000_000)

    platform = FACTS.platform_namespace
    add(Kind.POLICY, platform, "baseline", {**_policy(), "targetRefs": [{"kind": "Gateway"}], "strength": "Default"})
    add(Kind.QUOTA, platform, "baseline", {**_quota(), "targetRefs": [{"kind": "Gateway"}]})
    for number in range(size.backends):
        add(Kind.BACKEND, _namespace(number), f"backend-{number}", {"provider": "Mock", "allowedNamespaces": ["*"]})
    for number in range(size.routes):
        add(Kind.ROUTE, _namespace(number), f"route-{number}", _route(number, size.backends))
    for number in range(size.policies):
        target = {"kind": "AIRoute", "name": f"route-{number}"}
        add(Kind.POLICY, _namespace(number), f"policy-{number}", {**_policy(), "targetRefs": [target]})
    for number in range(size.quotas):
        target = {"kind": "AIRoute", "name": f"route-{number}"}
        add(Kind.QUOTA, _namespace(number), f"quota-{number}", {**_quota(), "targetRefs": [target]})
    for number in range(size.consumers):
        add(Kind.CONSUMER, _namespace(number), f"app-{number}", _consumer(number))
    return World(resources)


def changed(world: World, key: ObjectKey, spec: dict[str, Any]) -> World:
    """The World with one object edited, all others the same Python objects."""
    old = world.resources[key]
    edited = replace(old, spec={**old.spec, **spec}, generation=old.generation + 1)
    return World({**world.resources, key: edited}, world.secrets)


class Stopwatch:
    """Wall and CPU time since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.thread_time()

    def read(self) -> tuple[float, float]:
        """Milliseconds of wall and CPU time."""
        return (time.perf_counter() - self._wall) * 1000, (time.thread_time() - self._cpu) * 1000


def time_warm(
    world: World, memo: Memo, served: Served, key: ObjectKey, specs: list[dict[str, Any]]
) -> tuple[float, float]:
    """Median milliseconds (wall, CPU) of a compilation after one edit of `key`."""
    rounds = []
    for turn in range(WARM_ROUNDS):
        world = changed(world, key, specs[turn % len(specs)])
        watch = Stopwatch()
        served = compile_world(world, FACTS, served, memo).served
        rounds.append(watch.read())
    walls, cpus = zip(*rounds, strict=True)
    return median(walls), median(cpus)


def measure(title: str, size: Size) -> None:
    world = make_world(size)
    memo = Memo()
    watch = Stopwatch()
    compiled: Compiled = compile_world(world, FACTS, None, memo)
    wall, cpu = watch.read()
    assert all(verdict.accepted and verdict.resolved for verdict in compiled.verdicts.values())
    print(f"{title}: {size.total} objects, {len(compiled.shards)} shards, cold {wall:.0f} ms ({cpu:.0f})")
    edits: dict[str, tuple[Kind, str, list[dict[str, Any]]]] = {
        "route timeout": (Kind.ROUTE, "route-7", [{"timeout": "10s"}, {"timeout": "20s"}]),
        "route models": (Kind.ROUTE, "route-7", [{"models": ["other-a"]}, {"models": ["other-b"]}]),
        "policy rule": (Kind.POLICY, "policy-7", [{"mode": "Shadow"}, {"mode": "Enforce"}]),
        "quota amount": (Kind.QUOTA, "quota-7", [{"per": "Route"}, {"per": "Consumer"}]),
        "consumer tier": (Kind.CONSUMER, "app-7", [{"tier": "free"}, {"tier": "premium"}]),
        "backend grants": (Kind.BACKEND, "backend-7", [{"models": []}, {"allowedNamespaces": ["*", "x"]}]),
    }
    for name, (kind, object_name, specs) in edits.items():
        key = ObjectKey(kind, _namespace(7), object_name)
        wall, cpu = time_warm(world, memo, compiled.served, key, specs)
        print(f"    warm, {name:<16} {wall:6.1f} ms ({cpu:.1f})")


def _namespace(number: int) -> str:
    return f"team-{number % NAMESPACES}"


def _route(number: int, backends: int) -> dict[str, Any]:
    first, second = number % backends, (number + 1) % backends
    return {
        "models": [f"model-{number}"],
        "operations": ["Chat", "Embeddings"],
        "targets": [
            {"backendRef": {"name": f"backend-{first}", "namespace": _namespace(first)}, "weight": 90},
            {"backendRef": {"name": f"backend-{second}", "namespace": _namespace(second)}, "weight": 10},
        ],
    }


def _policy() -> dict[str, Any]:
    return {
        "authentication": {"methods": ["APIKey"]},
        "authorization": {
            "rules": [
                {"name": "roles", "effect": "Allow", "roles": ["inference"]},
                {"name": "large", "effect": "Deny", "when": "request.model.startsWith('huge')"},
            ]
        },
        "rateLimits": [{"name": "burst", "requests": 100, "period": "1m"}],
    }


def _quota() -> dict[str, Any]:
    return {"limits": [{"unit": "Tokens", "amount": "5000000", "window": {"calendar": "Month"}}]}


def _consumer(number: int) -> dict[str, Any]:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return {"roles": ["inference"], "team": "search", "credentials": {"apiKeys": [{"name": "ci", "sha256": digest}]}}


if __name__ == "__main__":
    measure("small", Size(routes=3_000, consumers=1_000, backends=100, policies=500, quotas=400))
    measure("large", Size(routes=5_000, consumers=20_000, backends=100, policies=500, quotas=400))
