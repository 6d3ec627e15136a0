"""What a claim mapping makes of a token."""

from typing import Any

import pytest

from samples.snapshots import policy
from tidegate_dataplane.engine.mapping import claims_of, mapped_consumer
from tidegate_dataplane.expressions import ExpressionError, ValueKind, compile_value
from tidegate_dataplane.runtime.build_error import BuildError
from tidegate_dataplane.runtime.lower import lower_policy
from tidegate_dataplane.runtime.objects import NO_TOKEN, Provider
from tidegate_dataplane.snapshot.entries import (
    AuthenticationEntry,
    ClaimMapping,
    Method,
    TargetKind,
    TargetRef,
    TokenKind,
    TokenProviderEntry,
)

EVERYTHING = ClaimMapping(
    name="token.claims.preferred_username",
    team="token.claims.department",
    tier="token.claims.level >= 2 ? 'gold' : 'free'",
    roles="token.claims.realm_access.roles",
    attributes={"clearance": "string(token.claims.level)", "issuer": "token.issuer"},
)
CLAIMS = {
    "preferred_username": "alice",
    "department": "research",
    "level": 3,
    "realm_access": {"roles": ["inference", "fine-tuning"]},
}


def section(mapping: ClaimMapping | None) -> AuthenticationEntry:
    entry = TokenProviderEntry(name="corp", kind=TokenKind.JWT, issuer="https://idp.example.com", mapping=mapping)
    return AuthenticationEntry((Method.JWT,), providers=(entry,))


def provider(mapping: ClaimMapping | None, *, everywhere: bool = False) -> Provider:
    entry = policy(authentication=section(mapping))
    if everywhere:
        entry = type(entry)(entry.source, (TargetRef(TargetKind.GATEWAY),), authentication=entry.authentication)
    return lower_policy(entry).providers[0]


def token(**claims: Any) -> dict[str, object]:
    return {**NO_TOKEN, "issuer": "https://idp.example.com", "subject": "u-1", "claims": claims}


def test_every_member_is_read() -> None:
    found = claims_of(provider(EVERYTHING), token(**CLAIMS))
    assert found.roles == {"inference", "fine-tuning"}
    assert (found.team, found.tier) == ("research", "gold")
    assert found.attributes == {"clearance": "3", "issuer": "https://idp.example.com"}


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"department": None, "level": "three", "realm_access": []},
        {"department": 7, "level": [], "realm_access": {"roles": {"a": "b"}}},
        {"department": "x" * 129, "level": {}, "realm_access": {"roles": ["a", 1]}},
        {"department": "a\x00b", "level": None, "realm_access": {"roles": [str(number) for number in range(65)]}},
        {"department": "\ud800", "level": 10**400, "realm_access": {"roles": ["\ud800"]}},
        {"department": "", "realm_access": {"roles": ["", "a\nb", "x" * 129]}},
        {"department": "x" * 9000, "realm_access": {"roles": ["a"] * 257}},
    ],
)
def test_what_is_missing_or_unfit_gives_nothing(claims: dict[str, Any]) -> None:
    found = claims_of(provider(EVERYTHING), token(**claims))
    assert (found.roles, found.team) == (frozenset(), "")


def test_one_that_fails_leaves_the_others() -> None:
    found = claims_of(provider(EVERYTHING), token(department="research"))
    assert (found.team, found.tier, found.attributes) == ("research", "", {"issuer": "https://idp.example.com"})


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("token.claims.groups", {"a", "b"}),
        ("token.claims.groups.filter(g, g != 'a')", {"b"}),
        ("token.claims.groups.map(g, 'corp-' + g)", {"corp-a", "corp-b"}),
        ("'a' in token.claims.groups ? ['admin'] : ['user']", {"admin"}),
        ("token.claims.only", {"one"}),
        ("has(token.claims.none) ? token.claims.none : ['guest']", {"guest"}),
        ("['everyone'] + token.claims.groups", {"everyone", "a", "b"}),
    ],
)
def test_roles_come_from_lists_or_a_single_string(text: str, roles: set[str]) -> None:
    assert claims_of(provider(ClaimMapping(roles=text)), token(groups=["a", "b"], only="one")).roles == roles


def test_a_provider_without_a_mapping_says_nothing() -> None:
    assert claims_of(provider(None), token(**CLAIMS)).roles == frozenset()
    assert mapped_consumer(provider(None), token()) is None
    assert mapped_consumer(provider(ClaimMapping(team="token.subject")), token()) is None


def test_a_caller_without_an_ai_consumer_gets_a_name_that_no_ai_consumer_has() -> None:
    found = mapped_consumer(provider(EVERYTHING), token(**CLAIMS))
    assert found is not None
    assert (found.key, found.name, found.namespace) == ("team-a/jwt:alice", "jwt:alice", "team-a")
    assert (found.entry.type, found.roles) == ("User", frozenset())


@pytest.mark.parametrize("name", [None, "", "a\tb", "x" * 129, ["alice"], 7, {"a": 1}])
def test_without_a_fit_name_there_is_nobody(name: object) -> None:
    assert mapped_consumer(provider(EVERYTHING), token(preferred_username=name)) is None


@pytest.mark.parametrize(
    ("everywhere", "tenant", "namespace"),
    [
        (True, "team-b", "team-b"),
        (False, "team-b", "team-a"),
        (True, "Team/B", None),
        (True, "", None),
        (True, "team-b\n", None),
        (True, None, None),
        (True, "x" * 64, None),
    ],
)
def test_only_a_provider_of_the_gateway_names_another_tenant(
    everywhere: bool, tenant: str | None, namespace: str | None
) -> None:
    elsewhere = ClaimMapping(name="token.subject", namespace="token.claims.tenant")
    found = mapped_consumer(provider(elsewhere, everywhere=everywhere), token(tenant=tenant))
    assert (found.namespace if found else None) == namespace


def test_a_snapshot_with_an_expression_that_does_not_compile_is_refused() -> None:
    with pytest.raises(BuildError, match="AIPolicy team-a/login corp claims: 'request' cannot be read here"):
        lower_policy(policy(authentication=section(ClaimMapping(team="request.model"))))


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("consumer.name", ValueKind.TEXT, "'consumer' cannot be read here; there is token"),
        ("now.getHours() < 7 ? 'night' : 'day'", ValueKind.TEXT, "'now' cannot be read here"),
        ("token.sub", ValueKind.TEXT, "did you mean 'token.subject'?"),
        ("token", ValueKind.TEXT, "write which member of 'token'"),
        ("size(token.claims.groups)", ValueKind.TEXTS, "an int, not a list of strings"),
        ("token.claims.level >= 2", ValueKind.TEXT, "not a string"),
        ("[token.subject]", ValueKind.TEXT, "a list, not a string"),
        ("[1, 2]", ValueKind.TEXTS, "holds an int, not only strings"),
        ("token.claims.groups.map(g, g + token.subject)", ValueKind.TEXTS, "may look at their own variable only"),
    ],
)
def test_what_no_token_could_make_right_is_refused(text: str, kind: ValueKind, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_value(text, kind)
    assert said in caught.value.message
