"""Bearer tokens: which of the providers in use take one, remembered for a bounded time.

A result is kept for MAX_SECONDS at most, and no longer than the token, the keys and the configuration stay as they
were when it was made: any change of a key set or of the providers forgets all results at once. So a key that its
issuer takes back stops working with the next fetch of the keys.
"""

import asyncio
import os
import time
from collections.abc import Callable, Collection, Mapping
from hashlib import blake2b
from math import inf
from typing import Final

from msgspec import Struct

from tidegate_dataplane.apikey import PREFIX
from tidegate_dataplane.authenticate import refusal
from tidegate_dataplane.authenticate.checks import Check, IssuerChecks, checks_of, sources_of
from tidegate_dataplane.authenticate.fetching import KeySource
from tidegate_dataplane.authenticate.introspection import Introspector
from tidegate_dataplane.authenticate.jose import MAX_TOKEN_BYTES, Token, parse
from tidegate_dataplane.authenticate.keys import ALGORITHMS, KeySet
from tidegate_dataplane.authenticate.keysets import FollowedKeys, KeySets
from tidegate_dataplane.authenticate.recent import Recent
from tidegate_dataplane.authenticate.refusal import BY_KEYS, Reason, Refusal, to_tell
from tidegate_dataplane.authenticate.verification import (
    check_holder,
    check_signature,
    check_times,
    holds_until,
    subject_of,
)
from tidegate_dataplane.authenticate.verified import Verified
from tidegate_dataplane.credentials import Credentials
from tidegate_dataplane.snapshot.entries import TokenKind, TokenProviderEntry
from tidegate_dataplane.upstream import UpstreamClient

MAX_SECONDS: Final = 60.0
MAX_RESULTS: Final = 16_384
MAX_BYTES: Final = 16 * 1024 * 1024
"""Of the tokens whose results are kept: a thousand bytes each are usual, sixteen thousand are possible."""
REFUSED_SECONDS: Final = 5.0
MAX_REFUSED: Final = 4_096

# Known after the costly part, and not to be mended by waiting a few seconds.
_SETTLED: Final = frozenset(
    {
        Reason.BAD_SIGNATURE,
        Reason.BAD_CLAIM,
        Reason.EXPIRED,
        Reason.WRONG_AUDIENCE,
        Reason.WRONG_PARTY,
        Reason.NO_SUBJECT,
    }
)

# What has no signature that anybody here could verify.
_NOT_SIGNED: Final = frozenset({Reason.MALFORMED, Reason.WRONG_ISSUER})

Clock = Callable[[], float]


class _Result(Struct, frozen=True, gc=False):
    verified: Verified
    until: float
    weight: int


class _Refused(Struct, frozen=True, gc=False):
    refusal: Refusal
    until: float


