"""Risk: what a call scores, and what its score demands."""

from typing import Any

import pytest

from samples.snapshots import NOON, attach, backend, call, consumer, keys_only, policy, route, runtime_of
from tidegate_dataplane.behaviour import Behaviour
from tidegate_dataplane.engine.decide import decide_for
from tidegate_dataplane.engine.decision import Decision, RiskOutcome
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import NO_TOKEN, Identity
from tidegate_dataplane.snapshot.entries import (
    GrantEntry,
    Method,
    Mode,
    PolicyEntry,
    RiskEntry,
    SignalEntry,
    SignalKind,
)

HOUR = 3_600.0


def signal(kind: SignalKind, weight: int = 50, **fields: Any) -> SignalEntry:
    return SignalEntry(name=kind.lower(), kind=kind, weight=weight, **fields)


def risky(*signals: SignalEntry, key: str = "team-a/risk", mode: Mode = Mode.ENFORCE, **thresholds: Any) -> PolicyEntry:
    return policy(key, mode=mode, risk=RiskEntry(signals=signals, **(thresholds or {"deny": 50})))


def world(*policies: PolicyEntry, **fields: Any) -> Runtime:
    names = [f"team-a/{one.source.name}" for one in policies]
    return runtime_of(
        backend(), consumer(), keys_only(), *policies, route(policies=attach("team-a/login", *names), **fields)
    )


class Caller:
    """Calls one world, which remembers."""

    def __init__(self, runtime: Runtime, token: dict[str, object] | None = None) -> None:
        self.runtime = runtime
        self.behaviour = Behaviour()
        self.identity = Identity(
            runtime.consumers["team-a/search"], frozenset({Method.API_KEY}), token=NO_TOKEN | (token or {})
        )

    def __call__(self, now: float = NOON, **fields: Any) -> Decision:
        asked = call(keys=(), **fields)
        decision = decide_for(self.runtime, asked, self.identity, now, observed=self.behaviour)
        if decision.risk is not None:
            self.behaviour.learn(asked, decision, now)
        if decision.grant:
            self.behaviour.use(decision.grant, now)
        return decision


def code(decision: Decision) -> str:
    return "" if decision.denial is None else decision.denial.code


def test_routes_that_weigh_no_risk_have_none() -> None:
    assert Caller(world())().risk is None


@pytest.mark.parametrize(
    ("kind", "change", "fields"),
    [
        (SignalKind.NEW_ADDRESS, {"address": "198.51.100.9"}, {}),
        (SignalKind.NEW_ADDRESS, {"address": "2001:db8::1"}, {}),
        (SignalKind.NEW_COUNTRY, {"proxy_headers": {"x-country": "FR"}}, {"header": "x-country"}),
        (SignalKind.NEW_COUNTRY, {"proxy_headers": {}}, {"header": "x-country"}),
        (SignalKind.UNUSUAL_HOUR, {"now": NOON + 9 * HOUR}, {"time_zone": "Europe/Berlin"}),
    ],
)
def test_what_is_new_for_a_consumer_counts_once_enough_was_seen(
    kind: SignalKind, change: dict[str, Any], fields: dict[str, Any]
) -> None:
    caller = Caller(world(risky(signal(kind, after=3, **fields))))
    usual: dict[str, Any] = {"proxy_headers": {"x-country": "DE"}}
    assert code(caller(**usual | change)) == ""  # nothing is known yet
    caller = Caller(caller.runtime)
    for _ in range(3):
        assert code(caller(**usual)) == ""
    assert code(caller(**usual)) == ""
    refused = caller(**usual | change)
    assert code(refused) == "risk_denied"
    assert refused.risk is not None
    assert (refused.risk.score, refused.risk.outcome) == (50, RiskOutcome.DENIED)
    assert [(part.policy, part.signal, part.weight) for part in refused.risk.parts] == [
        ("team-a/risk", kind.lower(), 50)
    ]
    # A refused call teaches nothing.
    assert code(caller(**usual | change)) == "risk_denied"


def test_neighbouring_addresses_are_one_place() -> None:
    caller = Caller(world(risky(signal(SignalKind.NEW_ADDRESS, after=1))))
    assert code(caller(address="192.0.2.7")) == ""
    assert code(caller(address="192.0.2.200")) == ""
    assert code(caller(address="192.0.3.7")) == "risk_denied"


def test_an_unusual_model_counts() -> None:
    caller = Caller(world(risky(signal(SignalKind.UNUSUAL_MODEL, after=1)), models=("gpt-*",)))
    assert code(caller(model="gpt-4o")) == ""
    assert code(caller(model="gpt-5")) == "risk_denied"
    assert code(caller(model="gpt-4o")) == ""


def test_a_burst_counts_refused_calls_too_and_ends() -> None:
    caller = Caller(world(risky(signal(SignalKind.BURST, count=3, period_ms=10_000))))
    assert [code(caller(now=NOON + n)) for n in range(4)] == ["", "", "risk_denied", "risk_denied"]
    assert code(caller(now=NOON + 60)) == ""


