"""Routes that only subscribers may call."""

from typing import Any

import pytest
from msgspec.structs import replace

from samples.snapshots import (
    NOON,
    allow,
    attach,
    call,
    consumer,
    deny,
    key_of,
    keys_only,
    policy,
    route,
    runtime_of,
    snapshot,
    source,
)
from tidegate_dataplane.engine import Decision, decide, explain, visible_models
from tidegate_dataplane.engine.decision import Step
from tidegate_dataplane.engine.explain_text import render
from tidegate_dataplane.ledger.demand import amounts_of
from tidegate_dataplane.ledger.ledger import Ledger, Reservation
from tidegate_dataplane.runtime import BuildError, Runtime, build
from tidegate_dataplane.snapshot.entries import (
    ApprovalEntry,
    Method,
    PlanEntry,
    PolicyEntry,
    RouteEntry,
    SubscriberEntry,
    SubscriptionEntry,
)

PLANS = (PlanEntry(name="basic", requests=2, period_ms=60_000, burst=2), PlanEntry(name="gold"))
HOUR = 3600


def subscriber(
    name: str = "team-a/search-chat", *, who: str = "team-a/search", plan: str = "gold", until: float | None = None
) -> SubscriberEntry:
    return SubscriberEntry(
        subscription=name, consumer=who, plan=plan, not_after=None if until is None else int(NOON + until)
    )


def chat(*subscribers: SubscriberEntry, **fields: Any) -> RouteEntry:
    given = {"plans": PLANS, "policies": attach("team-a/login"), "allowed_namespaces": ("team-b",)}
    return route("team-a/chat", subscribers=subscribers, **(given | fields))


def world(*subscribers: SubscriberEntry, extra: tuple[PolicyEntry, ...] = (), **fields: Any) -> Runtime:
    policies = attach("team-a/login", *(one.source.key for one in extra))
    entry = chat(*subscribers, policies=policies, **fields)
    return runtime_of(keys_only(), entry, consumer(), consumer("team-a/ads"), consumer("team-b/app"), *extra)


def ask(runtime: Runtime, who: str = "team-a/search", *, later: float = 0.0) -> Decision:
    return decide(runtime, call(keys=(key_of(who),)), NOON + later)


def code(decision: Decision) -> str:
    return "" if decision.denial is None else decision.denial.code


def test_only_who_has_subscribed_may_call() -> None:
    runtime = world(subscriber(), subscriber("team-b/app-chat", who="team-b/app", plan="basic"))
    assert [
        (code(found := ask(runtime, who)), found.plan, found.subscription) for who in ("team-a/search", "team-b/app")
    ] == [
        ("", "gold", "team-a/search-chat"),
        ("", "basic", "team-b/app-chat"),
    ]
    refused = ask(runtime, "team-a/ads")
    assert refused.denial is not None
    assert (refused.denial.status, refused.denial.code) == (403, "subscription_required")
    assert (refused.plan, refused.subscription) == ("", "")
    for word in ("AIRoute team-a/chat", "AISubscription", "plans basic, gold", "ask the owner"):
        assert word in refused.denial.message


def test_a_route_without_plans_asks_nobody() -> None:
    decision = ask(world(plans=None), "team-a/ads")
    assert (code(decision), decision.plan) == ("", "")


def test_plans_without_any_subscriber_let_nobody_in() -> None:
    assert code(ask(world())) == "subscription_required"


def test_nobody_in_particular_is_asked_for_a_key() -> None:
    open_to_all = policy("team-a/login", methods=(Method.API_KEY, Method.ANONYMOUS))
    runtime = runtime_of(open_to_all, chat(subscriber()), consumer())
    refused = decide(runtime, call(keys=()), NOON).denial
    assert refused is not None
    assert (refused.status, refused.code) == (401, "invalid_api_key")
    assert visible_models(runtime, call(keys=()), NOON) == refused


def test_a_namespace_that_the_route_does_not_admit_learns_nothing_of_it() -> None:
    runtime = world(subscriber("team-b/x", who="team-b/app"), allowed_namespaces=())
    assert code(ask(runtime, "team-b/app")) == "model_not_found"


def test_access_ends_by_the_clock_of_the_data_plane() -> None:
    runtime = world(subscriber(until=HOUR))
    assert code(ask(runtime, later=HOUR - 0.001)) == ""
    late = ask(runtime, later=HOUR)
    assert late.denial is not None
    assert late.denial.code == "subscription_required"
    assert "The subscription team-a/search-chat to AIRoute team-a/chat has ended" in late.denial.message


def test_of_two_subscriptions_the_older_counts_until_it_ends() -> None:
    runtime = world(
        subscriber("team-a/old", plan="gold", until=HOUR), subscriber("team-a/new", plan="basic", until=2 * HOUR)
    )
    first, second = ask(runtime), ask(runtime, later=HOUR)
    assert (first.subscription, first.plan, len(first.demands)) == ("team-a/old", "gold", 0)
    assert (second.subscription, second.plan, len(second.demands)) == ("team-a/new", "basic", 1)
    assert code(ask(runtime, later=2 * HOUR)) == "subscription_required"


