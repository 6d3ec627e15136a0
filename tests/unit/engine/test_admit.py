"""Which counters a call must pass."""

from typing import Any

import pytest

from samples.snapshots import (
    NOON,
    attach,
    call,
    consumer,
    key_of,
    keys_only,
    limit,
    policy,
    quota,
    rate,
    route,
    runtime_of,
)
from tidegate_dataplane.engine import Call, Decision, decide
from tidegate_dataplane.engine.admit import MAX_PLANS
from tidegate_dataplane.ledger.demand import Demand, Demands
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.snapshot.entries import (
    ExtraAmount,
    LimitEntry,
    Method,
    Mode,
    OnExceed,
    PolicyEntry,
    QuotaEntry,
    QuotaScope,
    RateLimitScope,
    Unit,
    WindowEntry,
)


def world(*extra: PolicyEntry | QuotaEntry) -> Runtime:
    """Routes chat and other of team-a; consumers search and ads (team web) of team-a, and app of team-b (team web)."""
    policies = attach("team-a/login", *(one.source.key for one in extra if isinstance(one, PolicyEntry)))
    quotas = tuple(one.source.key for one in extra if isinstance(one, QuotaEntry))
    shared: dict[str, Any] = {"policies": policies, "quotas": quotas, "allowed_namespaces": ("team-b",)}
    return runtime_of(
        keys_only(),
        *extra,
        route("team-a/chat", **shared),
        route("team-a/other", models=("other",), **shared),
        consumer("team-a/search", team="web", tier="free"),
        consumer("team-a/ads", team="web", tier="premium"),
        consumer("team-b/app", team="web", tier="free"),
    )


SEARCH = call()
ADS = call(keys=(key_of("team-a/ads"),))
APP = call(keys=(key_of("team-b/app"),))
OTHER = call(model="other")
FAR = call(address="198.51.100.1")


def admitted(runtime: Runtime, asked: Call) -> Decision:
    decision = decide(runtime, asked, NOON)
    assert decision.denial is None
    return decision


def only(runtime: Runtime, asked: Call) -> Demand:
    (demand,) = admitted(runtime, asked).demands
    return demand


@pytest.mark.parametrize(
    ("scope", "shared", "apart"),
    [
        (QuotaScope.CONSUMER, (SEARCH, OTHER), (SEARCH, ADS)),
        (QuotaScope.TEAM, (SEARCH, ADS), (ADS, APP)),
        (QuotaScope.NAMESPACE, (SEARCH, ADS), (SEARCH, APP)),
        (QuotaScope.ROUTE, (SEARCH, APP), (SEARCH, OTHER)),
    ],
)
def test_a_quota_counts_by_its_scope(scope: QuotaScope, shared: tuple[Call, Call], apart: tuple[Call, Call]) -> None:
    runtime = world(quota(per=scope))
    assert only(runtime, shared[0]).key == only(runtime, shared[1]).key
    assert only(runtime, apart[0]).key != only(runtime, apart[1]).key


def test_a_gateway_quota_counts_everything_together() -> None:
    runtime = world(quota(per=QuotaScope.GATEWAY))
    assert len({only(runtime, asked).key for asked in (SEARCH, ADS, APP, OTHER)}) == 1


@pytest.mark.parametrize(
    ("scope", "shared", "apart"),
    [
        (RateLimitScope.CONSUMER, (SEARCH, OTHER), (SEARCH, ADS)),
        (RateLimitScope.ROUTE, (SEARCH, APP), (SEARCH, OTHER)),
        (RateLimitScope.ADDRESS, (SEARCH, APP), (SEARCH, FAR)),
    ],
)
def test_a_rate_limit_counts_by_its_scope(
    scope: RateLimitScope, shared: tuple[Call, Call], apart: tuple[Call, Call]
) -> None:
    runtime = world(policy("team-a/rates", rate_limits=(rate(per=scope),)))
    assert only(runtime, shared[0]).key == only(runtime, shared[1]).key
    assert only(runtime, apart[0]).key != only(runtime, apart[1]).key


def test_a_global_rate_limit_counts_everything_together() -> None:
    runtime = world(policy("team-a/rates", rate_limits=(rate(per=RateLimitScope.GLOBAL),)))
    assert len({only(runtime, asked).key for asked in (SEARCH, ADS, APP, OTHER, FAR)}) == 1


def test_one_host_of_ipv6_is_one_address_whatever_of_its_64_bits_it_uses() -> None:
    runtime = world(policy("team-a/rates", rate_limits=(rate(per=RateLimitScope.ADDRESS),)))
    keys = {
        only(runtime, call(address=address)).key for address in ("2001:db8::1", "2001:db8::ffff:1", "2001:0db8:0:0::2")
    }
    assert len(keys) == 1
    assert only(runtime, call(address="2001:db8:0:1::1")).key not in keys
    assert only(runtime, call(address="::ffff:192.0.2.7")).key == only(runtime, SEARCH).key


def test_a_quota_concerns_its_tiers_and_teams_only() -> None:
    runtime = world(quota("team-a/free", tiers=("free",)), quota("team-a/web", teams=("web",)))
    assert [demand.object for demand in admitted(runtime, SEARCH).demands] == ["team-a/free", "team-a/web"]
    assert [demand.object for demand in admitted(runtime, ADS).demands] == ["team-a/web"]


