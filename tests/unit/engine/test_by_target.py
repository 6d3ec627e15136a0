"""Rules that look at the backend leave out targets; the call is refused when none is left."""

from collections.abc import Iterable
from typing import Any

import pytest

from samples.snapshots import NOON, allow, attach, backend, call, consumer, deny, keys_only, policy, route, runtime_of
from tidegate_dataplane.engine import Call, Decision, attempts, decide, explain
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.snapshot.entries import Location, Mode, PolicyEntry, RuleEntry, TargetEntry

EU = backend(
    "team-a/eu",
    models=("gpt-4o", "gpt-4o-mini"),
    versions={"gpt-4o": "2024-08-06", "gpt-4o-mini": "2024-07-18"},
    location=Location(cloud="azure", region="westeurope", jurisdiction="EU"),
)
US = backend("team-a/us", versions={"gpt-4o": "2024-11-20"}, location=Location("aws", "us-east-1", "US"))
LAB = backend("team-a/lab")
TARGETS = (
    TargetEntry(backend="team-a/us", weight=60),
    TargetEntry(backend="team-a/eu", weight=30),
    TargetEntry(backend="team-a/lab", weight=10),
    TargetEntry(backend="team-a/eu", model="gpt-4o-mini", priority=1),
)


def world(*policies: PolicyEntry, targets: tuple[TargetEntry, ...] = TARGETS) -> Runtime:
    keys = [one.source.key for one in policies]
    attached = attach("team-a/login", *keys)
    return runtime_of(
        keys_only(), *policies, EU, US, LAB, consumer(roles=("r",)), route(targets=targets, policies=attached)
    )


def decided(*rules: RuleEntry, asked: Call | None = None, **fields: Any) -> Decision:
    return decide(world(policy("team-a/rules", rules=rules, **fields)), asked or call(), NOON)


def left(decision: Decision) -> list[str]:
    """Who answers, in the order of trying, at the lowest pick."""
    assert decision.denial is None
    assert decision.route is not None
    order = attempts(decision.route, 0.0, decision.tiers)
    return [f"{target.backend.entry.source.name}{':' + target.model if target.model else ''}" for target in order]


def test_without_such_rules_the_route_keeps_its_targets() -> None:
    assert decided(allow("all")).tiers is None
    assert left(decided(allow("all"))) == ["us", "eu", "lab", "eu:gpt-4o-mini"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (deny("d", when="backend.jurisdiction == 'US'"), ["eu", "lab", "eu:gpt-4o-mini"]),
        (allow("a", when="backend.jurisdiction == 'EU'"), ["eu", "eu:gpt-4o-mini"]),
        (deny("d", when="backend.jurisdiction != 'EU'"), ["eu", "eu:gpt-4o-mini"]),
        (allow("a", versions=("2024-11-20",)), ["us"]),
        (allow("a", versions=("2024-0*",)), ["eu", "eu:gpt-4o-mini"]),
        (deny("d", versions=("2024-08-06", "2024-11-20")), ["lab", "eu:gpt-4o-mini"]),
        (allow("a", when="backend.model == 'gpt-4o-mini' && backend.version == '2024-07-18'"), ["eu:gpt-4o-mini"]),
        (deny("d", when="backend.cloud == 'aws' || backend.region == ''"), ["eu", "eu:gpt-4o-mini"]),
        (allow("a", when="backend.name == 'lab' && backend.namespace == 'team-a'"), ["lab"]),
        (allow("a", when="backend.provider == 'OpenAI' || backend.name == 'us'"), ["us"]),
        (deny("d", when="backend.jurisdiction == 'CH'"), ["us", "eu", "lab", "eu:gpt-4o-mini"]),
        (deny("d", when="backend.cloud == 'aws' && request.headers['x-a'] == '1'"), ["eu", "lab", "eu:gpt-4o-mini"]),
    ],
)
def test_a_rule_leaves_out_the_targets_that_it_refuses(rule: RuleEntry, expected: list[str]) -> None:
    assert left(decided(rule, asked=call(headers={"x-a": "1"}))) == expected


def test_an_error_leaves_a_target_out() -> None:
    missing = "backend.cloud == 'aws' && request.headers['x-none'] == 'a'"
    assert left(decided(deny("d", when=missing))) == ["eu", "lab", "eu:gpt-4o-mini"]
    refused = decided(allow("a", when=missing))
    assert refused.denial is not None
    assert str(refused.denial.rule) == "AIPolicy team-a/rules"


