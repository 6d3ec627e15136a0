"""The state of an API key, as data planes enforce it and the operator tells it."""

from enum import StrEnum


class KeyState(StrEnum):
    """What a caller with the key meets. Previous works, until its successor has overlapped it for long enough."""

    ACTIVE = "Active"
    PREVIOUS = "Previous"
    NOT_YET = "NotYet"
    EXPIRED = "Expired"
    REVOKED = "Revoked"
    SUSPENDED = "Suspended"


def key_state(
    now: float, *, not_before: float | None, not_after: float | None, revoked: bool, suspended: bool, replaced: bool
) -> KeyState:
    """The most final state that holds at `now`. Times are seconds since the epoch; None is no bound."""
    if revoked:
        return KeyState.REVOKED
    if not_after is not None and now >= not_after:
        return KeyState.EXPIRED
    if suspended:
        return KeyState.SUSPENDED
    if not_before is not None and now < not_before:
        return KeyState.NOT_YET
    return KeyState.PREVIOUS if replaced else KeyState.ACTIVE