def test_failed_authentications_from_the_address_count() -> None:
    caller = Caller(world(risky(signal(SignalKind.FAILED_AUTHENTICATIONS, count=2, period_ms=60_000))))
    caller.behaviour.failed("192.0.2.7", NOON - 20)
    assert code(caller()) == ""
    caller.behaviour.failed("192.0.2.7", NOON - 15)
    assert code(caller(address="192.0.2.8")) == ""
    assert code(caller()) == "risk_denied"
    assert code(caller(now=NOON + 120)) == ""


def test_an_expression_counts_and_so_does_one_without_a_value() -> None:
    secret = signal(SignalKind.EXPRESSION, when="request.headers['x-sensitivity'] == 'secret'")
    caller = Caller(world(risky(secret)))
    assert code(caller(headers={"x-sensitivity": "public"})) == ""
    assert code(caller(headers={"x-sensitivity": "secret"})) == "risk_denied"
    assert code(caller()) == "risk_denied"


def test_weights_add_up_within_a_policy_and_not_across() -> None:
    always = signal(SignalKind.EXPRESSION, weight=30, when="true")
    long = signal(SignalKind.BURST, weight=20, count=1, period_ms=1_000)
    assert code(Caller(world(risky(always, deny=50)))()) == ""
    assert code(Caller(world(risky(always, long, deny=50)))()) == "risk_denied"
    apart = Caller(world(risky(always, deny=50), risky(long, key="team-a/other", deny=50)))()
    assert code(apart) == ""
    assert apart.risk is not None
    assert apart.risk.score == 30
    assert len(apart.risk.parts) == 2


@pytest.mark.parametrize(
    ("token", "passes"),
    [
        ({}, False),
        ({"acr": "silver", "authTime": NOON - 10}, False),
        ({"acr": "gold", "authTime": NOON - 301}, False),
        ({"acr": "gold", "authTime": NOON + 100}, False),
        ({"acr": "gold"}, False),
        ({"acr": "gold", "authTime": NOON - 299}, True),
    ],
)
def test_step_up_is_satisfied_by_what_the_token_says(token: dict[str, object], passes: bool) -> None:
    always = signal(SignalKind.EXPRESSION, when="true")
    section = risky(always, step_up=10, acr_values=("gold", "platinum"), max_age_ms=300_000)
    decision = Caller(world(section), token)()
    assert (decision.denial is None) is passes
    if decision.denial is not None:
        assert (decision.denial.status, decision.denial.code) == (401, "insufficient_user_authentication")
        assert decision.denial.challenge == (
            'Bearer error="insufficient_user_authentication", error_description="Authenticate again, more strongly or '
            'more recently, and retry with the new token", acr_values="gold platinum", max_age="300"'
        )


def test_each_threshold_demands_by_itself() -> None:
    always = signal(SignalKind.EXPRESSION, when="true")
    section = risky(always, step_up=10, approval=20, acr_values=("gold",))
    assert code(Caller(world(section))()) == "insufficient_user_authentication"
    assert code(Caller(world(section), {"acr": "gold"})()) == "approval_required"
    assert code(Caller(world(risky(always, approval=20, deny=50)), {"acr": "gold"})()) == "risk_denied"


def test_an_approval_lets_the_very_call_through_once() -> None:
    section = risky(signal(SignalKind.EXPRESSION, when="true"), approval=10)
    asking = Caller(world(section))
    refused = asking(body=b'{"model":"gpt-4o"}')
    assert code(refused) == "approval_required"
    assert refused.risk is not None
    assert refused.denial is not None
    request = refused.risk.request
    assert request in refused.denial.message
    (pending,) = asking.behaviour.pending
    assert (pending.request, pending.consumer, pending.route, pending.times) == (
        request,
        "team-a/search",
        "team-a/chat",
        1,
    )
    granted = GrantEntry("team-a/ok", request, int(NOON) + 60)
    caller = Caller(world(section, grants=(granted,)))
    assert code(caller(body=b'{"model":"gpt-4o","n":2}')) == "approval_required"
    passed = caller(body=b'{"model":"gpt-4o"}')
    assert code(passed) == ""
    assert passed.risk is not None
    assert (passed.risk.outcome, passed.risk.request) == (RiskOutcome.APPROVED, request)
    assert code(caller(body=b'{"model":"gpt-4o"}')) == "approval_required"
    again = world(section, grants=(granted, GrantEntry("team-a/again", request, int(NOON) + 60)))
    caller.runtime = again
    assert [code(caller(body=b'{"model":"gpt-4o"}')) for _ in range(2)] == ["", "approval_required"]
    assert code(Caller(caller.runtime)(now=NOON + 61, body=b'{"model":"gpt-4o"}')) == "approval_required"


def test_shadow_policies_weigh_and_refuse_nothing() -> None:
    decision = Caller(world(risky(signal(SignalKind.EXPRESSION, when="true"), mode=Mode.SHADOW)))()
    assert decision.denial is None
    assert [str(ref) for ref in decision.shadow] == ["AIPolicy team-a/risk rule risk"]