class Tokens:
    """Verifies the tokens of all providers in use. Belongs to one event loop.

    `clock` is monotonic, in seconds; it measures the age of keys and answers.
    """

    def __init__(self, client: UpstreamClient, credentials: Credentials, *, clock: Clock = time.monotonic) -> None:
        self.key_sets = KeySets(client, on_change=self.forget, clock=clock)
        self.introspector = Introspector(client, credentials, clock=clock)
        self._providers: Mapping[str, TokenProviderEntry] = {}
        self._by_issuer: Mapping[str, IssuerChecks] = {}
        # With a secret of this process, a digest tells nothing of its token.
        self._secret = os.urandom(32)
        self._results: Recent[_Result] = Recent(MAX_RESULTS, weight=MAX_BYTES)
        self._refused: Recent[_Refused] = Recent(MAX_REFUSED, weight=MAX_REFUSED)

    def follow(self, providers: Mapping[str, TokenProviderEntry]) -> None:
        """Use these from now on, by their keys ("namespace/policy/provider"). The same again costs nothing."""
        if providers == self._providers:
            return
        signed = {name: entry for name, entry in providers.items() if entry.kind is TokenKind.JWT}
        asked = {name: entry for name, entry in providers.items() if entry.kind is TokenKind.INTROSPECTION}
        self._by_issuer = checks_of(signed)
        self.key_sets.follow(sources_of(signed))
        self.introspector.follow(asked)
        self._providers = dict(providers)
        self.forget()

    def forget(self) -> None:
        """Verify every token anew, from now on."""
        self._results.clear()
        self._refused.clear()

    @property
    def remembered(self) -> int:
        """How many verified tokens are cached now."""
        return len(self._results)

    def cached(self, token: str, now: float) -> Verified | Refusal | None:
        """What keys said of a token a moment ago; None: call `verify`. `now`: seconds since the epoch."""
        return self._known(self._digest(token), now)

    async def verify(self, token: str, now: float, among: Collection[str] | None = None) -> Verified | Refusal:
        """Who vouches for `token` at `now` (seconds since the epoch), or why it is refused. Never raises.

        `among` are the keys of the providers that matter, those of a route: only their keys are waited for, only their
        servers are shown the token, and the refusal is theirs; a result may still be one that others alone vouch for.
        Empty: what is known now, without waiting. None: all matter, and servers are asked about a signed token only
        when nobody claims its issuer.
        """
        digest = self._digest(token)
        found = self._known(digest, now)
        if found is None or not _settles(found, among):
            found = await self._by_keys(token, digest, now, among)
        if isinstance(found, Verified):
            if _settles(found, among):
                return found
        elif among is None and found.reason not in _NOT_SIGNED:
            return found
        if not self.introspector.asks(among) or not _may_be_opaque(token):
            return found
        asked = self.introspector.cached(digest, now, among)
        if asked is None:
            asked = await self.introspector.ask(token, digest, now, among)
        return to_tell([found, asked]) if isinstance(found, Refusal) and isinstance(asked, Refusal) else asked

    async def aclose(self) -> None:
        """Stop following keys."""
        await self.key_sets.aclose()

    def _known(self, digest: bytes, now: float) -> Verified | Refusal | None:
        result = self._results.get(digest)
        # The lower bounds are for a clock that was set back.
        if result is not None and result.until - 2 * MAX_SECONDS < now < result.until:
            return result.verified
        refused = self._refused.get(digest)
        if refused is not None and refused.until - MAX_SECONDS < now < refused.until:
            return refused.refusal
        return None

    async def _by_keys(self, text: str, digest: bytes, now: float, among: Collection[str] | None) -> Verified | Refusal:
        token = parse(text)
        if isinstance(token, Refusal):
            return token
        signed: dict[bytes, bool] = {}
        found = self._judge(token, self._checks(token), now, signed)
        if isinstance(found, _Result) and _settles(found.verified, among):
            self._remember(digest, found, now)
            return found.verified
        if among is not None and not among:
            if not (isinstance(found, Refusal) and found.reason in BY_KEYS and self._incomplete(token)):
                self._remember(digest, found, now)
            return found if isinstance(found, Refusal) else found.verified
        mine = self._checks(token, among)
        theirs = self._judge(token, mine, now, signed) if among else found
        if isinstance(theirs, Refusal) and await self._fresher_keys(token, mine, theirs):
            found = self._judge(token, self._checks(token), now, signed)
            theirs = self._judge(token, self._checks(token, among), now, signed) if among else found
        self._remember(digest, found, now)
        if isinstance(theirs, Refusal) and (isinstance(found, Refusal) or theirs.retry_after):
            return theirs
        return found if isinstance(found, Refusal) else found.verified

    def _checks(self, token: Token, among: Collection[str] | None = None) -> tuple[Check, ...] | None:
        """Those of the providers in `among` that the token may pass; None when none of these claims its issuer."""
        issuer = self._by_issuer.get(token.issuer)
        if issuer is None or (among and issuer.names.isdisjoint(among)):
            return None
        checks = issuer.of(token.claims.get("aud"))
        return tuple(check for check in checks if not check.names.isdisjoint(among)) if among else checks

    def _incomplete(self, token: Token) -> bool:
        """Whether keys that are not here yet might verify the token."""
        followed = [self.key_sets.of(check.source) for check in self._checks(token) or () if check.fixed is None]
        return any(keys is not None and (keys.keys is None or _lacks_key(keys, token)) for keys in followed)

    def _judge(
        self, token: Token, checks: tuple[Check, ...] | None, now: float, signed: dict[bytes, bool]
    ) -> _Result | Refusal:
        """By the keys that are here. Each key verifies the signature once, whoever publishes it: `signed` remembers,
        by the fingerprint of each key, whether it signed the token."""
        if checks is None:
            return refusal.WRONG_ISSUER
        times: dict[float, tuple[Refusal | None, float]] = {}
        signatures: dict[int, Refusal | None] = {}  # by key set, all of which live longer than this
        held: list[Check] = []
        refusals = [refusal.WRONG_AUDIENCE] if not checks else []
        until = now + MAX_SECONDS
        for check in checks:
            keys, left = self._keys(check)
            if isinstance(keys, Refusal):
                refusals.append(keys)
                continue
            if token.algorithm not in check.algorithms:
                refusals.append(refusal.ALGORITHM_NOT_ALLOWED)
                continue
            if check.skew not in times:
                times[check.skew] = (
                    check_times(token.claims, now, check.skew),
                    holds_until(token.claims, check.skew, now),
                )
            outdated, moment = times[check.skew]
            if id(keys) not in signatures:
                signatures[id(keys)] = check_signature(token, ALGORITHMS, keys, signed)
            refused = signatures[id(keys)] or outdated or check_holder(token.claims, check.provider)
            until = min(until, moment, now + left)
            if refused is None:
                held.append(check)
            else:
                refusals.append(refused)
        if not held:
            return to_tell(refusals)
        accepted = held[0].names if len(held) == 1 else frozenset().union(*(check.names for check in held))
        subject = subject_of(token.claims)
        verified = Verified(TokenKind.JWT, token.issuer, subject, token.claims, accepted)
        return _Result(verified, until, len(token.signing_input))

    def _keys(self, check: Check) -> tuple[KeySet | Refusal, float]:
        """The keys, and for how many seconds they may still be used; or why there are none."""
        if check.fixed is not None:
            return (check.fixed, inf) if check.fixed.keys else (refusal.NO_USABLE_KEYS, 0.0)
        followed = self.key_sets.of(check.source)
        if followed is None or followed.keys is None:
            return refusal.unavailable(1.0 if followed is None else followed.retry_after), 0.0
        left = check.max_key_age - followed.age
        return (followed.keys, left) if left > 0 else (refusal.keys_too_old(followed.age), 0.0)

    async def _fresher_keys(self, token: Token, checks: tuple[Check, ...] | None, found: Refusal) -> bool:
        """Wait, within bounds, for keys that may verify the token after all. False: nothing was waited for."""
        if checks is None or found.reason not in BY_KEYS:
            return False
        sources = {check.source for check in checks if check.fixed is None and token.algorithm in check.algorithms}
        followed = filter(None, map(self.key_sets.of, sorted(sources, key=_order)))
        # Together: what a caller waits must not grow with the number of providers.
        return any(await asyncio.gather(*(_fresher(each, token, found) for each in followed)))

    def _remember(self, digest: bytes, found: _Result | Refusal, now: float) -> None:
        if isinstance(found, _Result):
            self._results.put(digest, found, found.weight)
        elif found.reason in _SETTLED:
            self._refused.put(digest, _Refused(found, now + REFUSED_SECONDS), 1)

    def _digest(self, token: str) -> bytes:
        return blake2b(token.encode("utf-8", "surrogatepass"), digest_size=16, key=self._secret).digest()


def _settles(found: Verified | Refusal, among: Collection[str] | None) -> bool:
    """Whether what is known says all there is to say by keys: a refusal that is remembered is everybody's."""
    return isinstance(found, Refusal) or not among or not found.accepted.isdisjoint(among)


async def _fresher(followed: FollowedKeys, token: Token, found: Refusal) -> bool:
    """The same for one source."""
    if followed.keys is None:
        return await followed.first() is not None
    if found.reason is Reason.KEYS_TOO_OLD:
        followed.ask()
        return False
    if not _lacks_key(followed, token):
        return False
    await followed.unknown_key()
    return True


def _order(source: KeySource) -> tuple[str, str]:
    return source.uri, source.issuer


def _lacks_key(followed: FollowedKeys, token: Token) -> bool:
    """Whether a key that verifies the token may have been published since. A token may name none at all."""
    keys = followed.keys
    return keys is not None and (not token.key_id or not keys.candidates(token.key_id, token.algorithm))


def _may_be_opaque(token: str) -> bool:
    """Whether a text may be shown to a server: an API key of our own form never is."""
    if token.startswith(PREFIX):
        return False
    return 0 < len(token) <= MAX_TOKEN_BYTES and token.isascii() and token.isprintable() and " " not in token
