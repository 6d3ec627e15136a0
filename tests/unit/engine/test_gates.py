"""Which proofs count for which authentication section, where several are attached."""

import pytest

from samples.snapshots import NOON, attach, call, consumer, policy, route, runtime_of
from tidegate_dataplane.engine.decide import decide_for
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import Identity
from tidegate_dataplane.snapshot.entries import (
    AuthenticationEntry,
    Method,
    PolicyEntry,
    TokenKind,
    TokenProviderEntry,
)

KEY, JWT = Method.API_KEY, Method.JWT


def section(name: str, *methods: Method, issuer: str = "") -> PolicyEntry:
    providers = (TokenProviderEntry(name="idp", kind=TokenKind.JWT, issuer=issuer),) if issuer else ()
    return policy(f"team-a/{name}", authentication=AuthenticationEntry(methods=methods, providers=providers))


def world(*policies: PolicyEntry) -> Runtime:
    attached = attach(*(one.source.key for one in policies))
    return runtime_of(consumer(), route(policies=attached), *policies)


def let_in(runtime: Runtime, *vouchers: str) -> bool:
    """A caller with key and token, of whom these policies' providers accept the token."""
    caller = runtime.consumers["team-a/search"]
    accepted = frozenset(f"team-a/{name}/idp" for name in vouchers)
    identity = Identity(caller, frozenset({KEY, JWT}), vouchers=accepted)
    return decide_for(runtime, call(), identity, NOON).denial is None


KEY_OR_ONE = section("one", KEY, JWT, issuer="https://one.example.com")
ANY_TOKEN = section("any", JWT)
ANOTHER = section("another", JWT, issuer="https://another.example.com")


def test_a_section_without_providers_takes_the_word_of_those_of_others() -> None:
    assert let_in(world(KEY_OR_ONE, ANY_TOKEN), "one")
    assert not let_in(world(KEY_OR_ONE, ANY_TOKEN), "elsewhere")
    assert not let_in(world(ANY_TOKEN), "elsewhere")


def test_one_more_provider_does_not_open_what_another_guards() -> None:
    """The token is of the new provider's issuer only: the section without providers has trusted the first so far."""
    assert not let_in(world(KEY_OR_ONE, ANY_TOKEN), "another")
    assert not let_in(world(KEY_OR_ONE, ANY_TOKEN, ANOTHER), "another")
    assert let_in(world(KEY_OR_ONE, ANY_TOKEN, ANOTHER), "one", "another")


@pytest.mark.parametrize("vouchers", [("one",), ("another",)])
def test_each_section_with_providers_of_its_own_asks_those(vouchers: tuple[str, ...]) -> None:
    only_one = section("one", JWT, issuer="https://one.example.com")
    assert not let_in(world(only_one, ANOTHER), *vouchers)
    assert let_in(world(only_one, ANOTHER), "one", "another")
