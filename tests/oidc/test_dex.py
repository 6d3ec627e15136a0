"""Tokens of a real OpenID provider: accepted, and what rotation and outages of the provider do to them."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from oidc.dex import GATEWAY, OTHER, Dex
from oidc.signing import Clock, encode
from tidegate_dataplane.authenticate.keysets import UNKNOWN_KEY_SECONDS, WAIT_SECONDS
from tidegate_dataplane.authenticate.refusal import Reason, Refusal
from tidegate_dataplane.authenticate.tokens import MAX_SECONDS, Tokens
from tidegate_dataplane.authenticate.verified import Verified
from tidegate_dataplane.credentials import Credentials
from tidegate_dataplane.snapshot.entries import TokenKind, TokenProviderEntry
from tidegate_dataplane.upstream import UpstreamClient

KEY = "team-a/chat/dex"
DAY = 86_400.0


@pytest.fixture
def dex() -> Iterator[Dex]:
    with Dex() as running:
        yield running


def entry(dex: Dex, **changes: Any) -> TokenProviderEntry:
    usual = {
        "name": "dex",
        "kind": TokenKind.JWT,
        "issuer": dex.issuer,
        "audiences": (GATEWAY.name,),
        "ca_bundle": dex.ca_bundle,
        "clock_skew_ms": 5_000,
    }
    return TokenProviderEntry(**{**usual, **changes})


@asynccontextmanager
async def verifying(*providers: TokenProviderEntry, clock: Clock | None = None) -> AsyncIterator[Tokens]:
    """Tokens verified for `providers`, the first under KEY."""
    client, credentials = UpstreamClient(), Credentials()
    credentials.replace("memory", {"secret": GATEWAY.secret.encode()})
    tokens = Tokens(client, credentials, clock=clock or Clock())
    tokens.follow({f"{KEY}{number or ''}": each for number, each in enumerate(providers)})
    try:
        yield tokens
    finally:
        await tokens.aclose()
        await client.aclose()


async def outcome(tokens: Tokens, token: str, now: float | None = None) -> Reason | None:
    """None when the token is accepted."""
    found = await tokens.verify(token, time.time() if now is None else now)
    return found.reason if isinstance(found, Refusal) else None


async def test_a_token_of_dex_is_accepted(dex: Dex) -> None:
    async with verifying(entry(dex)) as tokens:
        found = await tokens.verify(dex.token(), time.time())
        assert isinstance(found, Verified), found
        assert (found.issuer, found.accepted) == (dex.issuer, frozenset({KEY}))
        assert found.claims["email"] == "kilgore@kilgore.trout"
        assert found.subject


async def test_a_token_for_somebody_else_is_not(dex: Dex) -> None:
    async with verifying(entry(dex)) as tokens:
        assert await outcome(tokens, dex.token(OTHER)) is Reason.WRONG_AUDIENCE


async def test_keys_from_a_secret_need_no_way_to_the_provider(dex: Dex) -> None:
    token, keys = dex.token(), dex.jwks()
    dex.stop()
    async with verifying(entry(dex, jwks=keys)) as tokens:
        assert await outcome(tokens, token) is None


async def test_after_a_rotation_old_and_new_tokens_are_accepted_at_once(dex: Dex) -> None:
    old = dex.token()
    async with verifying(entry(dex)) as tokens:
        assert await outcome(tokens, old) is None
        dex.rotate()
        new = dex.token()
        assert await outcome(tokens, new) is None
        assert await outcome(tokens, old) is None


async def test_unknown_keys_ask_the_provider_once_in_a_while(dex: Dex) -> None:
    clock = Clock()
    async with verifying(entry(dex), clock=clock) as tokens:
        assert await outcome(tokens, dex.token()) is None
        dex.rotate()
        assert await outcome(tokens, dex.token()) is None
        dex.rotate()
        newest = dex.token()
        assert await outcome(tokens, newest) is Reason.UNKNOWN_KEY
        clock.ahead += UNKNOWN_KEY_SECONDS
        assert await outcome(tokens, newest) is None


async def test_a_key_that_is_taken_back_stops_working(dex: Dex) -> None:
    stolen = dex.token()
    async with verifying(entry(dex)) as tokens:
        assert await outcome(tokens, stolen) is None
        dex.forget_keys()
        # A token of the new key has the keys fetched, as the periodic refresh would.
        assert await outcome(tokens, dex.token()) is None
        assert tokens.cached(stolen, time.time()) is None
        assert await outcome(tokens, stolen) is Reason.UNKNOWN_KEY


async def test_a_provider_that_is_away_does_not_matter_while_the_keys_are_fresh_enough(dex: Dex) -> None:
    clock = Clock()
    good = dex.token()
    stranger = unknown_key(good)
    async with verifying(entry(dex), clock=clock) as tokens:
        assert await outcome(tokens, good) is None
        before = await _slowest(tokens, good)
        dex.stop()
        clock.ahead += DAY - 120
        stopped = await _slowest_beside(tokens, good, stranger)
        dex.start()
        dex.pause()
        clock.ahead += UNKNOWN_KEY_SECONDS
        paused = await _slowest_beside(tokens, good, stranger)
        dex.resume()
    # Not one waited: a wait would be a hundred times as long as these bounds.
    assert max(stopped, paused) < max(5 * before, 0.02), (before, stopped, paused)


async def test_keys_beyond_their_age_are_refused_with_the_reason_and_come_back(dex: Dex) -> None:
    clock, token = Clock(), dex.token()
    async with verifying(entry(dex), clock=clock) as tokens:
        assert await outcome(tokens, token) is None
        dex.stop()
        clock.ahead += DAY + 1
        started = time.perf_counter()
        found = await tokens.verify(token, time.time() + MAX_SECONDS + 1)
        assert time.perf_counter() - started < WAIT_SECONDS
        assert isinstance(found, Refusal)
        assert found.reason is Reason.KEYS_TOO_OLD
        assert "have not been refreshed for 24h" in found.message
        assert found.retry_after > 0
        dex.start()
        clock.ahead += UNKNOWN_KEY_SECONDS
        await _until_accepted(tokens, token)


async def test_a_provider_that_was_never_there_is_not_the_callers_fault(dex: Dex) -> None:
    token = dex.token()
    dex.pause()
    async with verifying(entry(dex)) as tokens:
        started = time.perf_counter()
        found = await tokens.verify(token, time.time())
        seconds = time.perf_counter() - started
        assert isinstance(found, Refusal)
        assert (found.reason, found.retry_after > 0) == (Reason.PROVIDER_UNAVAILABLE, True)
        assert WAIT_SECONDS * 0.9 < seconds < WAIT_SECONDS + 1
        dex.resume()
        await _until_accepted(tokens, token)


async def test_dex_says_which_tokens_are_active(dex: Dex) -> None:
    asked = TokenProviderEntry(
        name="dex",
        kind=TokenKind.INTROSPECTION,
        endpoint=dex.introspection_endpoint,
        client_id=GATEWAY.name,
        credential="secret",
        audiences=(GATEWAY.name,),
        ca_bundle=dex.ca_bundle,
    )
    async with verifying(asked) as tokens:
        good = await tokens.verify(dex.token(), time.time())
        assert isinstance(good, Verified), good
        assert (good.kind, good.accepted) == (TokenKind.INTROSPECTION, frozenset({KEY}))
        assert await outcome(tokens, dex.token(OTHER)) is Reason.WRONG_AUDIENCE
        assert await outcome(tokens, "opaque-nonsense") is Reason.INACTIVE
        dex.stop()
        assert await outcome(tokens, "another") is Reason.PROVIDER_UNAVAILABLE


def unknown_key(token: str) -> str:
    """The same token, but it names a key that nobody publishes: verifying it has the provider asked."""
    _, payload, signature = token.split(".")
    return f"{encode({'alg': 'RS256', 'kid': 'nobody'})}.{payload}.{signature}"


async def _slowest(tokens: Tokens, token: str) -> float:
    """The 99th percentile of the seconds that verifying took, nothing being cached."""
    seconds = []
    for _ in range(300):
        tokens.forget()
        started = time.perf_counter()
        assert await outcome(tokens, token) is None
        seconds.append(time.perf_counter() - started)
        await asyncio.sleep(0)
    return statistics.quantiles(seconds, n=100)[98]


async def _slowest_beside(tokens: Tokens, token: str, stranger: str) -> float:
    """The same while the provider is being asked."""
    asking = asyncio.create_task(tokens.verify(stranger, time.time()))
    found = await _slowest(tokens, token)
    refused = await asking
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.UNKNOWN_KEY
    return found


async def _until_accepted(tokens: Tokens, token: str) -> None:
    async with asyncio.timeout(20):
        while await outcome(tokens, token) is not None:  # noqa: ASYNC110 - what changes is in another process
            await asyncio.sleep(0.05)
