"""What a token must say, claim by claim, at the edges."""

import math
from typing import Any

import pytest

from oidc.signing import AUDIENCE, ISSUER, SUBJECT, jwt_provider, key_set, signers
from tidegate_dataplane.authenticate.jose import Token, parse
from tidegate_dataplane.authenticate.keys import parse_key_set
from tidegate_dataplane.authenticate.refusal import Reason, Refusal
from tidegate_dataplane.authenticate.verification import holds_until, verify
from tidegate_dataplane.snapshot.entries import TokenProviderEntry

NOW = 1_800_000_000
SKEW = 30
KEYS = parse_key_set(key_set(*signers().values()).encode())


def judged(provider: TokenProviderEntry | None = None, now: float = NOW, **claims: Any) -> Reason | None:
    """None when a well-signed token with these claims is accepted."""
    times = {"iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 60}
    token = parse(signers()["EdDSA"].token(**{**times, **claims}))
    assert isinstance(token, Token)
    found = verify(token, provider or jwt_provider(clock_skew_ms=SKEW * 1000), KEYS, now)
    return found.reason if isinstance(found, Refusal) else None


@pytest.mark.parametrize("algorithm", signers())
def test_each_algorithm_verifies(algorithm: str) -> None:
    token = parse(signers()[algorithm].token())
    assert isinstance(token, Token)
    found = verify(token, jwt_provider(), KEYS, token.claims["iat"])  # type: ignore[arg-type]  # the signer's own
    assert not isinstance(found, Refusal)
    assert (found["iss"], found["sub"], found["aud"]) == (ISSUER, SUBJECT, AUDIENCE)


@pytest.mark.parametrize("algorithm", signers())
def test_an_algorithm_that_is_not_allowed_does_not(algorithm: str) -> None:
    token = parse(signers()[algorithm].token())
    assert isinstance(token, Token)
    others = tuple(name for name in signers() if name != algorithm)
    found = verify(token, jwt_provider(algorithms=others), KEYS, NOW)
    assert isinstance(found, Refusal)
    assert found.reason is Reason.ALGORITHM_NOT_ALLOWED


def test_a_list_of_unknown_algorithms_allows_none() -> None:
    assert judged(jwt_provider(algorithms=("HS256", "none", "XS1"))) is Reason.ALGORITHM_NOT_ALLOWED


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (NOW + 60 + SKEW - 1, None),
        (NOW + 60 + SKEW, Reason.EXPIRED),
        (NOW - 60 - SKEW, None),
        (NOW - 60 - SKEW - 1, Reason.NOT_YET_VALID),
    ],
)
def test_the_clock_skew_is_granted_and_not_a_second_more(now: float, reason: Reason | None) -> None:
    assert judged(now=now) is reason


def test_a_token_from_the_future_is_refused() -> None:
    assert judged(nbf=None, iat=NOW + SKEW) is None
    assert judged(nbf=None, iat=NOW + SKEW + 1) is Reason.ISSUED_IN_THE_FUTURE


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["1900000000", True, [], {}, -1, -0.5, 253_402_300_800, 2**62, 1e300])
def test_a_date_that_is_none_is_refused(claim: str, value: Any) -> None:
    assert judged(**{claim: value}) is Reason.BAD_CLAIM


def test_dates_may_have_fractions_and_two_of_them_may_be_absent() -> None:
    assert judged(exp=NOW + 0.5, nbf=None, iat=None) is None
    assert judged(exp=None) is Reason.BAD_CLAIM


@pytest.mark.parametrize(
    ("audience", "reason"),
    [
        (AUDIENCE, None),
        ([AUDIENCE], None),
        (["other", AUDIENCE], None),
        ("other", Reason.WRONG_AUDIENCE),
        (["other"], Reason.WRONG_AUDIENCE),
        ([], Reason.WRONG_AUDIENCE),
        ([AUDIENCE, 7], Reason.WRONG_AUDIENCE),
        ({AUDIENCE: True}, Reason.WRONG_AUDIENCE),
        (7, Reason.WRONG_AUDIENCE),
        (AUDIENCE.upper(), Reason.WRONG_AUDIENCE),
        (AUDIENCE + " ", Reason.WRONG_AUDIENCE),
        (None, Reason.WRONG_AUDIENCE),
    ],
)
def test_audiences(audience: object, reason: Reason | None) -> None:
    assert judged(aud=audience) is reason


def test_who_expects_no_audience_takes_only_tokens_without() -> None:
    """RFC 7519, section 4.1.3."""
    open_to_all = jwt_provider(audiences=())
    assert judged(open_to_all, aud=None) is None
    assert judged(open_to_all) is Reason.WRONG_AUDIENCE


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"azp": "app"}, None),
        ({"client_id": "app"}, None),
        ({"azp": "other", "client_id": "app"}, Reason.WRONG_PARTY),
        ({"azp": ["app"]}, Reason.WRONG_PARTY),
        ({}, Reason.WRONG_PARTY),
    ],
)
def test_authorized_parties(claims: dict[str, Any], reason: Reason | None) -> None:
    assert judged(jwt_provider(authorized_parties=("app", "cli")), **claims) is reason


@pytest.mark.parametrize("subject", [None, "", 7, ["a"], "x" * 2000])
def test_a_token_stands_for_somebody(subject: object) -> None:
    assert judged(sub=subject) is Reason.NO_SUBJECT


@pytest.mark.parametrize("issuer", [None, "", ISSUER + "/", ISSUER.upper(), "https://other"])
def test_the_issuer_is_exact(issuer: object) -> None:
    assert judged(iss=issuer) is Reason.WRONG_ISSUER


def test_a_result_holds_until_the_next_date_that_changes_it() -> None:
    assert holds_until({"exp": NOW + 60}, SKEW, NOW) == NOW + 60 + SKEW
    assert holds_until({"exp": NOW + 600, "nbf": NOW + 100}, SKEW, NOW) == NOW + 100 - SKEW
    assert holds_until({"exp": NOW - 600, "nbf": NOW - 900}, SKEW, NOW) == math.inf
