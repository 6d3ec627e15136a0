"""What authorization rules let in and refuse, and which rule is named."""

from typing import Any

import pytest

from samples.snapshots import NOON, allow, attach, call, consumer, deny, policy, route, runtime_of
from tidegate_dataplane.engine import Call, Decision, decide
from tidegate_dataplane.snapshot.entries import (
    Method,
    Mode,
    Operation,
    PolicyEntry,
    RuleEntry,
    Section,
    TargetEntry,
    Unavailable,
)

METHODS = (Method.API_KEY,)


def decided(*policies: PolicyEntry, asked: Call | None = None, now: float = NOON, **who: Any) -> Decision:
    login = policy("team-a/a-login", methods=METHODS)
    keys = [one.source.key for one in policies]
    runtime = runtime_of(login, *policies, consumer(**who), route(policies=attach("team-a/a-login", *keys)))
    return decide(runtime, asked or call(), now)


def rules(*entries: RuleEntry, key: str = "team-a/rules", **fields: Any) -> PolicyEntry:
    return policy(key, rules=entries, **fields)


def refusal(decision: Decision) -> tuple[int, str, str]:
    denial = decision.denial
    assert denial is not None
    return denial.status, denial.code, str(denial.rule)


def test_without_rules_consumers_of_the_namespace_may_call() -> None:
    assert decided().denial is None
    assert decided(rules()).denial is None


def test_a_matching_allow_rule_lets_in_and_is_named() -> None:
    decision = decided(
        rules(allow("other", roles=("admin",)), allow("staff", roles=("inference",))), roles=("inference",)
    )
    assert decision.denial is None
    assert str(decision.rule) == "AIPolicy team-a/rules rule staff"


def test_no_matching_allow_rule_refuses_and_names_the_policy() -> None:
    decision = decided(rules(allow("staff", roles=("admin",))), roles=("inference",))
    assert refusal(decision) == (403, "permission_denied", "AIPolicy team-a/rules")


def test_a_deny_rule_anywhere_denies() -> None:
    decision = decided(rules(allow("all")), rules(deny("no-gpt", models=("gpt-*",)), key="team-a/z"))
    assert refusal(decision) == (403, "permission_denied", "AIPolicy team-a/z rule no-gpt")


def test_every_policy_with_allow_rules_must_match_one() -> None:
    one, other = rules(allow("chat", operations=(Operation.CHAT,))), rules(allow("x", models=("x",)), key="team-a/z")
    assert refusal(decided(one, other)) == (403, "permission_denied", "AIPolicy team-a/z")
    assert decided(one, rules(allow("gpt", models=("gpt-*",)), key="team-a/z")).denial is None


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        (allow("r"), True),
        (allow("r", roles=("a", "b")), True),
        (allow("r", roles=("c",)), False),
        (allow("r", models=("gpt-4o",)), True),
        (allow("r", models=("gpt-4",)), False),
        (allow("r", models=("gpt-4*", "x")), True),
        (allow("r", models=("*",)), True),
        (allow("r", operations=(Operation.EMBEDDINGS,)), False),
        (allow("r", roles=("b",), models=("x",)), False),
        (allow("r", when="consumer.team == 'search'"), True),
        (allow("r", when="consumer.team == 'ads'"), False),
        (allow("r", roles=("c",), when="true"), False),
    ],
)
def test_a_rule_matches_when_all_it_names_matches(rule: RuleEntry, matches: bool) -> None:
    decision = decided(rules(rule), roles=("b", "x"), team="search")
    assert (decision.denial is None) is matches


def test_an_expression_sees_the_call_the_consumer_the_route_and_the_time() -> None:
    when = (
        "request.model == 'gpt-4o' && request.operation == 'Chat' && request.path == '/v1/chat/completions' && "
        "request.host == 'ai.example.com' && request.headers['x-a'] == '1' && request.address == '192.0.2.7' && "
        "request.bodyBytes == 600 && consumer.name == 'search' && consumer.namespace == 'team-a' && "
        "consumer.type == 'User' && consumer.team == 't' && consumer.tier == 'free' && consumer.roles == ['r'] && "
        "consumer.attributes.clearance == '2' && route.name == 'chat' && route.namespace == 'team-a' && "
        "now == timestamp('2026-07-01T12:00:00Z')"
    )
    attributes = {"clearance": "2"}
    decision = decided(
        rules(allow("all", when=when)),
        asked=call(headers={"x-a": "1"}),
        type="User",
        team="t",
        tier="free",
        roles=("r",),
        attributes=attributes,
    )
    assert decision.denial is None


def test_an_expression_without_a_value_lets_nobody_in() -> None:
    missing = "request.headers['x-none'] == 'a'"
    assert refusal(decided(rules(allow("r", when=missing))))[2] == "AIPolicy team-a/rules"
    assert refusal(decided(rules(deny("r", when=missing))))[2] == "AIPolicy team-a/rules rule r"