def test_all_limits_apply_and_say_which_they_are() -> None:
    runtime = world(
        policy("team-a/rates", rate_limits=(rate("fast", requests=60, period_ms=30_000, burst=5),)),
        quota("team-a/q", limit(Unit.REQUESTS, 5), limit(Unit.TOKENS, 9, on_exceed=OnExceed.ALERT)),
    )
    first, second, third = admitted(runtime, SEARCH).demands
    assert (str(first), first.amount, first.rate, first.obeyed) == ("AIPolicy team-a/rates fast", 5, 2.0, True)
    assert (str(second), second.amount, second.unit, second.obeyed) == (
        "Quota team-a/q Requests",
        5,
        Unit.REQUESTS,
        True,
    )
    assert (str(third), third.amount, third.unit, third.obeyed) == ("Quota team-a/q Tokens", 9, Unit.TOKENS, False)


def test_a_shadow_rate_limit_has_its_own_bucket() -> None:
    limits = (rate(), rate("by-address", per=RateLimitScope.ADDRESS))
    enforced = admitted(world(policy("team-a/rates", rate_limits=limits)), SEARCH).demands
    shadow = admitted(world(policy("team-a/rates", rate_limits=limits, mode=Mode.SHADOW)), SEARCH).demands
    assert len(enforced) == len(shadow) == 2
    assert {demand.key for demand in enforced}.isdisjoint(demand.key for demand in shadow)
    assert not any(demand.obeyed for demand in shadow)
    assert all(demand.obeyed for demand in enforced)


def test_a_changed_amount_keeps_the_counter_and_a_changed_window_does_not() -> None:
    sliding = WindowEntry(sliding_ms=60_000)
    before = only(world(quota("team-a/q", limit(amount=5))), SEARCH)
    assert only(world(quota("team-a/q", limit(amount=7, on_exceed=OnExceed.ALERT))), SEARCH).key == before.key
    assert only(world(quota("team-a/q", limit(amount=5, window=sliding))), SEARCH).key != before.key
    assert only(world(quota("team-a/q", limit(Unit.INPUT_TOKENS, 5))), SEARCH).key != before.key


def test_two_limits_of_one_unit_and_window_count_apart() -> None:
    alert, block = limit(amount=80, on_exceed=OnExceed.ALERT), limit(amount=100)
    demands = admitted(world(quota("team-a/q", alert, block)), SEARCH).demands
    assert len({demand.key for demand in demands}) == 2


def test_each_expression_has_counters_of_its_own_in_whatever_order() -> None:
    texts = ("usage.inputTokens", "usage.outputTokens * 4")
    one, other = (limit(Unit.EXPRESSION, 100, expression=text) for text in texts)

    def keys(*limits: LimitEntry) -> dict[str, str]:
        demands = admitted(world(quota("team-a/q", *limits)), SEARCH).demands
        return {each.expression: demand.key for each, demand in zip(limits, demands, strict=True)}

    assert len(set(keys(one, other).values())) == 2
    assert keys(one, other) == keys(other, one)


def test_anonymous_callers_share_the_consumer_limit() -> None:
    open_to_all = policy(
        "team-a/open", methods=(Method.ANONYMOUS,), rate_limits=(rate(), rate("a", per=RateLimitScope.ADDRESS))
    )
    runtime = runtime_of(open_to_all, route(policies=attach("team-a/open")))
    near, far = (admitted(runtime, call(keys=(), address=address)).demands for address in ("192.0.2.1", "192.0.2.2"))
    assert near[0].key == far[0].key
    assert near[1].key != far[1].key


def test_plans_are_remembered_and_bounded() -> None:
    runtime = world(quota())
    assert admitted(runtime, SEARCH).demands is admitted(runtime, SEARCH).demands
    runtime.plans.update({f"filler-{number}": Demands((), 0.0, 0.0) for number in range(MAX_PLANS)})
    only(runtime, ADS)
    assert len(runtime.plans) == 1


def test_a_grant_counts_while_it_lasts_whatever_time_was_asked_of_before() -> None:
    """Asking why of a call at another time must not give or take what the calls of now have."""
    extra = ExtraAmount(
        "more", Unit.TOKENS, 5, not_before=int(NOON) + 10, not_after=int(NOON) + 20, scope="team-a/search"
    )
    runtime = world(quota("team-a/q", limit(Unit.TOKENS, 100), grants=(extra,)))
    moments = (15.0, 0.0, 25.0, 9.999, 10.0, 19.999, 20.0)

    def amounts(asked: Call) -> list[int]:
        return [only_at(runtime, asked, NOON + moment).amount for moment in moments]

    assert amounts(SEARCH) == [105, 100, 100, 100, 105, 105, 100]
    assert amounts(ADS) == [100] * len(moments)


def test_the_amount_is_that_of_the_tier_and_of_the_cluster() -> None:
    runtime = world(
        quota("team-a/q", limit(Unit.TOKENS, 1_000, tier_amounts={"premium": 99}), share=60),
    )
    assert only(runtime, SEARCH).amount == 600
    assert only(runtime, ADS).amount == 59, "what does not divide is nobody's"


def only_at(runtime: Runtime, asked: Call, now: float) -> Demand:
    (demand,) = decide(runtime, asked, now).demands
    return demand
