"""Policies only tighten: one more Required policy, whatever is in it and wherever it is attached, never lets in a
request that was refused.

What is excepted, and nothing else:

1. The first authentication section on a route. Until then the route is closed, for nobody said how callers prove who
   they are.
2. The first provider for a token method on a route, for sections that name none of their own; and any other provider,
   for callers whose consumer only it vouches for: tokens prove nobody before somebody vouches for them.
3. The first claims mapping on a route: until then what a token claims of its holder counts for nothing.
4. A section of strength Default, which yields to the same section of a narrower, enforced policy.

TIDEGATE_WORLDS says on how many worlds; 5,000 take about five minutes.
"""

import os
from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from deciding.random_world import FACTS, NAMESPACES, PLATFORM, Request, WorldMaker
from tidegate_dataplane.engine import denials, parse_path
from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.claimed import standing_on
from tidegate_dataplane.engine.decide import decide_for
from tidegate_dataplane.engine.decision import Decision, Denial
from tidegate_dataplane.engine.identify import identify
from tidegate_dataplane.engine.prove import TokenProof, prove
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import NOBODY, Credential, Identity, Route
from tidegate_dataplane.snapshot.entries import Method, Operation
from tidegate_operator.inquiry.compiled_folder import Workbench
from tidegate_operator.world import Kind, ObjectKey, Resource, World

WORLDS = int(os.environ.get("TIDEGATE_WORLDS", "150"))
FIRST = int(os.environ.get("TIDEGATE_FIRST_WORLD", "0"))
REQUESTS = 24


class Seen:
    """What was seen of callers before: the same in both worlds, whatever they let in."""

    def calls(self, consumer: str) -> int:
        return 100

    def knows_address(self, consumer: str, address: str) -> bool:
        return address.startswith("10.")

    def knows_country(self, consumer: str, country: str) -> bool:
        return False

    def knows_model(self, consumer: str, model: str) -> bool:
        return model == "gpt-4o"

    def usual_hour(self, consumer: str, zone: str, now: float) -> bool:
        return int(now / 3_600) % 3 > 0

    def recent_calls(self, consumer: str, period: float, now: float) -> int:
        return int(now) % 4

    def recent_failures(self, address: str, period: float, now: float) -> int:
        return int(now) % 3

    def used(self, request: str) -> bool:
        return False


def identity_of(runtime: Runtime, request: Request) -> Identity | Denial:
    """Who the caller is by key and token, as `authenticate` finds it; the token's signature is taken for good."""
    key: Credential | None = None
    if request.key:
        found = identify(runtime, (request.key,), request.now)
        if isinstance(found, Denial):
            return found
        key = found
    if request.token is None:
        return NOBODY if key is None else key.identity
    issuer = str(request.token["iss"])
    accepted = frozenset(one.key for one in runtime.providers.by_key.values() if one.entry.issuer == issuer)
    claims = dict(request.token)
    variables: dict[str, object] = {
        "issuer": issuer,
        "subject": claims["sub"],
        "acr": claims.get("acr", ""),
        "authTime": claims["auth_time"],
        "claims": claims,
    }
    if not accepted:
        return denials.UNKNOWN_TOKEN
    return prove(runtime, key, TokenProof(Method.JWT, issuer, claims, variables, accepted, b""), None)


def decided(runtime: Runtime, request: Request, identity: Identity) -> Decision:
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
    return decide_for(runtime, call, identity, request.now, observed=Seen())


def exception(before: Runtime, after: Runtime, route: Route, now: Identity, was: Identity | Denial) -> str:
    """By which exception a request that was refused may be let in now; "" when by none."""
    old, new = before.routes[route.key], after.routes[route.key]
    if not old.guard.gates:
        return "first authentication section"
    if isinstance(was, Denial):
        return "the token proved nobody" if was.code in ("unknown_consumer", "different_consumers") else ""
    identity = now if not now.alternatives else standing_on(new, now).identity
    if Method.JWT in identity.methods and not old.guard.providers.get(Method.JWT):
        return "first provider"
    if not old.guard.mappings & identity.claims.keys() and new.guard.mappings & identity.claims.keys():
        return "first claims mapping"
    if sections_of(old) - sections_of(new):
        return "a Default section yields"
    return ""


def sections_of(route: Route) -> set[tuple[str, str]]:
    return {(one.policy, section) for one in route.entry.policies for section in one.sections}


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("mode", ["Enforce", "Shadow"])
def test_one_more_required_policy_never_lets_in_what_was_refused(mode: str) -> None:
    seen: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + WORLDS):
        maker, chance = WorldMaker(seed, shared=True), Random(seed)
        world, bench = maker.world(), Workbench(FACTS)
        before = bench.runtime_of(world)[1]
        added = added_policy(maker, world, chance, mode)
        compiled, after = bench.runtime_of(
            replace(world, resources={**world.resources, added.key: added}), previous=before
        )
        assert not compiled.verdicts[added.key].errors
        for request in maker.requests(REQUESTS):
            seen[outcome(before, after, request, f"world {seed}: {added}\n{request}")] += 1
    print(f"{mode}: {WORLDS} worlds, {sum(seen.values())} requests: {dict(seen.most_common())}")
    # A Shadow policy is never obeyed.
    assert mode == "Enforce" or seen.keys() <= {"let in as before", "refused as before"}
    if WORLDS >= 100 and mode == "Enforce":
        # Chance must bring both: requests that the added policy refuses, and such as it leaves alone.
        assert {"refused now", "let in as before", "refused as before"} <= seen.keys()


def outcome(before: Runtime, after: Runtime, request: Request, told: str) -> str:
    was = identity_of(before, request)
    earlier = was if isinstance(was, Denial) else decided(before, request, was).denial
    now = identity_of(after, request)
    later = None if isinstance(now, Denial) else decided(after, request, now)
    if later is None or later.denial is not None:
        return "refused as before" if earlier is not None else "refused now"
    if earlier is None:
        return "let in as before"
    assert isinstance(now, Identity)
    assert later.route is not None
    reason = exception(before, after, later.route, now, was)
    assert reason, f"let in although it was refused\n{told}\n{earlier}\n{later.route.entry.policies}"
    return f"excepted: {reason}"


def added_policy(maker: WorldMaker, world: World, chance: Random, mode: str) -> Resource:
    """A Required policy for the gateway, a namespace, or routes of it."""
    namespace = chance.choice((*NAMESPACES, PLATFORM))
    routes = [key.name for key in world.resources if key.kind is Kind.ROUTE and key.namespace == namespace]
    return maker.policy(ObjectKey(Kind.POLICY, namespace, "added"), routes, strength="Required", mode=mode)
