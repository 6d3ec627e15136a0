"""Who calls, from key, token and certificate together; and which routes take whose word for it."""

from typing import Any

import pytest

from samples.snapshots import (
    NOON,
    attach,
    backend,
    call,
    consumer,
    deny,
    key_entry,
    key_of,
    limit,
    policy,
    quota,
    route,
    runtime_of,
    source,
)
from tidegate_dataplane.engine.decide import decide_for
from tidegate_dataplane.engine.decision import Denial
from tidegate_dataplane.engine.identify import identify
from tidegate_dataplane.engine.prove import CertificateProof, TokenProof, prove
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.lower import SEPARATOR
from tidegate_dataplane.runtime.objects import NOBODY, Credential, Identity
from tidegate_dataplane.snapshot.entries import (
    AuthenticationEntry,
    CertificateMatchEntry,
    ClaimMapping,
    Method,
    PolicyEntry,
    QuotaScope,
    TargetKind,
    TargetRef,
    TokenKind,
    TokenMatchEntry,
    TokenProviderEntry,
)

ISSUER = "https://idp.example.com"
SUBJECT = CertificateMatchEntry("cert", subject="CN=search")


def provider(name: str = "idp", mapping: ClaimMapping | None = None) -> TokenProviderEntry:
    return TokenProviderEntry(name=name, kind=TokenKind.JWT, issuer=ISSUER, audiences=("gateway",), mapping=mapping)


def by_token(
    key: str = "team-a/oidc",
    *,
    methods: tuple[Method, ...] = (Method.JWT,),
    all_of: tuple[Method, ...] = (),
    mapping: ClaimMapping | None = None,
    everywhere: bool = False,
    **fields: Any,
) -> PolicyEntry:
    target = TargetKind.GATEWAY if everywhere else TargetKind.NAMESPACE
    return PolicyEntry(
        source=source(key),
        target_refs=(TargetRef(kind=target),),
        authentication=AuthenticationEntry(methods=methods, all_of=all_of, providers=(provider(mapping=mapping),)),
        **fields,
    )


def token_of(runtime: Runtime, **claims: object) -> TokenProof:
    """A token that every provider takes."""
    return TokenProof(
        method=Method.JWT,
        issuer=ISSUER,
        claims=claims,
        variables={"issuer": ISSUER, "subject": claims.get("sub", ""), "acr": "", "authTime": 0, "claims": claims},
        accepted=frozenset(runtime.providers.by_key),
        digest=b"t" * 16,
    )


def holder(key: str = "team-a/search", *, sub: str = "app-42", created: int = 0, **fields: Any) -> Any:
    return consumer(key, created=created, tokens=(TokenMatchEntry("idp", {"sub": sub}, ISSUER),), **fields)


def proved(runtime: Runtime, *, key: str = "", certificate: str = "", **claims: object) -> Identity | Denial:
    found = identify(runtime, (key_of(key),), NOON) if key else None
    assert found is None or isinstance(found, Credential)
    shown = CertificateProof((("subject", certificate),)) if certificate else None
    return prove(runtime, found, token_of(runtime, **claims) if claims else None, shown)


def answer(runtime: Runtime, identity: Identity | Denial, **fields: Any) -> tuple[int, str]:
    assert isinstance(identity, Identity)
    denial = decide_for(runtime, call(keys=(), **fields), identity, NOON).denial
    return (200, "") if denial is None else (denial.status, denial.code)


def test_a_token_stands_for_the_consumer_that_names_its_claims() -> None:
    runtime = runtime_of(backend(), holder(), by_token(), route(policies=attach("team-a/oidc")))
    identity = proved(runtime, sub="app-42")
    assert isinstance(identity, Identity)
    assert identity.consumer.key == "team-a/search"
    assert identity.methods == {Method.JWT}
    assert answer(runtime, identity) == (200, "")


def test_a_token_that_nobody_claims_stands_for_nobody() -> None:
    runtime = runtime_of(backend(), holder(), by_token(), route(policies=attach("team-a/oidc")))
    found = proved(runtime, sub="somebody-else")
    assert isinstance(found, Denial)
    assert (found.status, found.code) == (401, "unknown_consumer")


def test_all_claims_that_a_consumer_names_must_be_there() -> None:
    both = consumer(tokens=(TokenMatchEntry("idp", {"azp": "web", "sub": "app-42"}, ISSUER),))
    runtime = runtime_of(backend(), both, by_token(), route(policies=attach("team-a/oidc")))
    assert isinstance(proved(runtime, sub="app-42"), Denial)
    assert isinstance(proved(runtime, sub="app-42", azp="other"), Denial)
    assert isinstance(proved(runtime, sub="app-42", azp="web"), Identity)


