"""What `GET /models` lists for a caller."""

from typing import Any

from samples.snapshots import NOON, allow, attach, call, consumer, deny, keys_only, policy, route, runtime_of
from tidegate_dataplane.engine import Denial, visible_models
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.snapshot.entries import Method, Operation, PolicyEntry, RuleEntry, Unavailable


def listed(runtime: Runtime, now: float = NOON, **fields: Any) -> list[str]:
    models = visible_models(runtime, call(**fields), now)
    assert not isinstance(models, Denial)
    return models


def named(name: str, *models: str, **fields: Any) -> Any:
    return route(name, models=models, **({"policies": attach("team-a/login")} | fields))


def test_lists_exact_names_of_usable_routes_in_order() -> None:
    runtime = runtime_of(
        keys_only(),
        consumer(),
        named("team-a/one", "zeta", "alpha", "glob-*"),
        named("team-a/embeddings", "embed", operations=(Operation.EMBEDDINGS,)),
        named("team-b/theirs", "theirs"),
        named("team-b/shared", "shared", allowed_namespaces=("team-a",)),
        named("team-a/closed", "closed", policies=()),
        named("team-a/broken", "broken", unavailable=(Unavailable(kind="AIPolicy", key="team-a/x"),)),
        named("team-a/elsewhere", "elsewhere", hostnames=("other.example.com",)),
        named("team-a/deeper", "deeper", path_prefix="/v1/eu"),
        named("team-a/experiment", "experiment", headers=(("x-experiment", "b"),)),
    )
    assert listed(runtime) == ["alpha", "embed", "shared", "zeta"]
    assert "elsewhere" in listed(runtime, host="other.example.com")
    assert "deeper" in listed(runtime, base="/v1/eu")
    assert "experiment" in listed(runtime, headers={"x-experiment": "b"})


def test_rules_decide_model_by_model_and_minute_by_minute() -> None:
    rules = (
        deny("no-nights", models=("big",), when="now.getHours() < 7"),
        allow("chat", operations=(Operation.CHAT,)),
        allow("embed", models=("small",)),
    )
    login = policy("team-a/login", methods=(Method.API_KEY,), rules=rules)
    only_embeddings = named("team-a/e", "vectors", operations=(Operation.EMBEDDINGS,))
    runtime = runtime_of(login, consumer(), named("team-a/one", "big", "small"), only_embeddings)
    assert listed(runtime) == ["big", "small"]
    assert listed(runtime, now=NOON - 8 * 3600) == ["small"]


def test_a_model_that_another_namespaces_route_claims_first_is_not_listed() -> None:
    runtime = runtime_of(
        keys_only(),
        consumer(),
        named("team-a/mine", "gpt-4o"),
        named("team-b/theirs", "gpt-4o", hostnames=("ai.example.com",)),
    )
    assert listed(runtime) == []
    assert listed(runtime, host="other.example.com") == ["gpt-4o"]


def ruled(*rules: RuleEntry, more: tuple[PolicyEntry, ...] = (), **fields: Any) -> list[str]:
    """What is listed of `big` and `small` to a caller with the role `r`; both are there for Chat."""
    login = policy("team-a/login", methods=(Method.API_KEY,), rules=rules or None)
    attached = attach("team-a/login", *(one.source.key for one in more))
    entries = (consumer(roles=("r",)), named("team-a/one", "big", "small", policies=attached, **fields))
    return listed(runtime_of(login, *more, *entries))


LISTS: dict[str, Any] = {"operations": (Operation.MODELS,)}


def test_a_deny_rule_on_listing_hides_what_may_be_used() -> None:
    assert ruled(deny("hidden", models=("big",), **LISTS)) == ["small"]
    assert ruled(deny("hidden", roles=("other",), **LISTS)) == ["big", "small"]
    assert ruled(deny("hidden", when="request.operation == 'Models'")) == []
    assert ruled(deny("no-value", when="request.operation == 'Models' && request.headers['x-none'] == 'a'")) == []


def test_an_allow_rule_that_names_listing_lists_what_may_not_be_used() -> None:
    use = allow("use", models=("small",), operations=(Operation.CHAT,))
    assert ruled(use) == ["small"]
    assert ruled(use, allow("browse", **LISTS)) == ["big", "small"]
    assert ruled(use, allow("browse", roles=("other",), **LISTS)) == ["small"]
    assert ruled(use, allow("browse", operations=(Operation.MODELS, Operation.EMBEDDINGS))) == ["big", "small"]


def test_an_allow_rule_for_every_operation_is_none_for_listing_alone() -> None:
    assert ruled(allow("all", when="request.operation != 'Chat'")) == []


def test_listing_passes_every_policy() -> None:
    browse = allow("browse", **LISTS)
    chat_only = policy("team-a/z", rules=(allow("chat", roles=("none",), operations=(Operation.CHAT,)),))
    any_operation = policy("team-a/z", rules=(allow("staff", roles=("r",)),))
    closed = policy("team-a/z", rules=(deny("big", models=("big",)),))
    assert ruled(browse, more=(chat_only,)) == []
    assert ruled(browse, more=(any_operation,)) == ["big", "small"]
    assert ruled(browse, more=(closed,)) == ["small"]


def test_listing_needs_what_guards_the_route_besides_its_rules() -> None:
    unavailable = (Unavailable(kind="AIPolicy", key="team-a/x"),)
    assert ruled(allow("browse", **LISTS), unavailable=unavailable) == []
    assert ruled(allow("browse", **LISTS), targets=()) == []


def test_rules_on_backends_hide_a_model_when_no_target_is_left() -> None:
    assert ruled(deny("d", when="backend.name == 'mock'")) == []
    assert ruled(deny("d", when="backend.name == 'mock'", **LISTS)) == []
    assert ruled(deny("d", when="backend.name == 'other'", **LISTS)) == ["big", "small"]
    none = allow("chat", roles=("none",))
    assert ruled(none, allow("a", when="backend.name == 'mock'", **LISTS)) == ["big", "small"]
    assert ruled(none, allow("a", when="backend.name == 'other'", **LISTS)) == []


def test_without_a_key_only_what_is_open_to_all() -> None:
    open_to_all = policy("team-a/open", methods=(Method.ANONYMOUS,))
    closed = (keys_only(), consumer(), named("team-a/closed", "closed"))
    runtime = runtime_of(open_to_all, *closed, named("team-a/open", "open", policies=attach("team-a/open")))
    assert listed(runtime, keys=()) == ["open"]
    assert listed(runtime) == ["closed"]
    refused = visible_models(runtime_of(*closed), call(keys=()), NOON)
    assert isinstance(refused, Denial)
    assert refused.status == 401


def test_a_wrong_key_and_a_suspended_consumer_are_refused() -> None:
    runtime = runtime_of(keys_only(), consumer(suspended=True), named("team-a/one", "a"))
    wrong, suspended = (visible_models(runtime, call(**fields), NOON) for fields in ({"keys": ("wrong",)}, {}))
    assert isinstance(wrong, Denial)
    assert isinstance(suspended, Denial)
    assert (wrong.status, suspended.status) == (401, 403)
