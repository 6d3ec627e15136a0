"""Which route a call finds: the order of preference of the API."""

from typing import Any

import pytest

from samples.snapshots import NOON, attach, call, consumer, keys_only, route, runtime_of
from tidegate_dataplane.engine import decide
from tidegate_dataplane.snapshot.entries import Operation, RouteEntry


def found(*routes: RouteEntry, **fields: Any) -> str | None:
    """Name of the route that the call finds, among routes of team-a."""
    runtime = runtime_of(keys_only(), consumer(), *routes)
    decision = decide(runtime, call(**fields), NOON)
    return decision.route.entry.source.name if decision.route else None


def named(name: str, **fields: Any) -> RouteEntry:
    return route(f"team-a/{name}", policies=attach("team-a/login"), **fields)


def test_an_exact_host_goes_before_wildcards_and_none() -> None:
    routes = (
        named("none"),
        named("wide", hostnames=("*.example.com",)),
        named("narrow", hostnames=("*.ai.example.com",)),
        named("exact", hostnames=("eu.ai.example.com",)),
    )
    assert found(*routes, host="eu.ai.example.com") == "exact"
    assert found(*routes, host="us.ai.example.com") == "narrow"
    assert found(*routes, host="a.b.ai.example.com") == "narrow"
    assert found(*routes, host="ai.example.com") == "wide"
    assert found(*routes, host="example.com") == "none"
    assert found(*routes, host="badexample.com") == "none"


def test_a_host_is_claimed_in_any_case() -> None:
    assert found(named("one", hostnames=("AI.Example.com",))) == "one"


def test_the_longest_prefix_wins_and_ends_at_a_segment() -> None:
    routes = (named("root", path_prefix="/"), named("v1"), named("deep", path_prefix="/v1/eu"))
    assert found(*routes, base="/v1") == "v1"
    assert found(*routes, base="/v1/eu") == "deep"
    assert found(*routes, base="/v1/eu/x") == "deep"
    assert found(*routes, base="/v1/europe") == "v1"
    assert found(*routes, base="/v2") == "root"
    assert found(*routes[1:], base="/v2") is None


def test_an_exact_model_goes_before_the_longest_glob() -> None:
    routes = (
        named("all", models=("*",)),
        named("gpt", models=("gpt-*",)),
        named("gpt4", models=("gpt-4*",)),
        named("exact", models=("gpt-4o",)),
    )
    assert found(*routes) == "exact"
    assert found(*routes, model="gpt-4o-mini") == "gpt4"
    assert found(*routes, model="gpt-3.5") == "gpt"
    assert found(*routes, model="llama") == "all"
    assert found(*routes[1:], model="llama") is None


def test_more_headers_go_first_and_values_are_exact() -> None:
    routes = (
        named("plain"),
        named("one", headers=(("x-a", "1"),)),
        named("two", headers=(("x-a", "1"), ("x-b", "2"))),
    )
    assert found(*routes, headers={"x-a": "1", "x-b": "2"}) == "two"
    assert found(*routes, headers={"x-a": "1", "x-b": "3"}) == "one"
    assert found(*routes, headers={"x-a": "10"}) == "plain"


def test_the_older_goes_before_the_name() -> None:
    assert found(named("a", created=2), named("b", created=1)) == "b"
    assert found(named("a", created=1), named("b", created=1)) == "a"


@pytest.mark.parametrize(
    ("operation", "route_name"), [(Operation.CHAT, "chat"), (Operation.EMBEDDINGS, "embed"), (Operation.IMAGE, None)]
)
def test_only_its_operations(operation: Operation, route_name: str | None) -> None:
    routes = (named("chat"), named("embed", operations=(Operation.EMBEDDINGS, Operation.MODERATION)))
    assert found(*routes, operation=operation) == route_name


def test_what_a_narrower_claim_does_not_take_falls_to_the_wider() -> None:
    """Headers are part of the claim: without them the exact host's route does not match at all."""
    routes = (named("wide"), named("exact", hostnames=("ai.example.com",), headers=(("x-a", "1"),)))
    assert found(*routes, headers={"x-a": "1"}) == "exact"
    assert found(*routes) == "wide"


def test_an_endless_model_name_finds_nothing() -> None:
    assert found(named("all", models=("*",)), model="m" * 256) == "all"
    assert found(named("all", models=("*",)), model="m" * 257) is None