def test_claims_that_are_no_text_match_nothing() -> None:
    runtime = runtime_of(backend(), holder(sub="1"), by_token(), route(policies=attach("team-a/oidc")))
    for value in (1, True, ["1"], {"1": "1"}, None):
        assert isinstance(proved(runtime, sub=value), Denial)


def test_a_tenant_cannot_vouch_for_a_neighbours_consumer() -> None:
    """team-b trusts an issuer of its own making; its tokens stand for nobody of team-a."""
    runtime = runtime_of(backend(), holder(), by_token("team-b/oidc"), route(policies=attach("team-b/oidc")))
    assert isinstance(proved(runtime, sub="app-42"), Denial)


def test_the_gateways_provider_vouches_for_everybody() -> None:
    runtime = runtime_of(
        backend(),
        holder(),
        by_token("tidegate-system/oidc", everywhere=True),
        route(policies=attach("tidegate-system/oidc")),
    )
    assert answer(runtime, proved(runtime, sub="app-42")) == (200, "")


def test_a_provider_counts_only_where_its_policy_is_attached() -> None:
    runtime = runtime_of(
        backend(), holder(), by_token(), by_token("team-a/other"), route(policies=attach("team-a/other"))
    )
    proof = token_of(runtime, sub="app-42")
    only_first = TokenProof(
        proof.method, proof.issuer, proof.claims, proof.variables, frozenset({"team-a/oidc/idp"}), proof.digest
    )
    identity = prove(runtime, None, only_first, None)
    assert answer(runtime, identity) == (401, "method_not_accepted")


def test_a_policy_without_providers_takes_the_word_of_the_others() -> None:
    login = policy("team-a/narrow", methods=(Method.JWT,))
    runtime = runtime_of(backend(), holder(), by_token(), login, route(policies=attach("team-a/narrow", "team-a/oidc")))
    assert answer(runtime, proved(runtime, sub="app-42")) == (200, "")
    alone = runtime_of(backend(), holder(), by_token(), login, route(policies=attach("team-a/narrow")))
    assert answer(alone, proved(alone, sub="app-42")) == (401, "method_not_accepted")


def test_consumers_of_two_tenants_may_claim_one_token_and_neither_takes_it_from_the_other() -> None:
    """The older claim of team-b does not make the callers of team-a strangers on their own route."""
    ours, theirs = by_token("team-a/oidc"), by_token("team-b/oidc")
    runtime = runtime_of(
        backend(),
        holder("team-b/squatter", created=1),
        holder("team-a/search", created=2),
        ours,
        theirs,
        route(policies=attach("team-a/oidc")),
        route("team-b/chat", models=("theirs",), policies=attach("team-b/oidc")),
    )
    identity = proved(runtime, sub="app-42")
    assert answer(runtime, identity) == (200, "")
    assert answer(runtime, identity, model="theirs")[0] != 404


def test_where_a_consumer_is_declared_no_mapping_makes_another_of_its_namespace() -> None:
    """A suspended AIConsumer is not revived as somebody that a mapping names."""
    mapped = by_token(mapping=ClaimMapping(name="token.subject"))
    runtime = runtime_of(backend(), holder(suspended=True), mapped, route(policies=attach("team-a/oidc")))
    found = proved(runtime, sub="app-42")
    assert isinstance(found, Denial)
    assert found.code == "consumer_suspended"


def test_a_mapping_makes_a_consumer_of_a_token() -> None:
    mapping = ClaimMapping(name="token.subject", team="token.claims.team", roles="token.claims.groups")
    runtime = runtime_of(backend(), by_token(mapping=mapping), route(policies=attach("team-a/oidc")))
    identity = proved(runtime, sub="ada", team="search", groups=["inference"])
    assert isinstance(identity, Identity)
    assert identity.consumer.key == "team-a/jwt:ada"
    decision = decide_for(runtime, call(keys=()), identity, NOON)
    assert decision.denial is None
    assert decision.consumer is not None
    assert decision.consumer.team == "search"
    assert decision.consumer.roles == {"inference"}


def test_only_mappings_on_the_route_count_and_several_must_agree() -> None:
    one = by_token("team-a/one", mapping=ClaimMapping(roles="token.claims.groups"))
    other = by_token("team-a/other", mapping=ClaimMapping(roles="['inference']"))
    plain = by_token("team-a/plain")
    runtime = runtime_of(
        backend(),
        holder(roles=("own",)),
        one,
        other,
        plain,
        route("team-a/a", models=("a",), policies=attach("team-a/one")),
        route("team-a/b", models=("b",), policies=attach("team-a/one", "team-a/other")),
        route("team-a/c", models=("c",), policies=attach("team-a/plain")),
    )
    identity = proved(runtime, sub="app-42", groups=["inference", "admin"])
    assert isinstance(identity, Identity)

    def roles(model: str) -> frozenset[str]:
        found = decide_for(runtime, call(keys=(), model=model), identity, NOON).consumer
        assert found is not None
        return found.roles

    assert roles("a") == {"own", "inference", "admin"}
    assert roles("b") == {"own", "inference"}
    assert roles("c") == {"own"}


