"""Micro benchmark of the pure core: decide, reserve, settle, build. Run: python tests/bench/engine.py

Times are of this process's CPU, so that others on the machine disturb them less.
"""

import gc
import resource
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from samples.snapshots import (
    NOON,
    Entry,
    allow,
    attach,
    backend,
    call,
    consumer,
    deny,
    key_of,
    limit,
    policy,
    quota,
    rate,
    route,
    snapshot,
)
from tidegate_dataplane.engine import decide
from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.catalogue import visible_models
from tidegate_dataplane.engine.decide import decide_for
from tidegate_dataplane.engine.decision import Denial
from tidegate_dataplane.ledger.demand import amounts_of
from tidegate_dataplane.ledger.ledger import Ledger, Reservation
from tidegate_dataplane.runtime import Runtime, build
from tidegate_dataplane.runtime.objects import NO_TOKEN, Identity
from tidegate_dataplane.snapshot.entries import Method, Operation, Unit

ROUNDS, CALLS = 5, 20_000


def measured(name: str, once: Callable[[], object]) -> float:
    """Best microseconds a call of several rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(CALLS):
            once()
        best = min(best, (time.process_time() - began) / CALLS * 1e6)
    print(f"{name:55}{best:9.2f} µs")
    return best


def world(*, routes: int, consumers: int, when: str = "") -> list[Entry]:
    """Namespaces of ten routes each; every route has login, two rules, a rate limit and two quotas."""
    entries: list[Entry] = [backend()]
    rules = (deny("closed", models=("forbidden-*",)), allow("staff", roles=("inference",), when=when))
    login = policy(
        "team-a/login", methods=(Method.API_KEY,), rules=rules, rate_limits=(rate(requests=10**9, burst=10**9),)
    )
    entries.append(login)
    big = 10**15
    entries.append(quota("team-a/quota", limit(Unit.REQUESTS, big), limit(Unit.TOKENS, big)))
    for number in range(routes):
        namespace = f"team-{number // 10}" if number else "team-a"
        entries.append(
            route(
                f"{namespace}/route-{number}",
                models=("gpt-4o",) if number == 0 else (f"model-{number}", f"alias-{number}-*"),
                operations=(Operation.CHAT, Operation.EMBEDDINGS),
                policies=attach("team-a/login"),
                quotas=("team-a/quota",),
            )
        )
    entries.append(consumer(roles=("inference", "batch"), team="search", tier="premium"))
    entries.extend(
        consumer(f"team-{number % 500}/app-{number}", roles=("inference",), attributes={"department": "research"})
        for number in range(consumers)
    )
    return entries


def per_call(name: str, runtime: Runtime) -> None:
    ledger = Ledger()
    headers = {f"x-header-{number}": "some value" for number in range(8)} | {"x-team": "search"}
    number = 0

    def fresh() -> Call:
        return Call(
            "ai.example.com", "/v1/chat/completions", "/v1", Operation.CHAT, "gpt-4o", headers, "192.0.2.7",
            (key_of("team-a/search"),), 600, 100, 50,
        )  # fmt: skip

    fixed = call(headers=headers)
    decision = decide(runtime, fixed, NOON)
    if decision.denial is not None:
        raise SystemExit(decision.denial.message)

    def count() -> None:
        nonlocal number
        number += 1
        held = ledger.reserve(str(number), decision.demands, amounts_of(100, 50), NOON)
        if not isinstance(held, Reservation):
            raise SystemExit("refused")
        ledger.settle(held, amounts_of(90, 20), NOON)

    def whole() -> None:
        nonlocal number
        number += 1
        asked = fresh()
        now = NOON + number * 1e-4
        made = decide(runtime, asked, now)
        asked_for = amounts_of(asked.prompt_tokens, asked.max_output_tokens)
        held = ledger.reserve(str(number), made.demands, asked_for, now)
        if not isinstance(held, Reservation):
            raise SystemExit("refused")
        ledger.settle(held, amounts_of(90, 20), now)

    measured(f"{name}: make the Call", fresh)
    measured(f"{name}: decide", lambda: decide(runtime, fixed, NOON))
    measured(f"{name}: reserve + settle, {len(decision.demands)} limits", count)
    measured(f"{name}: all of it", whole)


# Three rules as a company with an identity provider writes them: by claims, by source network, by the clock.
BY_CLAIMS = "'ai-users' in token.claims.groups && token.claims.level >= 2"
BY_NETWORK = "!(request.address.inNetwork('192.0.2.0/24') || request.address.inNetwork('2001:db8::/32'))"
BY_CLOCK = "now.getDayOfWeek('Europe/Berlin') in [0, 6] || now.getHours('Europe/Berlin') < 6"


def with_token() -> None:
    """Decisions about callers with tokens: the same one again and again, and a thousand in turn."""
    rules = (allow("claims", when=BY_CLAIMS), deny("network", when=BY_NETWORK), deny("clock", when=BY_CLOCK))
    login = policy("team-a/login", methods=(Method.API_KEY, Method.JWT), rules=rules)
    runtime = build(*snapshot([backend(), login, consumer(), route(policies=attach("team-a/login"))]))
    known = runtime.consumers["team-a/search"]

    def caller(number: int) -> Identity:
        claims = {"sub": f"u-{number}", "groups": ["everybody", "ai-users", f"g-{number}"], "level": 3, "iat": number}
        token = {**NO_TOKEN, "issuer": "https://idp.example.com", "subject": f"u-{number}", "claims": claims}
        return Identity(known, frozenset({Method.API_KEY}), token=token)

    asked = call(keys=())
    callers = [caller(number) for number in range(1000)]
    turn = iter(range(10**9))

    def same() -> object:
        return decide_for(runtime, asked, callers[0], NOON + next(turn) * 1e-4)

    def others() -> object:
        number = next(turn)
        return decide_for(runtime, asked, callers[number % 1000], NOON + number * 1e-4)

    if decide_for(runtime, asked, callers[0], NOON).denial is not None:
        raise SystemExit("refused")
    measured("token, three CEL rules: decide, same caller", same)
    measured("token, three CEL rules: decide, 1,000 callers in turn", others)


def main() -> None:
    per_call("1 route, no CEL", build(*snapshot(world(routes=1, consumers=0))))
    with_token()
    expression = "now.getHours('Europe/Berlin') >= 6 && request.bodyBytes < 100000"
    per_call("1 route, one CEL", build(*snapshot(world(routes=1, consumers=0, when=expression))))

    entries = world(routes=5_000, consumers=20_000, when=expression)
    index, shards = snapshot(entries, shards=64)
    gc.collect()
    began = time.process_time()
    large = build(index, shards)
    print(f"{'cold build, 5,000 routes + 20,000 consumers':55}{(time.process_time() - began) * 1e3:9.1f} ms")
    per_call("5,000 routes, one CEL", large)
    began = time.process_time()
    listed = visible_models(large, call(), NOON)
    count = 0 if isinstance(listed, Denial) else len(listed)
    print(f"{f'visible models ({count})':55}{(time.process_time() - began) * 1e3:9.1f} ms")

    small = world(routes=3_000, consumers=100, when=expression)
    index, shards = snapshot(small, shards=64)
    base = build(index, shards)
    for what, edited in (
        ("timeout of one route", route("team-1/route-17", models=("model-17",), timeout_ms=1)),
        ("models of one route", route("team-1/route-17", models=("another",))),
        ("a policy of 3,000 routes", policy("team-a/login", generation=2, methods=(Method.API_KEY,))),
    ):
        changed = [edited if entry.source.key == edited.source.key else entry for entry in small]
        after, parts = snapshot(changed, revision=2, shards=64)
        times = []
        for _ in range(10):
            began = time.process_time()
            build(after, parts, base)
            times.append(time.process_time() - began)
        print(f"{f'incremental build, 3,000 routes: {what}':55}{sorted(times)[5] * 1e3:9.2f} ms (median)")

    index, shards = snapshot(entries, shards=64)
    del large, base
    gc.collect()
    tracemalloc.start()
    kept = build(index, shards)
    print(f"{'memory of the large Runtime, beyond its entries':55}{tracemalloc.get_traced_memory()[0] / 1e6:9.1f} MB")
    tracemalloc.stop()
    print(f"peak of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB, {kept.revision=}")


if __name__ == "__main__":
    main()
