"""What a change waits for at the webhook: the judgement alone, without the way there and back.

`make bench-admission`, or `python -m bench.admission [--routes N] [--consumers N] [--rounds N]` with PYTHONPATH=tests.
The last line is of a roll-out: something else was stored since the last judgement, so there are two compilations.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from typing import Any

from bench.compile_time import FACTS, Size, make_world
from tidegate_operator.admission.findings import DEFAULT_DENIED, Change, Operation, answer
from tidegate_operator.admission.review import Reviewer
from tidegate_operator.world import Kind, ObjectKey, Resource, World

NOW = 1_800_000_000.0


def main() -> None:
    """Print a table: milliseconds of a judgement, by what is changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--routes", type=int, default=3_000)
    parser.add_argument("--consumers", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    size = Size(options.routes, options.consumers, backends=100, policies=500, quotas=400)
    world, reviewer = make_world(size), Reviewer(FACTS)
    began, before = time.perf_counter(), _resident()
    reviewer.follow(world)
    cold = time.perf_counter() - began
    print(f"{size.total} objects: first compilation {cold:.1f} s (before anybody asks), {_resident() - before:.0f} MB")
    print(f"{'change':<44} {'median':>8} {'worst':>8}  said")
    for name, change in _changes(world).items():
        print(_line(name, [_timed(reviewer, world, change) for _ in range(options.rounds)]))
    name, key = "route edited, after another stored change", ObjectKey(Kind.ROUTE, "team-7", "route-7")
    rounds = []
    for turn in range(options.rounds):
        other = ObjectKey(Kind.ROUTE, "team-8", "route-8")
        stored = _edited(world.resources[other], timeout=f"{turn + 1}s")
        world = World({**world.resources, other: stored})
        rounds.append(_timed(reviewer, world, _update(world.resources[key], timeout="10s")))
    print(_line(name, rounds))


def _changes(world: World) -> dict[str, Change]:
    def at(kind: Kind, number: int, name: str) -> Resource:
        return world.resources[ObjectKey(kind, f"team-{number}", name)]

    route, policy = at(Kind.ROUTE, 7, "route-7"), at(Kind.POLICY, 7, "policy-7")
    consumer, backend = at(Kind.CONSUMER, 7, "app-7"), at(Kind.BACKEND, 7, "backend-7")
    wide = world.resources[ObjectKey(Kind.POLICY, FACTS.platform_namespace, "baseline")]
    new = replace(route, key=ObjectKey(Kind.ROUTE, "team-7", "new"), spec={**route.spec, "models": ["new"]})
    rival = replace(new, created=new.created + 1, spec=dict(route.spec))
    nobody = {"rules": [{"name": "roles", "effect": "Allow", "roles": ["nobody"]}]}
    return {
        "route created": Change(Operation.CREATE, new.key, None, new),
        "route created, in conflict": Change(Operation.CREATE, rival.key, None, rival),
        "route edited": _update(route, timeout="10s"),
        "consumer edited": _update(consumer, tier="free"),
        "consumer deleted": Change(Operation.DELETE, consumer.key, consumer, None),
        "backend deleted, 60 routes dangling": Change(Operation.DELETE, backend.key, backend, None),
        "policy of one route edited": _update(policy, rateLimits=[{"name": "burst", "requests": 1}]),
        "policy of one route, locks it": _update(policy, authorization=nobody),
        "policy of the gateway edited": _update(wide, rateLimits=[{"name": "burst", "requests": 1}]),
        "policy of the gateway, locks all": _update(wide, strength="Required", authorization=nobody),
    }


def _update(resource: Resource, **spec: Any) -> Change:
    return Change(Operation.UPDATE, resource.key, resource, _edited(resource, **spec))


def _edited(resource: Resource, **spec: Any) -> Resource:
    return replace(resource, spec={**resource.spec, **spec}, generation=resource.generation + 1)


def _timed(reviewer: Reviewer, world: World, change: Change) -> tuple[float, str]:
    began = time.perf_counter()
    given = answer(change, reviewer.review(world, change, NOW), DEFAULT_DENIED)
    said = "denied" if not given.allowed else f"{len(given.warnings)} warnings" if given.warnings else "allowed"
    return (time.perf_counter() - began) * 1000, said


def _line(name: str, rounds: list[tuple[float, str]]) -> str:
    times = [milliseconds for milliseconds, _ in rounds]
    return f"{name:<44} {statistics.median(times):5.0f} ms {max(times):5.0f} ms  {rounds[0][1]}"


def _resident() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


if __name__ == "__main__":
    main()
