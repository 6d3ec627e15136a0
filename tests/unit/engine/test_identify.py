"""Who calls: keys, their times, suspension; and what a caller who is not known learns (nothing)."""

from typing import Any

import pytest

from samples.snapshots import NOON, attach, call, consumer, key_entry, key_of, keys_only, policy, route, runtime_of
from tidegate_dataplane.engine import Call, decide
from tidegate_dataplane.engine.decision import methods_of
from tidegate_dataplane.runtime import BuildError, Runtime
from tidegate_dataplane.snapshot.entries import KeyEntry, Method


def world(**fields: Any) -> Runtime:
    return runtime_of(keys_only(), route(policies=attach("team-a/login")), consumer(**fields))


def answer(runtime: Runtime, asked: Call, now: float = NOON) -> tuple[int, str]:
    denial = decide(runtime, asked, now).denial
    return (200, "") if denial is None else (denial.status, denial.code)


def test_a_key_lets_its_consumer_in() -> None:
    decision = decide(world(), call(), NOON)
    assert decision.denial is None
    assert decision.consumer is not None
    assert decision.consumer.key == "team-a/search"
    assert methods_of(decision.identity) == "APIKey"


def test_each_of_several_keys_is_good_in_its_time() -> None:
    keys = (key_entry("old", not_after=100), key_entry("new", not_before=50), key_entry("ever"))
    runtime = world(keys=keys)
    assert answer(runtime, call(keys=("old",)), 99.9) == (200, "")
    assert answer(runtime, call(keys=("old",)), 100) == (401, "invalid_api_key")
    assert answer(runtime, call(keys=("new",)), 49.9) == (401, "invalid_api_key")
    assert answer(runtime, call(keys=("new",)), 50) == (200, "")
    assert answer(runtime, call(keys=("ever",)), 1e9) == (200, "")


@pytest.mark.parametrize("keys", [("wrong",), ("",), (key_of("team-a/search"), "other"), ("schlüssel",), ("\udcff",)])
def test_a_wrong_key_and_two_keys_are_refused(keys: tuple[str, ...]) -> None:
    assert answer(world(), call(keys=keys)) == (401, "invalid_api_key")


def test_the_same_key_in_two_headers_is_one_key() -> None:
    key = key_of("team-a/search")
    assert answer(world(), call(keys=(key, key))) == (200, "")


def test_a_suspended_consumer_is_told_so() -> None:
    assert answer(world(suspended=True), call()) == (403, "consumer_suspended")


def test_a_key_whose_secret_is_not_resolved_admits_nobody() -> None:
    runtime = world(keys=(KeyEntry(name="pending"),))
    assert answer(runtime, call(keys=("",))) == (401, "invalid_api_key")


def test_a_digest_that_is_none_is_refused_when_building() -> None:
    with pytest.raises(BuildError, match="AIConsumer team-a/search key k: sha256 must be 64 hexadecimal digits"):
        world(keys=(KeyEntry(name="k", sha256="abc"),))


def test_the_consumer_that_was_there_first_keeps_a_key_that_another_names() -> None:
    stolen = (key_entry(key_of("team-a/search")),)
    runtime = runtime_of(
        keys_only(),
        route(policies=attach("team-a/login")),
        consumer(created=5),
        consumer("team-a/a-thief", created=6, keys=stolen),
    )
    decision = decide(runtime, call(), NOON)
    assert decision.consumer is not None
    assert decision.consumer.key == "team-a/search"


def test_without_a_valid_key_every_model_looks_the_same() -> None:
    runtime = world()
    for keys in ((), ("wrong",)):
        known = decide(runtime, call(keys=keys), NOON).denial
        unknown = decide(runtime, call(keys=keys, model="no-such"), NOON).denial
        elsewhere = decide(runtime, call(keys=keys, host="other.example.com", base="/x"), NOON).denial
        assert known == unknown == elsewhere
        assert known is not None
        assert (known.status, known.code) == (401, "invalid_api_key")


def open_world() -> Runtime:
    both = policy("team-a/open", methods=(Method.ANONYMOUS, Method.API_KEY))
    return runtime_of(both, keys_only(), consumer(), route(policies=attach("team-a/open")))


def test_anonymous_where_every_policy_lists_it() -> None:
    decision = decide(open_world(), call(keys=()), NOON)
    assert decision.denial is None
    assert methods_of(decision.identity) == "Anonymous"
    assert decision.consumer is not None
    assert decision.consumer.key == ""


def test_not_anonymous_where_one_policy_does_not_list_it() -> None:
    both = policy("team-a/open", methods=(Method.ANONYMOUS, Method.API_KEY))
    runtime = runtime_of(both, keys_only(), consumer(), route(policies=attach("team-a/open", "team-a/login")))
    assert answer(runtime, call(keys=())) == (401, "invalid_api_key")
    assert answer(runtime, call()) == (200, "")


def test_a_wrong_key_is_refused_even_where_anonymous_may_come() -> None:
    assert answer(open_world(), call(keys=("wrong",))) == (401, "invalid_api_key")


def test_an_unknown_model_without_a_key_is_401_where_another_route_is_open() -> None:
    assert answer(open_world(), call(keys=(), model="no-such")) == (401, "invalid_api_key")


def test_closed_by_default_without_an_authentication_section() -> None:
    runtime = runtime_of(policy("team-a/none"), consumer(), route(policies=attach("team-a/none")))
    assert answer(runtime, call()) == (401, "method_not_accepted")
    assert answer(runtime, call(keys=())) == (401, "invalid_api_key")
    assert answer(runtime_of(consumer(), route()), call()) == (401, "method_not_accepted")


def test_a_method_that_one_policy_lacks_names_that_policy() -> None:
    anonymous = policy("team-a/anonymous", methods=(Method.ANONYMOUS,))
    runtime = runtime_of(anonymous, keys_only(), consumer(), route(policies=attach("team-a/login", "team-a/anonymous")))
    denial = decide(runtime, call(), NOON).denial
    assert denial is not None
    assert (denial.status, str(denial.rule)) == (401, "AIPolicy team-a/anonymous")
