"""`status.keys` of an AIConsumer: the state of each of its keys, and when it was last used. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tidegate_dataplane.snapshot.entries import ConsumerEntry, KeyEntry, previous_name
from tidegate_dataplane.snapshot.key_state import KeyState, key_state
from tidegate_operator.compile.timestamps import format_timestamp, parse_timestamp

# A key in steady use is written down again only after so many seconds.
GRAIN_SECONDS = 600


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """One key in a status. Times are RFC 3339, "" where there is none."""

    name: str
    state: str
    last_used: str = ""
    not_after: str = ""


def key_statuses(
    entry: ConsumerEntry, uses: Mapping[str, int], previous: tuple[KeyStatus, ...], now: float
) -> tuple[KeyStatus, ...]:
    """The keys of a consumer in force that can be presented at all.

    `uses` are the last uses that data planes know, by name of the key, in seconds since the epoch. What a former status
    tells is kept unless a use is a good deal newer: data planes forget when they restart.
    """
    told = {status.name: status.last_used for status in previous}
    return tuple(
        KeyStatus(
            name=name,
            state=state.value,
            last_used=_later(told.get(name, ""), uses.get(name)),
            not_after="" if not_after is None else format_timestamp(not_after),
        )
        for key in entry.keys
        for name, state, not_after in _rows(entry, key, now)
    )


def last_used(keys: tuple[KeyStatus, ...]) -> str:
    """The newest last use of all; "" when none was used."""
    return max((key.last_used for key in keys), default="")


def _rows(entry: ConsumerEntry, key: KeyEntry, now: float) -> Iterator[tuple[str, KeyState, int | None]]:
    """As `lower_keys` of the data plane makes credentials."""
    if key.sha256:
        yield key.name, _state(entry, key, key.not_after, now, replaced=False), key.not_after
    if key.previous and key.previous_until is not None:
        until = key.previous_until if key.not_after is None else min(key.previous_until, key.not_after)
        yield previous_name(key.name), _state(entry, key, until, now, replaced=True), until


def _state(entry: ConsumerEntry, key: KeyEntry, not_after: int | None, now: float, *, replaced: bool) -> KeyState:
    return key_state(
        now,
        not_before=key.not_before,
        not_after=not_after,
        revoked=key.revoked,
        suspended=entry.suspended,
        replaced=replaced,
    )


def _later(told: str, used: int | None) -> str:
    if used is None:
        return told
    try:
        return format_timestamp(used) if used - parse_timestamp(told) >= GRAIN_SECONDS else told
    except ValueError:
        return format_timestamp(used)
