"""Every change that `explain` offers to a refused caller, made for real, lets the call in.

TIDEGATE_WORLDS says on how many worlds.
"""

import os
from collections import Counter
from time import perf_counter

import pytest
from msgspec.structs import replace

from deciding.random_world import FACTS, Request, WorldMaker
from tidegate_dataplane.engine import Call, parse_path
from tidegate_dataplane.engine.assume import CannotAssume, assume
from tidegate_dataplane.engine.decide import decide_for
from tidegate_dataplane.engine.decision import Denial
from tidegate_dataplane.engine.remedies import Found, Situation, find_remedies
from tidegate_dataplane.engine.remedies.search import MAX_REMEDIES
from tidegate_dataplane.runtime import Runtime, build
from tidegate_dataplane.runtime.objects import NOBODY, Identity
from tidegate_dataplane.snapshot.entries import (
    ConsumerEntry,
    Method,
    Operation,
    PolicyEntry,
    RouteEntry,
    Shard,
    ShardRef,
)
from tidegate_operator.inquiry.compiled_folder import Workbench

WORLDS = int(os.environ.get("TIDEGATE_WORLDS", "60"))
FIRST = int(os.environ.get("TIDEGATE_FIRST_WORLD", "0"))
REQUESTS = 6


def situation_of(runtime: Runtime, request: Request) -> Situation | None:
    base, operation = parse_path(request.path)
    assert isinstance(operation, Operation)
    call = Call(
        host=request.host,
        path=request.path,
        base=base,
        operation=operation,
        model=request.model,
        headers=request.headers,
        address=request.address,
        peer=request.address,
        body_bytes=request.padding,
    )
    identity: Identity = NOBODY
    if request.consumer:
        methods = [Method.API_KEY] if request.key else []
        methods += [] if request.token is None else [Method.JWT]
        try:
            identity = assume(runtime, runtime.consumers[request.consumer], methods, request.token)
        except CannotAssume:
            return None
    return Situation(call, identity, request.now)


def made_true(runtime: Runtime, found: Found) -> Denial | None:
    """The decision in a world that is built anew, whole, with every changed object in its place."""
    changed = dict(found.situation.objects)
    shards = {}
    for name, shard in runtime.shards.items():
        shards[name] = replace(
            shard,
            routes=tuple(one for one in (changed.pop((RouteEntry, e.source.key), e) for e in shard.routes)),
            policies=tuple(one for one in (changed.pop((PolicyEntry, e.source.key), e) for e in shard.policies)),
            consumers=tuple(one for one in (changed.pop((ConsumerEntry, e.source.key), e) for e in shard.consumers)),
        )
    new = tuple(one for one in changed.values() if isinstance(one, PolicyEntry))
    assert len(new) == len(changed)
    shards["new"] = Shard(1, policies=new)
    refs = tuple(ShardRef(name, f"changed-{name}", 0) for name in shards)
    after = build(replace(runtime.index, shards=refs), shards)
    identity = found.situation.identity
    if identity is not NOBODY:
        identity = replace(identity, consumer=after.consumers[identity.consumer.key], resolved={})
    return decide_for(after, found.situation.call, identity, found.situation.now).denial


@pytest.mark.timeout(1_200)
def test_what_is_offered_lets_the_call_in() -> None:
    seen: Counter[str] = Counter()
    slowest = 0.0
    for seed in range(FIRST, FIRST + WORLDS):
        maker = WorldMaker(seed)
        runtime = Workbench(FACTS).runtime_of(maker.world())[1]
        for request in maker.requests(REQUESTS):
            situation = situation_of(runtime, request)
            if situation is None:
                continue
            denial = decide_for(runtime, situation.call, situation.identity, situation.now).denial
            started = perf_counter()
            remedies = find_remedies(runtime, situation)
            slowest = max(slowest, perf_counter() - started)
            if denial is None:
                assert not remedies
                continue
            assert len(remedies) <= MAX_REMEDIES
            seen[f"{denial.code}: {'helped' if remedies else 'nothing helps'}"] += 1
            for found in remedies:
                told = f"world {seed}: {request}\n{denial}\n{found.remedy}"
                assert made_true(runtime, found) is None, told
                assert found.remedy.changes, told
    print(f"{WORLDS} worlds, slowest search {slowest:.3f} s: {dict(seen.most_common())}")
    helped = sum(count for name, count in seen.items() if name.endswith(": helped"))
    assert helped > 0.8 * sum(seen.values())
