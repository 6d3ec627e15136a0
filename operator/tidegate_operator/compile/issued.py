"""A generated key as it stands in its Secret. Everything that is known of it is there, so nothing is lost by a restart.

`KEY` holds the key, `KEY.previous` the one that it replaced, `KEY.issued-at` when it was made (RFC 3339). The last one
also says that the key is ours: a key without it was put there by somebody else and is never touched.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from tidegate_operator.compile.timestamps import parse_timestamp

PREVIOUS = ".previous"
ISSUED_AT = ".issued-at"
LONGEST_KEY = 253 - len(ISSUED_AT)
"""So many characters may the name of a generated key have, for all three names to fit a Secret."""


class Fault(StrEnum):
    """Why what stands in a Secret cannot be taken for a generated key."""

    FOREIGN = "foreign"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """What a Secret holds of one generated key. `issued_at` is in seconds since the epoch."""

    current: bytes | None = field(default=None, repr=False)
    previous: bytes | None = field(default=None, repr=False)
    issued_at: int | None = None
    fault: Fault | None = None


def names_of(key: str) -> tuple[str, str, str]:
    """The three names in the Secret's data."""
    return key, key + PREVIOUS, key + ISSUED_AT


def read_issued(data: Mapping[str, bytes], key: str) -> IssuedKey:
    """Read one generated key; never raises."""
    current, previous, moment = (data.get(name) for name in names_of(key))
    current, previous = (_stripped(value) for value in (current, previous))
    if moment is None:
        # Also somebody else's value that only happens to stand where the replaced key would: it would be dropped.
        foreign = current is not None or previous is not None
        return IssuedKey(current, previous, None, Fault.FOREIGN if foreign else None)
    issued_at = _moment(moment)
    return IssuedKey(current, previous, issued_at, Fault.UNREADABLE if issued_at is None else None)


@lru_cache(maxsize=65_536)
def _moment(text: bytes) -> int | None:
    try:
        return parse_timestamp(text.decode("ascii").strip())
    except ValueError:
        return None


def _stripped(value: bytes | None) -> bytes | None:
    """Without a line break that an editor put at its end; nothing at all is no key."""
    return None if value is None else value.removesuffix(b"\n").removesuffix(b"\r") or None
