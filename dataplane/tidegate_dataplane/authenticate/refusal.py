"""Why a token is not taken. What a caller reads says what is wrong and what to do, and never quotes the token."""

from enum import StrEnum
from typing import Final

from msgspec import Struct


class Reason(StrEnum):
    """What is wrong, in the order in which it is looked at: of several candidates the one that got furthest speaks."""

    MALFORMED = "malformed"
    WRONG_ISSUER = "wrong issuer"
    PROVIDER_UNAVAILABLE = "identity provider unavailable"
    KEYS_TOO_OLD = "keys too old"
    ALGORITHM_NOT_ALLOWED = "algorithm not allowed"
    UNKNOWN_KEY = "unknown key"
    BAD_SIGNATURE = "bad signature"
    INACTIVE = "inactive"
    BAD_CLAIM = "bad claim"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    ISSUED_IN_THE_FUTURE = "issued in the future"
    WRONG_AUDIENCE = "wrong audience"
    WRONG_PARTY = "wrong party"
    NO_SUBJECT = "no subject"


BY_KEYS: Final = frozenset({Reason.PROVIDER_UNAVAILABLE, Reason.KEYS_TOO_OLD, Reason.UNKNOWN_KEY, Reason.BAD_SIGNATURE})
"""Other keys than those that are here might have said something else: perhaps waiting for them helps."""

RANK: Final = {reason: place for place, reason in enumerate(Reason)}


class Refusal(Struct, frozen=True, gc=False):
    """`retry_after` in seconds; not 0 when it is not the caller's fault: answer 503 `identity_provider_unavailable`."""

    reason: Reason
    message: str
    retry_after: int = 0


_NEW = "Get a new token from your identity provider."

MALFORMED: Final = Refusal(Reason.MALFORMED, f"The token is not a well-formed signed JWT. {_NEW}")
TOO_LARGE: Final = Refusal(Reason.MALFORMED, "The token is longer than 16 KiB. Ask for one with fewer claims.")
BAD_TYPE: Final = Refusal(
    Reason.MALFORMED, "The token's typ is neither JWT nor at+jwt, so it is not meant for this. Send an access token."
)
CRITICAL: Final = Refusal(
    Reason.MALFORMED, "The token's header lists extensions in crit that the gateway does not know."
)
WRONG_ISSUER: Final = Refusal(
    Reason.WRONG_ISSUER, "No policy here trusts the token's issuer. Get a token from an identity provider in use here."
)
ALGORITHM_NOT_ALLOWED: Final = Refusal(
    Reason.ALGORITHM_NOT_ALLOWED,
    "The token is signed with an algorithm that is not allowed here. Have the identity provider sign with one that is.",
)
UNKNOWN_KEY: Final = Refusal(
    Reason.UNKNOWN_KEY, f"The token is signed with a key that its issuer does not publish. {_NEW}"
)
NO_USABLE_KEYS: Final = Refusal(
    Reason.PROVIDER_UNAVAILABLE,
    "The gateway has no usable key set for the token's issuer: tell the owner of the policy that names it.",
    retry_after=5,
)
BAD_SIGNATURE: Final = Refusal(Reason.BAD_SIGNATURE, f"The token's signature is not valid. {_NEW}")
INACTIVE: Final = Refusal(
    Reason.INACTIVE, f"The identity provider says that the token is not active: expired, revoked or unknown. {_NEW}"
)
ANOTHER_ISSUER: Final = Refusal(
    Reason.BAD_CLAIM, "The authorization server says that the token is another issuer's (iss). Get one from it."
)
NO_EXPIRY: Final = Refusal(Reason.BAD_CLAIM, "The token has no exp claim. Tokens without an end are not taken.")
EXPIRED: Final = Refusal(Reason.EXPIRED, f"The token has expired. {_NEW}")
NOT_YET_VALID: Final = Refusal(Reason.NOT_YET_VALID, "The token is not valid yet (nbf). Retry later, check the clocks.")
ISSUED_IN_THE_FUTURE: Final = Refusal(
    Reason.ISSUED_IN_THE_FUTURE, "The token was issued in the future (iat). Check the identity provider's clock."
)
WRONG_AUDIENCE: Final = Refusal(
    Reason.WRONG_AUDIENCE, "The token is meant for another audience (aud). Ask for one for this gateway."
)
WRONG_PARTY: Final = Refusal(
    Reason.WRONG_PARTY, "The token was issued to a client (azp) that may not come here. Use a client that may."
)
NO_SUBJECT: Final = Refusal(Reason.NO_SUBJECT, "The token does not say whom it stands for (sub).")


def bad_date(claim: str) -> Refusal:
    """`claim`: exp, nbf or iat."""
    return Refusal(Reason.BAD_CLAIM, f"The token's {claim} is not a time in seconds since 1970.")


def unavailable(retry_after: float) -> Refusal:
    """The provider was not reached yet; `retry_after` in seconds."""
    return Refusal(
        Reason.PROVIDER_UNAVAILABLE,
        "The identity provider cannot be reached, so the token cannot be verified. Retry.",
        retry_after=max(1, int(retry_after + 0.999)),
    )


def keys_too_old(seconds: float) -> Refusal:
    """Nobody vouches any more for keys that old."""
    return Refusal(
        Reason.KEYS_TOO_OLD,
        f"The identity provider's keys have not been refreshed for {_span(seconds)}, so no token of it is taken."
        " Tell the gateway's operators that it cannot be reached.",
        retry_after=30,
    )


def _span(seconds: float) -> str:
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def to_tell(refusals: list[Refusal]) -> Refusal:
    """The one to tell of several. Who is away might have said yes: then the caller should try again; else what got
    furthest is nearest to what the caller meant."""
    return max(refusals, key=lambda refusal: (refusal.retry_after > 0, RANK[refusal.reason]))
