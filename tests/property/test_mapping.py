"""Whatever a token holds, its mapping never raises and gives only what is fit."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from samples.snapshots import policy
from tidegate_dataplane.engine.mapping import MAX_LENGTH, MAX_ROLES, claims_of, mapped_consumer
from tidegate_dataplane.runtime.lower import lower_policy
from tidegate_dataplane.runtime.objects import NO_TOKEN, Provider
from tidegate_dataplane.snapshot.entries import (
    AuthenticationEntry,
    ClaimMapping,
    Method,
    PolicyEntry,
    TargetKind,
    TargetRef,
    TokenKind,
    TokenProviderEntry,
)

NAMES = ("name", "tenant", "team", "groups", "nested", "level")
MAPPINGS = (
    ClaimMapping(
        name="token.claims.name",
        namespace="token.claims.tenant",
        team="token.claims.team",
        tier="token.claims.level >= 2 ? 'gold' : 'free'",
        roles="token.claims.groups",
        attributes={"a": "token.claims.nested.level", "b": "string(token.claims.level)", "c": "token.acr"},
    ),
    ClaimMapping(
        name="token.subject",
        team="token.claims.nested.team.startsWith('a') ? token.claims.team : token.claims.name",
        tier="token.claims.groups[0]",
        roles="token.claims.groups.filter(g, g != 'a').map(g, 'x-' + g) + token.claims.nested.roles",
        attributes={"a": "has(token.claims.nested) ? token.claims.nested.roles[1] : token.issuer"},
    ),
)
texts = st.text(max_size=12) | st.sampled_from(("a", "team-b", "x" * (MAX_LENGTH + 1), "\ud800", "\n", ""))
scalars = st.none() | st.booleans() | st.integers() | st.integers(-(10**400), 10**400) | st.floats() | texts
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(texts, max_size=MAX_ROLES + 6)
        | st.dictionaries(st.sampled_from(("roles", "team", "level")) | texts, inner, max_size=3)
    ),
    max_leaves=12,
)
claims = st.dictionaries(st.sampled_from(NAMES), values, max_size=len(NAMES))


def provider(mapping: ClaimMapping, kind: TargetKind) -> Provider:
    entry = TokenProviderEntry(name="corp", kind=TokenKind.JWT, mapping=mapping)
    source = policy().source
    section = AuthenticationEntry((Method.JWT,), providers=(entry,))
    return lower_policy(PolicyEntry(source, (TargetRef(kind),), authentication=section)).providers[0]


PROVIDERS = [provider(mapping, kind) for mapping in MAPPINGS for kind in (TargetKind.NAMESPACE, TargetKind.GATEWAY)]


def fit(text: str) -> bool:
    return len(text) <= MAX_LENGTH and text.isprintable()


@settings(max_examples=500)
@given(claims, texts)
def test_a_mapping_is_total_and_gives_only_what_is_fit(held: dict[str, Any], subject: str) -> None:
    token = {**NO_TOKEN, "subject": subject, "claims": held}
    for one in PROVIDERS:
        found = claims_of(one, token)
        given_texts = (*found.roles, found.team, found.tier, *found.attributes.values())
        assert all(isinstance(text, str) and fit(text) for text in given_texts)
        assert len(found.roles) <= MAX_ROLES
        consumer = mapped_consumer(one, token)
        if consumer is not None:
            assert fit(consumer.name.removeprefix("jwt:"))
            assert consumer.key == f"{consumer.namespace}/{consumer.name}"
            assert one.everywhere or consumer.namespace == one.namespace
