"""The form of the API keys that Tidegate makes: `tdg_`, 256 random bits, and a checksum. Pure.

The prefix lets secret scanners recognise a key that was leaked; the checksum tells a scanner's false alarm, and a
caller's typing error, from a key that may exist, without asking anybody. Keys of other forms are as good: what a key
looks like never says whether it is valid.
"""

import re
from hashlib import sha256
from typing import Final
from zlib import crc32

PREFIX: Final = "tdg_"
RANDOM_BYTES: Final = 32
# 62**43 > 256**32 and 62**6 > 2**32, so both widths are fixed.
_BODY = 43
_CHECKSUM = 6
LENGTH: Final = len(PREFIX) + _BODY + _CHECKSUM
PATTERN: Final = rf"\b{PREFIX}[0-9A-Za-z]{{{_BODY + _CHECKSUM}}}\b"
"""A regular expression for secret scanners; what it finds is a key only if `well_formed` says so."""

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS: Final = tuple((high + low).encode() for high in _DIGITS for low in _DIGITS)
_SHAPE = re.compile(PATTERN, re.ASCII)
_PREFIX = PREFIX.encode()
_SUMMED = len(PREFIX) + _BODY


def issue_key(random: bytes) -> str:
    """A new key of `RANDOM_BYTES` random bytes; raises ValueError for any other number of them."""
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"a key is made of {RANDOM_BYTES} random bytes, not of {len(random)}")
    number = int.from_bytes(random)
    digits = []
    for _ in range(_BODY):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    summed = PREFIX + "".join(reversed(digits))
    return summed + _checksum(summed.encode()).decode()


def well_formed(key: str) -> bool | None:
    """Whether a key of our form is without a typing error; None for a key of another form."""
    if not key.startswith(PREFIX):
        return None
    return _SHAPE.fullmatch(key) is not None and checksum_fits(key.encode()) is True


def checksum_fits(key: bytes) -> bool | None:
    """`well_formed` for every call: looks at length and checksum (CRC-32, as zlib has it) only."""
    if not key.startswith(_PREFIX):
        return None
    return len(key) == LENGTH and _checksum(key[:_SUMMED]) == key[_SUMMED:]


def digest_of(key: str) -> str:
    """The hex SHA-256 of a key, which may stand in Git."""
    return sha256(key.encode()).hexdigest()


def _checksum(summed: bytes) -> bytes:
    value = crc32(summed)
    base = len(_PAIRS)
    return _PAIRS[value // (base * base)] + _PAIRS[value // base % base] + _PAIRS[value % base]