def test_a_subscription_to_a_plan_that_is_not_there_counts_for_nothing() -> None:
    assert code(ask(world(subscriber(plan="platinum")))) == "subscription_required"


def test_each_consumer_has_the_rate_of_its_plan_for_itself() -> None:
    basic = [
        subscriber(f"x/{who[-3:]}", who=who, plan="basic") for who in ("team-a/ads", "team-a/search", "team-b/app")
    ]
    runtime = world(*basic)
    ledger = Ledger()
    taken = []
    for number, who in enumerate(("team-a/search", "team-a/search", "team-a/search", "team-a/ads", "team-b/app")):
        (demand,) = ask(runtime, who).demands
        assert str(demand) == "AIRoute team-a/chat plan basic"
        taken.append(isinstance(ledger.reserve(f"call-{number}", [demand], amounts_of(), NOON), Reservation))
    assert taken == [True, True, False, True, True]


def test_rules_see_the_plan() -> None:
    rules = (allow("gold", when="consumer.plan == 'gold'"), deny("none", when="consumer.plan == ''"))
    extra = (policy("team-a/rules", rules=rules),)
    basic = subscriber("team-a/ads", who="team-a/ads", plan="basic")
    runtime = world(subscriber(), basic, extra=extra)
    assert code(ask(runtime)) == ""
    assert code(ask(runtime, "team-a/ads")) == "permission_denied"
    assert code(ask(world(plans=None, extra=extra))) == "permission_denied"


def test_the_list_of_models_is_that_of_subscribers() -> None:
    free = route("team-a/free", models=("free",), policies=attach("team-a/login"))
    runtime = runtime_of(keys_only(), chat(subscriber(until=HOUR)), free, consumer(), consumer("team-a/ads"))
    listed = [visible_models(runtime, call(keys=(key_of(who),)), NOON) for who in ("team-a/search", "team-a/ads")]
    assert listed == [["free", "gpt-4o"], ["free"]]
    assert visible_models(runtime, call(), NOON + HOUR) == ["free"]


def test_an_explanation_names_subscription_and_plan() -> None:
    runtime = world(subscriber(until=HOUR), subscriber("team-a/x", who="team-a/ads", until=-HOUR))
    explanation = explain(runtime, call(), NOON)
    assert (explanation.plan, explanation.subscription) == ("gold", "AISubscription team-a/search-chat")
    assert "plan      gold by AISubscription team-a/search-chat" in render(explanation)
    step = _step(explanation.steps)
    assert (step.object, step.verdict) == ("AISubscription team-a/search-chat", "Accepted")
    assert step.saw == "approved on AIRoute team-a/chat for plan gold, until 2026-07-01T13:00:00Z"
    ended = _step(explain(runtime, call(keys=(key_of("team-a/ads"),)), NOON).steps)
    assert (ended.object, ended.verdict) == ("AIRoute team-a/chat", "Denied")
    assert "AISubscription team-a/x ended at 2026-07-01T11:00:00Z" in ended.saw
    never = _step(explain(runtime, call(keys=(key_of("team-b/app"),)), NOON).steps)
    assert "AIConsumer team-b/app has none that is approved" in never.saw


def _step(steps: tuple[Step, ...]) -> Step:
    (found,) = [step for step in steps if step.stage == "subscription"]
    return found


def test_a_reload_takes_over_subscribers_that_are_the_same() -> None:
    entries: list[Any] = [keys_only(), consumer()]
    before = runtime_of(*entries, chat(subscriber()))
    after = build(*snapshot([*entries, chat(subscriber(), timeout_ms=5)], revision=2), previous=before)
    key = "team-a/chat"
    assert after.routes[key] is not before.routes[key]
    assert after.routes[key].subscriptions is before.routes[key].subscriptions
    fewer = build(*snapshot([*entries, chat()], revision=3), previous=after)
    assert code(ask(fewer)) == "subscription_required"


def test_what_is_carried_for_the_operator_takes_no_memory_here() -> None:
    index, shards = snapshot([keys_only(), consumer(), chat(subscriber())], shards=1)
    wish = SubscriptionEntry(source=source("team-a/x"), consumer="a/b", route="c/d", plan="p")
    carried = replace(shards["00"], subscriptions=(wish,), approvals=(ApprovalEntry(source=wish.source, route="c/d"),))
    runtime = build(index, {"00": carried})
    assert [(kept.subscriptions, kept.approvals) for kept in runtime.shards.values()] == [((), ())]


@pytest.mark.parametrize("plan", [{"period_ms": 0, "burst": 1}, {"burst": 0}, {"requests": -1, "burst": 1}])
def test_a_plan_that_nobody_could_use_is_refused(plan: dict[str, int]) -> None:
    with pytest.raises(BuildError, match="AIRoute team-a/chat plan basic"):
        world(plans=(PlanEntry(name="basic", **({"requests": 1} | plan)),))
