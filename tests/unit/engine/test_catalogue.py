"""What `GET /models` lists for a caller."""

from typing import Any

from samples.snapshots import NOON, allow, attach, call, consumer, deny, keys_only, policy, route, runtime_of
from tidegate_dataplane.engine import Denial, visible_models
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.snapshot.entries import Method, Operation, Unavailable


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
