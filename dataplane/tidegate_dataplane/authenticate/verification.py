"""Whether a token holds for a provider: signature (RFC 7515), then claims (RFC 7519, RFC 8725, RFC 9068). Pure."""

from collections.abc import Mapping
from math import inf
from typing import Final

from tidegate_dataplane.authenticate import refusal
from tidegate_dataplane.authenticate.jose import Token
from tidegate_dataplane.authenticate.keys import ALGORITHMS, KeySet
from tidegate_dataplane.authenticate.refusal import Refusal
from tidegate_dataplane.snapshot.entries import TokenProviderEntry

Claims = Mapping[str, object]

_LAST_SECOND: Final = 253_402_300_799  # the end of the year 9999
_MAX_SUBJECT: Final = 1024


def verify(token: Token, provider: TokenProviderEntry, keys: KeySet, now: float) -> Claims | Refusal:
    """The claims of a token that holds for `provider` at `now` (seconds since the epoch), or why it does not."""
    refused = check_signature(token, allowed_algorithms(provider), keys)
    if refused is None and token.issuer != provider.issuer:
        refused = refusal.WRONG_ISSUER
    if refused is None:
        refused = check_claims(token.claims, provider, now)
    return token.claims if refused is None else refused


def allowed_algorithms(provider: TokenProviderEntry) -> frozenset[str]:
    """What the provider allows; all asymmetric ones when it names none. A name that is not known allows nothing."""
    return ALGORITHMS.intersection(provider.algorithms) if provider.algorithms else ALGORITHMS


def check_signature(
    token: Token, algorithms: frozenset[str], keys: KeySet, known: dict[bytes, bool] | None = None
) -> Refusal | None:
    """None when one of `keys` signed the token with an allowed algorithm that fits that key.

    `known` remembers, for this one token, by the fingerprint of each key whether it signed it.
    """
    algorithm = token.algorithm
    if algorithm not in algorithms:
        return refusal.ALGORITHM_NOT_ALLOWED
    candidates = keys.candidates(token.key_id, algorithm)
    if not candidates:
        return refusal.UNKNOWN_KEY
    known = {} if known is None else known
    for key in candidates:
        signed = known.get(key.fingerprint)
        if signed is None:
            signed = known[key.fingerprint] = key.verifiers[algorithm](token.signing_input, token.signature)
        if signed:
            return None
    return refusal.BAD_SIGNATURE


def check_claims(
    claims: Claims, provider: TokenProviderEntry, now: float, *, introspected: bool = False
) -> Refusal | None:
    """Time, audience, party and subject. An introspection answer may lack exp, aud and sub (RFC 7662, section 2.2)."""
    refused = check_times(claims, now, provider.clock_skew_ms / 1000, needs_expiry=not introspected)
    return refused or check_holder(claims, provider, introspected=introspected)


def check_holder(claims: Claims, provider: TokenProviderEntry, *, introspected: bool = False) -> Refusal | None:
    """Whom the token is for, to whom it was given, and whom it stands for."""
    if not _for_audience(claims.get("aud"), provider.audiences, introspected=introspected):
        return refusal.WRONG_AUDIENCE
    if provider.authorized_parties and party_of(claims) not in provider.authorized_parties:
        return refusal.WRONG_PARTY
    return None if subject_of(claims, introspected=introspected) else refusal.NO_SUBJECT


def check_times(claims: Claims, now: float, skew: float, *, needs_expiry: bool = True) -> Refusal | None:
    """Whether the token holds at `now`, give or take `skew` seconds."""
    for claim in ("exp", "nbf", "iat"):
        if claim in claims and date_of(claims, claim) is None:
            return refusal.bad_date(claim)
    expires, begins, issued = (date_of(claims, claim) for claim in ("exp", "nbf", "iat"))
    if expires is None and needs_expiry:
        return refusal.NO_EXPIRY
    if expires is not None and now >= expires + skew:
        return refusal.EXPIRED
    if begins is not None and now < begins - skew:
        return refusal.NOT_YET_VALID
    if issued is not None and now < issued - skew:
        return refusal.ISSUED_IN_THE_FUTURE
    return None


def date_of(claims: Claims, claim: str) -> float | None:
    """A NumericDate (RFC 7519, section 2) up to the year 9999; None when it is absent or none."""
    value = claims.get(claim)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value <= _LAST_SECOND else None


def holds_until(claims: Claims, skew: float, now: float) -> float:
    """The first moment after `now` at which `check_times` may say something else; infinity when there is none."""
    expires, begins, issued = (date_of(claims, claim) for claim in ("exp", "nbf", "iat"))
    moments = [
        inf if expires is None else expires + skew,
        inf if begins is None else begins - skew,
        inf if issued is None else issued - skew,
    ]
    return min((moment for moment in moments if moment > now), default=inf)


def _for_audience(audience: object, expected: tuple[str, ...], *, introspected: bool) -> bool:
    """RFC 7519, section 4.1.3: whoever is not named in aud must not take the token; without aud it is for everyone."""
    if audience is None:
        return not expected
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        return False
    # Who answers an introspection knows who asks, and need not call a token active that is not for them.
    return any(name in expected for name in named) or (introspected and not expected)


def party_of(claims: Claims) -> object:
    """The client that the token was issued to: azp (OpenID Connect), else client_id (RFC 9068, RFC 7662)."""
    return claims.get("azp", claims.get("client_id"))


def subject_of(claims: Claims, *, introspected: bool = False) -> str:
    """Whom the token stands for: sub; of an introspection answer else username, else client_id. "" = nobody."""
    for claim in ("sub", "username", "client_id") if introspected else ("sub",):
        value = claims.get(claim)
        if isinstance(value, str) and 0 < len(value) <= _MAX_SUBJECT:
            return value
    return ""
