"""What `explain` tells an operator about a decision."""

from typing import Any

import msgspec

from samples.snapshots import (
    NOON,
    allow,
    attach,
    call,
    consumer,
    deny,
    key_of,
    keys_only,
    limit,
    policy,
    quota,
    rate,
    route,
    runtime_of,
)
from tidegate_dataplane.engine import Explanation, explain
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.snapshot.entries import Mode, RuleEntry


def world(*rules: RuleEntry) -> Runtime:
    return runtime_of(
        keys_only(),
        policy("team-a/rules", generation=3, rules=rules, rate_limits=(rate("fast"),)),
        policy("team-a/trial", mode=Mode.SHADOW, rules=(deny("no-gpt", models=("gpt-*",)),)),
        quota("team-a/q", limit(amount=77)),
        consumer(roles=("inference",)),
        consumer("team-b/app"),
        route(generation=2, policies=attach("team-a/login", "team-a/rules", "team-a/trial"), quotas=("team-a/q",)),
    )


def steps(explanation: Explanation) -> list[tuple[Any, ...]]:
    return [(s.stage, s.object, s.generation, s.rule, s.verdict.value, s.shadow) for s in explanation.steps]


def test_an_admission_step_by_step() -> None:
    rules = (
        deny("nights", when="now.getHours('Europe/Berlin') < 7"),
        allow("admins", roles=("admin",)),
        allow("staff", roles=("inference",), when="request.bodyBytes < 1000"),
    )
    explanation = explain(world(*rules), call(), NOON)
    assert explanation.admitted
    assert explanation.route == "AIRoute team-a/chat"
    assert explanation.consumer == "AIConsumer team-a/search"
    assert explanation.allowed_by == "AIPolicy team-a/rules rule staff"
    assert explanation.shadow == ("AIPolicy team-a/trial rule no-gpt",)
    assert explanation.targets == ("AIBackend team-a/mock model '(as asked)' priority 0 weight 1",)
    assert [(one.object, one.name, one.amount) for one in explanation.limits] == [
        ("AIPolicy team-a/rules", "fast", 10),
        ("Quota team-a/q", "Tokens", 77),
    ]
    assert steps(explanation) == [
        ("identity", "AIConsumer team-a/search", 1, "k", "Accepted", False),
        ("route", "AIRoute team-a/chat", 2, "", "Accepted", False),
        ("authentication", "AIPolicy team-a/login", 1, "", "Accepted", False),
        ("authorization", "AIPolicy team-a/rules", 3, "nights", "NoMatch", False),
        ("authorization", "AIPolicy team-a/rules", 3, "admins", "NoMatch", False),
        ("authorization", "AIPolicy team-a/rules", 3, "staff", "Accepted", False),
        ("authorization", "AIPolicy team-a/trial", 1, "no-gpt", "Denied", True),
    ]
    saw = {step.rule: step.saw for step in explanation.steps}
    assert saw["nights"] == "(now.getHours('Europe/Berlin') < 7) is false; now = 2026-07-01T12:00:00Z"
    assert saw["admins"] == "the caller has [inference], the rule names [admin]"


def test_an_expression_without_a_value_says_why() -> None:
    explanation = explain(world(allow("team", when="request.headers['x-team'] == 'a'")), call(), NOON)
    assert explanation.denial is not None
    assert explanation.denial.status == 403
    assert [(step.rule, step.verdict.value, step.saw) for step in explanation.steps[-2:]] == [
        ("team", "Error", "(request.headers['x-team'] == 'a') has no value: "
         "there is no key 'x-team'; ask with has() or 'in' first; request.headers['x-team'] is absent"),
        ("", "Denied", "none of its Allow rules matches"),
    ]  # fmt: skip


def test_what_a_caller_is_not_told_an_operator_is() -> None:
    runtime = world()
    foreign = explain(runtime, call(keys=(key_of("team-b/app"),)), NOON)
    assert foreign.denial is not None
    assert foreign.denial.status == 404
    assert foreign.steps[-1].saw == "admits consumers of team-a, not of team-b"
    missing = explain(runtime, call(model="none"), NOON)
    assert missing.steps[-1].saw == "no route claims Chat of 'none' on host 'ai.example.com' under '/v1'"
    anonymous = explain(runtime, call(keys=()), NOON)
    assert anonymous.steps[-1].saw == "needs APIKey; proved: Anonymous"


def test_it_is_json_and_holds_no_key() -> None:
    text = msgspec.json.encode(explain(world(allow("all")), call(), NOON)).decode()
    assert '"allowedBy":"AIPolicy team-a/rules rule all"' in text
    assert key_of("team-a/search") not in text
