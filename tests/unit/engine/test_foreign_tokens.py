"""A token beside another credential: what it says counts only where every provider of the route takes it.

Whoever may write an AIPolicy in a namespace can make tokens that stand for that namespace's consumers. They must not be
able to answer what others ask of tokens.
"""

from typing import Any

import pytest

from samples.snapshots import (
    NOON,
    allow,
    attach,
    backend,
    call,
    consumer,
    deny,
    key_entry,
    key_of,
    policy,
    route,
    runtime_of,
    source,
)
from tidegate_dataplane.engine.catalogue import models_for
from tidegate_dataplane.engine.decide import decide_for
from tidegate_dataplane.engine.decision import Denial
from tidegate_dataplane.engine.identify import identify
from tidegate_dataplane.engine.prove import TokenProof, prove
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import Credential, Identity
from tidegate_dataplane.snapshot.entries import (
    AuthenticationEntry,
    ClaimMapping,
    Method,
    Mode,
    PolicyEntry,
    RiskEntry,
    SignalEntry,
    SignalKind,
    TargetKind,
    TargetRef,
    TokenKind,
    TokenMatchEntry,
    TokenProviderEntry,
)

OURS, THEIRS = "https://idp.example.com", "https://tenant.example.com"
EITHER = (Method.API_KEY, Method.JWT)


def with_provider(key: str, issuer: str, *, mapping: ClaimMapping | None = None, **fields: Any) -> PolicyEntry:
    provider = TokenProviderEntry(name="idp", kind=TokenKind.JWT, issuer=issuer, mapping=mapping)
    platform = key.startswith("tidegate-system/")
    return PolicyEntry(
        source=source(key),
        target_refs=(TargetRef(kind=TargetKind.GATEWAY if platform else TargetKind.NAMESPACE),),
        authentication=AuthenticationEntry(methods=EITHER, providers=(provider,)),
        **fields,
    )


def caller(runtime: Runtime, **claims: object) -> Identity:
    """By API key, and a token that only the tenant's own provider takes."""
    found = shown(runtime, **claims)
    assert isinstance(found, Identity)
    assert found.methods == {Method.API_KEY, Method.JWT}
    return found


def shown(runtime: Runtime, **claims: object) -> Identity | Denial:
    key = identify(runtime, (key_of("team-a/search"),), NOON)
    assert isinstance(key, Credential)
    variables = {
        "issuer": THEIRS,
        "subject": "app-42",
        "acr": claims.get("acr", ""),
        "authTime": claims.get("auth_time", 0),
        "claims": claims,
    }
    accepted = frozenset(one.key for one in runtime.providers.by_key.values() if one.entry.issuer == THEIRS)
    proof = TokenProof(Method.JWT, THEIRS, {"sub": "app-42", **claims}, variables, accepted, b"t" * 16)
    return prove(runtime, key, proof, None)


SEARCH = consumer(
    keys=(key_entry(key_of("team-a/search")),), tokens=(TokenMatchEntry("own", {"sub": "app-42"}, THEIRS),)
)
TENANT = with_provider("team-a/own", THEIRS)
STRONG = (deny("weak", when="token.acr != 'gold'"),)


def outcome(runtime: Runtime, identity: Identity) -> str:
    denial = decide_for(runtime, call(keys=()), identity, NOON).denial
    return "let in" if denial is None else denial.code


@pytest.mark.parametrize("attached", [("tidegate-system/p",), ("tidegate-system/p", "team-a/own")])
def test_a_tenants_own_token_does_not_answer_the_platforms_rule(attached: tuple[str, ...]) -> None:
    platform = with_provider("tidegate-system/p", OURS, rules=STRONG)
    runtime = runtime_of(backend(), SEARCH, TENANT, platform, route(policies=attach(*attached)))
    assert outcome(runtime, caller(runtime)) == "permission_denied"
    assert outcome(runtime, caller(runtime, acr="gold")) == "permission_denied"
    assert models_for(runtime, call(keys=()), caller(runtime, acr="gold"), NOON) == []


def test_nor_does_it_where_the_platform_takes_keys_only() -> None:
    platform = policy("tidegate-system/p", methods=(Method.API_KEY,), rules=STRONG)
    runtime = runtime_of(backend(), SEARCH, TENANT, platform, route(policies=attach("tidegate-system/p")))
    assert outcome(runtime, caller(runtime, acr="gold")) == "permission_denied"