def test_the_call_is_refused_when_no_target_is_left() -> None:
    refused = decided(deny("not-there", when="backend.cloud != 'gcp'"))
    assert refused.denial is not None
    assert (refused.denial.status, str(refused.denial.rule)) == (403, "AIPolicy team-a/rules rule not-there")


def test_each_policy_leaves_out_its_own() -> None:
    no_us = policy("team-a/one", rules=(deny("no-us", when="backend.jurisdiction == 'US'"),))
    known = policy("team-a/two", rules=(allow("known", when="backend.version != ''"), allow("admin", roles=("admin",))))
    assert left(decide(world(no_us, known), call(), NOON)) == ["eu", "eu:gpt-4o-mini"]
    neither = policy("team-a/three", rules=(allow("lab", when="backend.name == 'lab'"),))
    assert decide(world(no_us, known, neither), call(), NOON).denial is not None


def test_an_allow_rule_that_does_not_look_at_the_backend_opens_all_targets_of_its_policy() -> None:
    rules = (allow("eu", when="backend.jurisdiction == 'EU'"), allow("staff", roles=("r",)))
    assert decided(*rules).tiers is None


def test_rules_that_do_not_look_at_the_backend_refuse_first() -> None:
    refused = decided(deny("d", roles=("r",)), allow("eu", when="backend.jurisdiction == 'EU'"))
    assert refused.denial is not None
    assert str(refused.denial.rule) == "AIPolicy team-a/rules rule d"


def test_weights_keep_their_proportions() -> None:
    decision = decided(deny("no-us", when="backend.jurisdiction == 'US'"))
    assert decision.route is not None
    firsts = [attempts(decision.route, pick / 1000, decision.tiers)[0].backend.key for pick in range(1000)]
    assert (firsts.count("team-a/eu"), firsts.count("team-a/lab")) == (750, 250)


def test_the_rule_of_the_target_that_comes_first_is_named() -> None:
    decision = decided(
        allow("eu", when="backend.jurisdiction == 'EU'"), allow("us", when="backend.jurisdiction == 'US'")
    )
    assert str(decision.rule) == "AIPolicy team-a/rules rule us"


def test_each_call_is_judged_by_itself() -> None:
    runtime = world(policy("team-a/rules", rules=(deny("d", when="backend.cloud == request.headers['x-not']"),)))
    for cloud, expected in (("aws", "eu"), ("azure", "us"), ("aws", "eu"), ("none", "us")):
        assert left(decide(runtime, call(headers={"x-not": cloud}), NOON))[0] == expected


def test_shadow_rules_leave_nothing_out_and_tell_when_nothing_would_be_left() -> None:
    some = decided(deny("no-us", when="backend.jurisdiction == 'US'"), mode=Mode.SHADOW)
    assert (some.tiers, some.shadow) == (None, ())
    none = decided(deny("none", when="backend.name != ''"), mode=Mode.SHADOW)
    assert none.denial is None
    assert [str(ref) for ref in none.shadow] == ["AIPolicy team-a/rules rule none"]


def test_shadow_rules_are_asked_for_what_the_enforced_ones_leave() -> None:
    enforced = policy("team-a/one", rules=(deny("no-us", when="backend.jurisdiction == 'US'"),))
    shadow = policy("team-a/two", mode=Mode.SHADOW, rules=(allow("us", when="backend.jurisdiction == 'US'"),))
    decision = decide(world(enforced, shadow), call(), NOON)
    assert left(decision)[0] == "eu"
    assert [str(ref) for ref in decision.shadow] == ["AIPolicy team-a/two"]


def steps(runtime: Runtime) -> Iterable[str]:
    return [f"{step.verdict}: {step.saw}" for step in explain(runtime, call(), NOON).steps]


def test_an_explanation_says_what_became_of_each_target() -> None:
    rules = (deny("no-us", when="backend.jurisdiction == 'US'"), allow("pinned", versions=("2024-08-06",)))
    runtime = world(policy("team-a/rules", rules=rules))
    told = "\n".join(steps(runtime))
    assert "LeftOut: AIBackend team-a/us model '(as asked)': (backend.jurisdiction == 'US') is true" in told
    assert "backend.jurisdiction = 'EU'" in told
    assert "LeftOut: AIBackend team-a/lab model '(as asked)': none of its Allow rules matches" in told
    assert "Accepted: left for this call: AIBackend team-a/eu model '(as asked)'" in told
    assert [target.split()[1] for target in explain(runtime, call(), NOON).targets] == ["team-a/eu"]
