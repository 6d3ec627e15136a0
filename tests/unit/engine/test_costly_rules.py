"""What all expressions on one route may cost together is bounded: they run in the gateway of all tenants."""

from typing import Any

import pytest

from samples.snapshots import NOON, allow, attach, backend, call, consumer, deny, policy, route, runtime_of
from tidegate_dataplane.engine.decide import decide
from tidegate_dataplane.engine.decision import Step
from tidegate_dataplane.engine.prove import TokenProof, holders_of_token
from tidegate_dataplane.expressions import EvaluationError, ValueKind, compile_expression, compile_value
from tidegate_dataplane.expressions.cost import MAPPING_LIMIT, ROUTE_LIMIT, RULE_LIMIT
from tidegate_dataplane.snapshot.entries import (
    AuthenticationEntry,
    ClaimMapping,
    Method,
    Mode,
    PolicyEntry,
    RiskEntry,
    RuleEntry,
    SignalEntry,
    SignalKind,
    TargetEntry,
    TokenKind,
    TokenProviderEntry,
)

COSTLY = r"request.headers['x'].matches(r'\w\w\w\wc')"
KEYS = (Method.API_KEY,)
HEADERS = {"x": "ab" * 400}
COUNT = ROUTE_LIMIT // RULE_LIMIT + 1


def costly(key: str, **fields: Any) -> PolicyEntry:
    return policy(key, methods=KEYS, rules=(deny("costly", when=COSTLY),), **fields)


def code(*policies: PolicyEntry, targets: int = 1, trace: list[Step] | None = None) -> str:
    backends = [backend(f"team-a/b{number}") for number in range(targets)]
    attached = attach(*(f"{one.source.namespace}/{one.source.name}" for one in policies))
    entry = route(policies=attached, targets=tuple(TargetEntry(backend=one.source.key) for one in backends))
    runtime = runtime_of(*backends, consumer(), *policies, entry)
    denial = decide(runtime, call(headers=HEADERS), NOON, trace).denial
    return "" if denial is None else denial.code


def test_this_expression_is_admitted_by_itself() -> None:
    assert RULE_LIMIT / 2 < compile_expression(COSTLY).cost <= RULE_LIMIT


@pytest.mark.parametrize("count", range(1, 2 * COUNT))
def test_policies_that_cost_too_much_together_close_their_route(count: int) -> None:
    policies = [costly(f"team-a/p{number}") for number in range(count)]
    within = count * compile_expression(COSTLY).cost <= ROUTE_LIMIT
    trace: list[Step] = []
    assert code(*policies) == ("" if within else "policy_too_costly")
    assert code(*policies, trace=trace) == ("" if within else "policy_too_costly")
    assert within or "units" in trace[-1].saw


def test_a_rule_on_the_backend_costs_for_each_target() -> None:
    by_target = policy("team-a/p", methods=KEYS, rules=(deny("d", when=f"{COSTLY} && backend.region == 'x'"),))
    assert code(by_target, targets=1) == ""
    assert code(by_target, targets=2 * COUNT) == "policy_too_costly"


def test_rules_cost_for_each_mapping_of_claims() -> None:
    mappings = [_mapped(f"team-a/m{number}", f"'{number}'") for number in range(2 * COUNT)]
    assert code(*mappings) != "policy_too_costly"
    assert code(costly("team-a/p"), *mappings) == "policy_too_costly"


def test_signals_of_risk_cost_too() -> None:
    signals = tuple(
        SignalEntry(name=f"s{number}", kind=SignalKind.EXPRESSION, weight=1, when=COSTLY + " " * number)
        for number in range(2 * COUNT)
    )
    assert code(policy("team-a/p", methods=KEYS, risk=RiskEntry(signals=signals, deny=99))) == "policy_too_costly"


def test_a_shadow_policy_that_costs_too_much_is_not_tried_and_closes_nothing() -> None:
    open_door = policy("team-a/open", methods=KEYS)
    shadows = [costly(f"team-a/s{number}", mode=Mode.SHADOW) for number in range(2 * COUNT)]
    assert code(open_door, *shadows) == ""
    runtime = runtime_of(
        consumer(), open_door, *shadows, route(policies=attach("team-a/open", *(one.source.key for one in shadows)))
    )
    assert decide(runtime, call(headers=HEADERS), NOON).shadow == ()


def test_many_plain_rules_are_no_trouble() -> None:
    rules: list[RuleEntry] = [
        allow(f"a{number}", when=f"request.model.startsWith('m{number}') || consumer.team == 't{number}'")
        for number in range(63)
    ]
    assert code(policy("team-a/p", methods=KEYS, rules=(*rules, allow("rest")))) == ""


def test_mappings_of_one_namespace_cost_a_token_no_more_than_one_may() -> None:
    """However many providers of a tenant take a token: those beyond do not take it, and others' still do."""
    greedy = [_mapped(f"team-a/p{number}", f"'g{number}'") for number in range(30)]
    alike = [_mapped(f"team-b/p{number}", "'same'") for number in range(30)]
    runtime = runtime_of(*greedy, *alike, route(policies=attach("team-a/p0")))
    proof = TokenProof(
        Method.JWT,
        "https://idp.example.com",
        {},
        {"issuer": "", "subject": "ada", "acr": "", "authTime": 0, "claims": {"g": ["a"]}},
        frozenset(runtime.providers.by_key),
        b"",
    )
    holders = holders_of_token(runtime, proof)
    assert "team-b/p29/idp" in holders["team-b/jwt:ada"].vouchers
    assert len(holders["team-b/jwt:ada"].vouchers) == len(alike)
    ours = holders["team-a/jwt:ada"]
    programs = [runtime.providers.by_key[key].programs for key in ours.vouchers]
    total = sum(program.cost for one in programs if one is not None for program in one.all)
    assert MAPPING_LIMIT / 2 < total <= MAPPING_LIMIT
    assert ours.claims.keys() == ours.vouchers


def _mapped(key: str, different: str) -> PolicyEntry:
    mapping = ClaimMapping(name="token.subject", roles=f"token.claims.g.filter(g, g != {different})")
    provider = TokenProviderEntry(name="idp", kind=TokenKind.JWT, issuer="https://idp.example.com", mapping=mapping)
    section = AuthenticationEntry(methods=(Method.JWT,), providers=(provider,))
    return policy(key, authentication=section)


def test_what_a_mapping_reads_of_one_token_is_worked_out_once() -> None:
    program = compile_value("token.claims.g.filter(g, g != 'b')", ValueKind.TEXTS)
    one, other = {"claims": {"g": ["a", "b"]}}, {"claims": {"g": ["c"]}}
    assert program.evaluate({"token": one}) is program.evaluate({"token": one})
    assert program.evaluate({"token": other}) == ("c",)
    assert program.evaluate({"token": one}) == ("a",)
    for _ in range(2):
        with pytest.raises(EvaluationError):
            program.evaluate({"token": {"claims": {}}})