def test_a_token_that_only_a_shadow_policy_takes_proves_nothing() -> None:
    platform = policy("tidegate-system/p", methods=(Method.API_KEY,), rules=STRONG)
    tried = with_provider("team-a/own", THEIRS, mode=Mode.SHADOW)
    runtime = runtime_of(backend(), SEARCH, tried, platform, route(policies=attach("tidegate-system/p", "team-a/own")))
    found = shown(runtime, acr="gold")
    assert isinstance(found, Denial)
    assert found.status == 401


def test_a_deny_rule_looks_at_the_token_although_not_all_take_it() -> None:
    """One more provider makes nobody forget what a token says against its holder."""
    never = (deny("lead", when="token.acr == 'lead'"), deny("keyless", when="!('JWT' in consumer.methods)"))
    tenant = with_provider("team-a/own", THEIRS, rules=never[:1])
    platform = with_provider("tidegate-system/p", OURS)
    both = ("tidegate-system/p", "team-a/own")
    runtime = runtime_of(backend(), SEARCH, tenant, platform, route(policies=attach(*both)))
    assert outcome(runtime, caller(runtime, acr="lead")) == "permission_denied"
    assert outcome(runtime, caller(runtime, acr="gold")) == "let in"
    strict = with_provider("team-a/own", THEIRS, rules=never)
    runtime = runtime_of(backend(), SEARCH, strict, platform, route(policies=attach(*both)))
    assert outcome(runtime, caller(runtime, acr="gold")) == "permission_denied"


def test_a_deny_rule_matches_what_any_mapping_says() -> None:
    contractors = (deny("contractors", roles=("contractor",)),)
    one = with_provider("team-a/one", THEIRS, mapping=ClaimMapping(roles="['contractor']"), rules=contractors)
    other = with_provider("team-a/other", THEIRS, mapping=ClaimMapping(roles="['staff']"))
    for attached in (("team-a/one",), ("team-a/one", "team-a/other")):
        runtime = runtime_of(backend(), SEARCH, one, other, route(policies=attach(*attached)))
        assert outcome(runtime, caller(runtime)) == "permission_denied"


def test_it_is_no_step_up() -> None:
    risky = RiskEntry(
        signals=(SignalEntry(name="always", kind=SignalKind.EXPRESSION, weight=10, when="true"),),
        step_up=5,
        acr_values=("gold",),
        max_age_ms=60_000,
    )
    platform = with_provider("tidegate-system/p", OURS, risk=risky)
    runtime = runtime_of(backend(), SEARCH, TENANT, platform, route(policies=attach("tidegate-system/p", "team-a/own")))
    fresh = caller(runtime, acr="gold", auth_time=int(NOON) - 1)
    assert outcome(runtime, fresh) == "insufficient_user_authentication"


def test_it_gives_no_role_where_another_provider_maps_roles() -> None:
    """The tenant's mapping alone must not say what both would have to agree on."""
    platform = with_provider(
        "tidegate-system/p",
        OURS,
        mapping=ClaimMapping(roles="token.claims.groups"),
        rules=(allow("admins", roles=("admin",)),),
    )
    tenant = with_provider("team-a/own", THEIRS, mapping=ClaimMapping(roles="['admin']"))
    runtime = runtime_of(backend(), SEARCH, tenant, platform, route(policies=attach("tidegate-system/p", "team-a/own")))
    assert outcome(runtime, caller(runtime)) == "permission_denied"


def test_rules_do_not_take_it_for_a_method_that_was_proved() -> None:
    platform = with_provider("tidegate-system/p", OURS, rules=(deny("key-only", when="!('JWT' in consumer.methods)"),))
    runtime = runtime_of(backend(), SEARCH, TENANT, platform, route(policies=attach("tidegate-system/p", "team-a/own")))
    assert outcome(runtime, caller(runtime)) == "permission_denied"


def test_where_it_counts_rules_see_it() -> None:
    own = with_provider("team-a/own", THEIRS, rules=STRONG)
    runtime = runtime_of(backend(), SEARCH, own, route(policies=attach("team-a/own")))
    assert outcome(runtime, caller(runtime, acr="gold")) == "let in"
    assert outcome(runtime, caller(runtime)) == "permission_denied"
