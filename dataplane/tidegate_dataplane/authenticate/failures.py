"""Limits on failed authentications: by the caller's address, and by the beginning of the key that was tried.

The law:

- While a caller is limited, what it presents is still looked up in memory, and a valid credential still passes. Keys
  of 256 bits cannot be guessed at any rate, and to refuse them would let one attacker lock out everybody behind the
  same address.
- What changes is the answer to a failure: 429 with `retry-after` instead of 401, the same whatever was wrong, and
  nothing expensive is done to find that out: while `address_limited`, no signature of a token that is not already
  known to be good is verified, nothing is asked of an identity provider.
- Only failures cost: a request that authenticates never comes here.

The address counts as one caller: of IPv6 the /64 (`engine.admit.address_scope`). A beginning is counted as well because
guesses at one key may come from many addresses. Tokens are counted by address only: the first characters of every JWT
are the same, and one caller with bad ones would limit all the others.

Pure: the clock comes in. What was presented is kept as a keyed hash of its beginning, under a key that no one has.
"""

import math
import secrets
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from tidegate_dataplane.authenticate.rate import Rate
from tidegate_dataplane.engine import denials
from tidegate_dataplane.engine.admit import address_scope
from tidegate_dataplane.engine.decision import Denial

PREFIX_CHARACTERS: Final = 8
CAPACITY: Final = 100_000
FAILURE_CODES: Final = frozenset({"invalid_api_key", "invalid_token", "invalid_client_certificate"})
LIMITED_CODE: Final = "too_many_failed_authentications"
LIMITED_REASON: Final = "limited"
# More than the answer's code tells, for the gateway's operator.
_REASONS: Final = {
    denials.UNKNOWN_KEY: "unknown_key",
    denials.EXPIRED_KEY: "expired_key",
    denials.EARLY_KEY: "early_key",
    denials.SEVERAL_KEYS: "several_keys",
}


class FailureLimiter:
    """Token buckets of failures, at most `capacity` for addresses and as many for beginnings; the least recently
    used are forgotten, which forgives them. Times in seconds, of one clock. `on_failure` is told the reason of each
    that is answered, "limited" when it must wait."""

    def __init__(
        self,
        per_address: Rate,
        per_prefix: Rate,
        *,
        capacity: int = CAPACITY,
        on_failure: Callable[[str], object] | None = None,
    ) -> None:
        self._addresses = _Buckets(per_address, capacity)
        self._prefixes = _Buckets(per_prefix, capacity)
        self._on_failure = on_failure
        self._key = secrets.token_bytes(32)

    def limited(self, address: str, presented: tuple[str, ...], now: float) -> float | None:
        """How long a caller whose authentication failed must wait, in seconds; None while it may fail once more."""
        waits = [self._addresses.wait(address_scope(address).encode(), now)]
        waits += [self._prefixes.wait(prefix, now) for prefix in self._prefixes_of(presented)]
        longest = max(waits)
        return longest if longest > 0 else None

    def address_limited(self, address: str, now: float) -> float | None:
        """As `limited`, of the address alone. Ask before anything expensive, such as verifying an unknown token."""
        wait = self._addresses.wait(address_scope(address).encode(), now)
        return wait if wait > 0 else None

    def failed(self, address: str, presented: tuple[str, ...], now: float) -> None:
        """Count a failure. One that was answered with a wait does not count again."""
        self._addresses.take(address_scope(address).encode(), now)
        for prefix in self._prefixes_of(presented):
            self._prefixes.take(prefix, now)

    def answer(self, denial: Denial, address: str, presented: tuple[str, ...], now: float) -> Denial:
        """What a caller is told: `denial`, and it is counted if a credential failed; or to wait."""
        if denial.code not in FAILURE_CODES or not presented:
            return denial
        wait = self.limited(address, presented, now)
        if self._on_failure is not None:
            self._on_failure(LIMITED_REASON if wait is not None else _REASONS.get(denial, denial.code))
        if wait is not None:
            return too_many_failures(wait)
        self.failed(address, presented, now)
        return denial

    @property
    def entries(self) -> int:
        """Buckets kept."""
        return len(self._addresses) + len(self._prefixes)

    def _prefixes_of(self, presented: tuple[str, ...]) -> set[bytes]:
        return {self._digest(each[:PREFIX_CHARACTERS]) for each in presented if each and not _is_token(each)}

    def _digest(self, text: str) -> bytes:
        return blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16).digest()


def too_many_failures(wait: float) -> Denial:
    """The answer instead of 401; `wait` in seconds."""
    seconds = max(1, math.ceil(wait))
    message = (
        "Too many authentications from here or with keys like this one have failed:"
        f" correct the credential, then retry in {seconds} s."
    )
    return Denial(429, LIMITED_CODE, "rate_limit_error", message, retry_after=seconds)


def _is_token(presented: str) -> bool:
    """The form of a JWT in compact serialisation (RFC 7519, section 3); JSON's opening brace gives it its beginning."""
    return presented.startswith("ey") and presented.count(".") >= 2


class _Buckets:
    """What is left in each bucket, and when that was so; a bucket that is not here is full."""

    def __init__(self, rate: Rate, capacity: int) -> None:
        self._size = float(rate.count)
        self._per_second = rate.count / rate.seconds
        self._capacity = capacity
        self._left: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def wait(self, key: bytes, now: float) -> float:
        """Seconds until one can be taken; 0 when one can."""
        left = self._level(key, now)
        return 0.0 if left >= 1.0 else (1.0 - left) / self._per_second

    def take(self, key: bytes, now: float) -> None:
        self._left[key] = (max(0.0, self._level(key, now) - 1.0), now)
        self._left.move_to_end(key)
        if len(self._left) > self._capacity:
            self._left.popitem(last=False)

    def _level(self, key: bytes, now: float) -> float:
        found = self._left.get(key)
        if found is None:
            return self._size
        left, at = found
        # A clock that was set back gives nothing and takes nothing.
        return min(self._size, left + max(0.0, now - at) * self._per_second)

    def __len__(self) -> int:
        return len(self._left)