def test_a_suspended_consumer_gives_way_to_no_other_of_its_namespace() -> None:
    """Who suspends the consumer of one person does not want that person back as the whole application's."""
    wide = consumer("team-a/web", created=2, keys=(), tokens=(TokenMatchEntry("idp", {"azp": "web"}, ISSUER),))
    runtime = runtime_of(
        backend(), holder(created=1, suspended=True), wide, by_token(), route(policies=attach("team-a/oidc"))
    )
    found = proved(runtime, sub="app-42", azp="web")
    assert isinstance(found, Denial)
    assert found.code == "consumer_suspended"
    assert answer(runtime, proved(runtime, sub="app-43", azp="web")) == (200, "")


def test_a_certificate_stands_for_the_consumer_that_names_it() -> None:
    named = consumer(certificates=(SUBJECT,))
    runtime = runtime_of(
        backend(), named, policy("team-a/mtls", methods=(Method.MTLS,)), route(policies=attach("team-a/mtls"))
    )
    assert answer(runtime, proved(runtime, certificate="CN=search")) == (200, "")
    assert proved(runtime, certificate="CN=unknown") is NOBODY


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({"certificate": "CN=search", "sub": "app-42"}, (200, "")),
        ({"certificate": "CN=search"}, (401, "method_not_accepted")),
        ({"sub": "app-42"}, (401, "method_not_accepted")),
        ({"sub": "app-42", "certificate": "CN=unknown"}, (401, "method_not_accepted")),
    ],
)
def test_all_of_wants_each_method(shown: dict[str, str], expected: tuple[int, str]) -> None:
    both = by_token(methods=(Method.JWT, Method.MTLS), all_of=(Method.JWT, Method.MTLS))
    runtime = runtime_of(backend(), holder(certificates=(SUBJECT,)), both, route(policies=attach("team-a/oidc")))
    assert answer(runtime, proved(runtime, **shown)) == expected


def test_credentials_of_different_consumers_are_refused() -> None:
    runtime = runtime_of(
        backend(),
        holder(),
        consumer("team-a/other", certificates=(SUBJECT,), keys=(key_entry(key_of("team-a/other")),)),
        by_token(methods=(Method.JWT, Method.MTLS, Method.API_KEY)),
        route(policies=attach("team-a/oidc")),
    )
    for shown in ({"key": "team-a/other", "sub": "app-42"}, {"certificate": "CN=search", "sub": "app-42"}):
        found = proved(runtime, **shown)
        assert isinstance(found, Denial)
        assert (found.status, found.code) == (401, "different_consumers")
    assert isinstance(proved(runtime, key="team-a/other", certificate="CN=search"), Identity)


def test_rules_see_the_token() -> None:
    young = by_token(rules=(deny("weak", when="token.acr != 'gold'"),))
    runtime = runtime_of(backend(), holder(), young, route(policies=attach("team-a/oidc")))
    assert answer(runtime, proved(runtime, sub="app-42")) == (403, "permission_denied")


def test_limits_go_by_the_team_and_tier_that_the_token_of_this_call_says() -> None:
    """One consumer, two tokens: what the first call came with must not be what the second is counted by."""
    mapping = ClaimMapping(name="token.subject", team="token.claims.team", tier="token.claims.tier")
    runtime = runtime_of(
        backend(),
        by_token(mapping=mapping),
        quota("team-a/free", limit(), tiers=("free",)),
        quota("team-a/teams", limit(), per=QuotaScope.TEAM),
        route(policies=attach("team-a/oidc"), quotas=("team-a/free", "team-a/teams")),
    )

    def counted(team: str, tier: str) -> list[str]:
        identity = proved(runtime, sub="ada", team=team, tier=tier)
        assert isinstance(identity, Identity)
        decision = decide_for(runtime, call(keys=()), identity, NOON)
        assert decision.denial is None
        return [f"{demand.object} {demand.key.rpartition(SEPARATOR)[2]}" for demand in decision.demands]

    assert counted("red", "premium") == ["team-a/teams team-a/red"]
    assert counted("blue", "free") == ["team-a/free team-a/jwt:ada", "team-a/teams team-a/blue"]