def test_night_ends_when_the_clock_says_so() -> None:
    night = rules(deny("no-nights", when="now.getHours('Europe/Berlin') < 7"))
    four_utc = NOON - 8 * 3600
    assert refusal(decided(night, now=four_utc))[2] == "AIPolicy team-a/rules rule no-nights"
    assert decided(night, now=four_utc + 3600).denial is None


def test_only_the_sections_in_force_count() -> None:
    login = policy("team-a/a-login", methods=METHODS)
    strict = policy("team-a/z", methods=(), rules=(deny("all"),))
    attachments = (*attach("team-a/a-login"), *attach("team-a/z", sections=(Section.RATE_LIMITS,)))
    assert decide(runtime_of(login, strict, consumer(), route(policies=attachments)), call(), NOON).denial is None


def test_shadow_refusals_are_listed_and_not_obeyed() -> None:
    decision = decided(
        rules(deny("no-gpt", models=("gpt-*",)), key="team-a/s1", mode=Mode.SHADOW, methods=(Method.ANONYMOUS,)),
    )
    assert decision.denial is None
    assert [str(ref) for ref in decision.shadow] == [
        "AIPolicy team-a/s1 rule authentication",
        "AIPolicy team-a/s1 rule no-gpt",
    ]
    content = decided(rules(allow("gpt", models=("gpt-*",)), key="team-a/s1", mode=Mode.SHADOW))
    assert content.shadow == ()
    no_allow = decided(rules(allow("x", models=("x",)), key="team-a/s1", mode=Mode.SHADOW))
    assert [str(ref) for ref in no_allow.shadow] == ["AIPolicy team-a/s1"]


def test_a_shadow_authentication_section_opens_nothing() -> None:
    shadow = policy("team-a/s", mode=Mode.SHADOW, methods=METHODS)
    runtime = runtime_of(shadow, consumer(), route(policies=attach("team-a/s")))
    assert refusal(decide(runtime, call(), NOON))[:2] == (401, "method_not_accepted")


def foreign(**fields: Any) -> Decision:
    login = policy("team-a/login", methods=METHODS, rules=(deny("none", models=("other",)),))
    mine = route(policies=attach("team-a/login"), models=("gpt-4o", "other"), **fields)
    runtime = runtime_of(login, consumer("team-b/app"), mine)
    return decide(runtime, call(keys=("key-of-team-b/app",)), NOON)


def test_a_route_of_another_namespace_does_not_exist() -> None:
    hidden = foreign()
    absent = foreign(hostnames=("else.example.com",))
    assert hidden.denial is not None
    assert hidden.denial == absent.denial
    assert (hidden.denial.status, hidden.denial.code, hidden.denial.rule) == (404, "model_not_found", None)
    assert "team-a" not in hidden.denial.message


def test_a_fault_of_another_namespaces_route_stays_its_own() -> None:
    broken = foreign(unavailable=(Unavailable(kind="AIPolicy", key="team-a/broken"),))
    assert broken.denial == foreign().denial
    assert foreign(targets=()).denial == foreign().denial


@pytest.mark.parametrize("namespaces", [("team-b",), ("team-x", "team-b"), ("*",)])
def test_a_route_may_admit_other_namespaces(namespaces: tuple[str, ...]) -> None:
    assert foreign(allowed_namespaces=namespaces).denial is None


def test_a_policy_that_was_never_valid_makes_the_route_unavailable() -> None:
    login = policy("team-a/login", methods=METHODS)
    broken = route(policies=attach("team-a/login"), unavailable=(Unavailable(kind="AIPolicy", key="team-a/broken"),))
    runtime = runtime_of(login, consumer(), broken)
    denial = decide(runtime, call(), NOON).denial
    assert denial is not None
    assert (denial.status, denial.code) == (503, "policy_unavailable")
    assert "AIPolicy team-a/broken" in denial.message
    unknown = decide(runtime, call(keys=()), NOON).denial
    assert unknown is not None
    assert unknown.status == 401


def test_a_policy_or_quota_that_is_not_there_closes_the_route() -> None:
    login = policy("team-a/login", methods=METHODS)
    for fields in ({"policies": attach("team-a/login", "team-a/gone")}, {"quotas": ("team-a/gone",)}):
        runtime = runtime_of(login, consumer(), route(**({"policies": attach("team-a/login")} | fields)))
        assert refusal(decide(runtime, call(), NOON))[:2] == (503, "policy_unavailable")


@pytest.mark.parametrize(
    "targets", [(), (TargetEntry(backend="team-a/gone"),), (TargetEntry(backend="team-a/mock", weight=0),)]
)
def test_no_usable_target_is_said_last(targets: tuple[TargetEntry, ...]) -> None:
    login = policy("team-a/login", methods=METHODS, rules=(deny("big", when="request.bodyBytes > 1000"),))
    runtime = runtime_of(login, consumer(), route(policies=attach("team-a/login"), targets=targets))
    assert refusal(decide(runtime, call(), NOON))[:2] == (503, "backend_unavailable")
    assert refusal(decide(runtime, call(body_bytes=2000), NOON))[:2] == (403, "permission_denied")
