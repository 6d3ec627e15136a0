"""Opaque tokens, with an authorization server that answers as RFC 7662 says, slowly, wrongly or not at all."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import pytest

from dataplane.upstream import Asked, Script, Upstream, answer, upstream
from oidc.signing import Clock, jwt_provider, signers
from tidegate_dataplane.authenticate.introspection import ASK_SECONDS, INACTIVE_SECONDS, MAX_AT_ONCE
from tidegate_dataplane.authenticate.refusal import Reason, Refusal
from tidegate_dataplane.authenticate.tokens import Tokens
from tidegate_dataplane.authenticate.verified import Verified
from tidegate_dataplane.credentials import Credentials
from tidegate_dataplane.snapshot.entries import TokenKind, TokenProviderEntry
from tidegate_dataplane.upstream import UpstreamClient

KEY = "team-a/chat/server"
OTHER_KEY = "team-b/chat/server"
SECRET = "p%s s:w/ord"
OPAQUE = "2YotnFZFEjr1zCsicMWpAA"


def active(**claims: Any) -> dict[str, Any]:
    """The answer about a good token; None takes a member away."""
    usual = {"active": True, "sub": "app-42", "aud": "tidegate", "exp": int(time.time()) + 86_400}
    return {name: value for name, value in {**usual, **claims}.items() if value is not None}


def asked_at(server: Upstream, **changes: Any) -> TokenProviderEntry:
    usual = {
        "name": "server",
        "kind": TokenKind.INTROSPECTION,
        "endpoint": f"http://127.0.0.1:{server.port}/introspect",
        "client_id": "gate way",
        "credential": "secret",
        "audiences": ("tidegate",),
        "cache_ms": 30_000,
    }
    return TokenProviderEntry(**{**usual, **changes})


@asynccontextmanager
async def verifying(providers: Mapping[str, TokenProviderEntry], clock: Clock | None = None) -> AsyncIterator[Tokens]:
    client, credentials = UpstreamClient(), Credentials()
    credentials.replace("memory", {"secret": SECRET.encode()})
    tokens = Tokens(client, credentials, clock=clock or Clock())
    tokens.follow(providers)
    try:
        yield tokens
    finally:
        await tokens.aclose()
        await client.aclose()


async def outcome(tokens: Tokens, token: str = OPAQUE, ahead: float = 0.0) -> Reason | None:
    found = await tokens.verify(token, time.time() + ahead)
    return found.reason if isinstance(found, Refusal) else None


async def black_hole(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def test_the_server_is_asked_as_the_rfcs_say() -> None:
    async with upstream(answer(active())) as server, verifying({KEY: asked_at(server)}) as tokens:
        found = await tokens.verify(OPAQUE, time.time())
        assert isinstance(found, Verified)
        assert (found.kind, found.subject, found.accepted) == (TokenKind.INTROSPECTION, "app-42", frozenset({KEY}))
        asked = server.asked[0]
        assert asked.target == "/introspect"
        assert parse_qs(asked.body.decode()) == {"token": [OPAQUE], "token_type_hint": ["access_token"]}
        assert asked.header("content-type") == "application/x-www-form-urlencoded"
        scheme, _, pair = (asked.header("authorization") or "").partition(" ")
        # RFC 6749, section 2.3.1: form-encoded first, then joined.
        assert (scheme, base64.b64decode(pair)) == ("Basic", b"gate+way:p%25s+s%3Aw%2Ford")


async def test_without_a_client_id_the_secret_is_a_bearer_token() -> None:
    async with upstream(answer(active())) as server, verifying({KEY: asked_at(server, client_id="")}) as tokens:
        assert await outcome(tokens) is None
        assert server.asked[0].header("authorization") == f"Bearer {SECRET}"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (active(aud=["x", "tidegate"]), None),
        (active(exp=None), None),
        (active(sub=None, username="anna"), None),
        (active(sub=None, client_id="app"), None),
        (active(iss="https://as.example.com"), None),
        ({"active": False}, Reason.INACTIVE),
        (active(active=False), Reason.INACTIVE),
        (active(aud="other"), Reason.WRONG_AUDIENCE),
        (active(aud=None), Reason.WRONG_AUDIENCE),
        (active(exp=int(time.time()) - 600), Reason.EXPIRED),
        (active(exp="soon"), Reason.BAD_CLAIM),
        (active(nbf=int(time.time()) + 86_400), Reason.NOT_YET_VALID),
        (active(iat=int(time.time()) + 86_400), Reason.ISSUED_IN_THE_FUTURE),
        (active(sub=None), Reason.NO_SUBJECT),
        (active(iss="https://evil.example.com"), Reason.BAD_CLAIM),
        (active(active="true"), Reason.PROVIDER_UNAVAILABLE),
        (active(active=1), Reason.PROVIDER_UNAVAILABLE),
        ({}, Reason.PROVIDER_UNAVAILABLE),
        ([], Reason.PROVIDER_UNAVAILABLE),
        (b"<html>", Reason.PROVIDER_UNAVAILABLE),
        (b'{"active":false,"active":true,"sub":"a","aud":"tidegate"}', Reason.PROVIDER_UNAVAILABLE),
        (b"[" * 60_000, Reason.PROVIDER_UNAVAILABLE),
        (b"x" * 100_000, Reason.PROVIDER_UNAVAILABLE),
    ],
)
async def test_answers(body: Any, reason: Reason | None) -> None:
    issuer = "https://as.example.com"
    async with upstream(answer(body)) as server, verifying({KEY: asked_at(server, issuer=issuer)}) as tokens:
        assert await outcome(tokens) is reason


@pytest.mark.parametrize("status", [201, 301, 400, 401, 403, 404, 500, 503])
async def test_any_other_status_lets_nobody_in(status: int) -> None:
    async with upstream(answer(active(), status=status)) as server, verifying({KEY: asked_at(server)}) as tokens:
        found = await tokens.verify(OPAQUE, time.time())
        assert isinstance(found, Refusal)
        assert (found.reason, found.retry_after > 0) == (Reason.PROVIDER_UNAVAILABLE, True)
        assert SECRET not in repr(tokens.introspector.states)


async def test_a_missing_client_secret_asks_nobody() -> None:
    async with upstream(answer(active())) as server:
        async with verifying({KEY: asked_at(server, credential="not-there")}) as tokens:
            assert await outcome(tokens) is Reason.PROVIDER_UNAVAILABLE
        assert server.asked == []


async def test_an_answer_is_kept_as_long_as_configured_and_the_token_lives() -> None:
    clock = Clock()
    body = active(exp=int(time.time()) + 10)
    async with upstream(answer(body)) as server, verifying({KEY: asked_at(server)}, clock) as tokens:
        assert [await outcome(tokens) for _ in range(3)] == [None] * 3
        assert len(server.asked) == 1
        clock.ahead = 29
        assert await outcome(tokens, ahead=29) is None
        assert await outcome(tokens, ahead=41) is Reason.EXPIRED
        assert len(server.asked) == 1
        clock.ahead = 31
        assert await outcome(tokens) is None
        assert len(server.asked) == 2


async def test_a_revoked_token_stops_working_when_the_answer_is_stale() -> None:
    clock, says = Clock(), [active(), {"active": False}]

    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await answer(says.pop(0))(asked, writer)

    async with upstream(script) as server, verifying({KEY: asked_at(server, cache_ms=1_000)}, clock) as tokens:
        assert await outcome(tokens) is None
        clock.ahead = 2
        assert await outcome(tokens) is Reason.INACTIVE


async def test_an_inactive_token_is_asked_about_again_soon() -> None:
    clock = Clock()
    async with upstream(answer({"active": False})) as server, verifying({KEY: asked_at(server)}, clock) as tokens:
        assert [await outcome(tokens) for _ in range(3)] == [Reason.INACTIVE] * 3
        assert len(server.asked) == 1
        clock.ahead = INACTIVE_SECONDS + 0.1
        assert await outcome(tokens) is Reason.INACTIVE
        assert len(server.asked) == 2


async def test_many_callers_with_one_token_ask_once() -> None:
    async def slowly(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        await answer(active())(asked, writer)

    async with upstream(slowly) as server, verifying({KEY: asked_at(server)}) as tokens:
        gone = asyncio.create_task(tokens.verify(OPAQUE, time.time()))
        others = [asyncio.create_task(outcome(tokens)) for _ in range(50)]
        await asyncio.sleep(0.01)
        gone.cancel()
        assert await asyncio.gather(*others) == [None] * 50
        assert len(server.asked) == 1


async def test_few_are_asked_about_at_once() -> None:
    at_once = peak = 0

    async def slowly(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal at_once, peak
        at_once += 1
        peak = max(peak, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1
        await answer(active())(asked, writer)

    async with upstream(slowly) as server, verifying({KEY: asked_at(server)}) as tokens:
        found = await asyncio.gather(*(outcome(tokens, f"token-{number}") for number in range(3 * MAX_AT_ONCE)))
        assert set(found) == {None}
        assert peak <= MAX_AT_ONCE


async def test_a_black_hole_costs_a_moment_once_and_lets_nobody_in() -> None:
    async with upstream(black_hole) as server, verifying({KEY: asked_at(server)}) as tokens:
        started = time.perf_counter()
        found = await asyncio.gather(*(outcome(tokens, f"token-{number}") for number in range(20)))
        assert set(found) == {Reason.PROVIDER_UNAVAILABLE}
        assert time.perf_counter() - started < ASK_SECONDS + 1
        started = time.perf_counter()
        assert await outcome(tokens, "one-more") is Reason.PROVIDER_UNAVAILABLE
        assert time.perf_counter() - started < ASK_SECONDS / 10
        assert tokens.introspector.states[0].failures == 20


async def test_a_server_that_comes_back_is_asked_again() -> None:
    clock = Clock()
    scripts: list[Script] = [answer({}, status=503), answer(active())]

    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await scripts.pop(0)(asked, writer)

    async with upstream(script) as server, verifying({KEY: asked_at(server)}, clock) as tokens:
        assert await outcome(tokens) is Reason.PROVIDER_UNAVAILABLE
        clock.ahead += 1
        assert await outcome(tokens) is None
        assert tokens.introspector.states[0].error == ""


async def test_only_the_endpoints_in_question_learn_the_token() -> None:
    async with upstream(answer(active())) as server, upstream(answer(active())) as stranger:
        providers = {KEY: asked_at(server), OTHER_KEY: asked_at(stranger)}
        async with verifying(providers) as tokens:
            found = await tokens.verify(OPAQUE, time.time(), {KEY})
            assert isinstance(found, Verified)
            assert found.accepted == frozenset({KEY})
            assert stranger.asked == []
            refused = await tokens.verify(OPAQUE, time.time(), frozenset())
            assert isinstance(refused, Refusal)
            # What one endpoint said counts for its own policies only.
            other = await tokens.verify(OPAQUE, time.time(), {OTHER_KEY})
            assert isinstance(other, Verified)
            assert other.accepted == frozenset({OTHER_KEY})
            assert (len(server.asked), len(stranger.asked)) == (1, 1)


async def test_policies_with_the_same_endpoint_share_an_answer_but_not_their_demands() -> None:
    async with upstream(answer(active())) as server:
        providers = {KEY: asked_at(server), OTHER_KEY: asked_at(server, audiences=("other",))}
        async with verifying(providers) as tokens:
            found = await tokens.verify(OPAQUE, time.time())
            assert isinstance(found, Verified)
            assert found.accepted == frozenset({KEY})
            assert len(server.asked) == 1


async def test_a_signed_token_is_asked_about_only_when_nobody_claims_its_issuer() -> None:
    token = signers()["ES256"].token()
    async with upstream(answer(active())) as server:
        async with verifying({KEY: asked_at(server)}) as tokens:
            assert await outcome(tokens, token) is None
        async with verifying({KEY: asked_at(server), OTHER_KEY: jwt_provider(jwks='{"keys":[]}')}) as tokens:
            assert await outcome(tokens, token) is Reason.PROVIDER_UNAVAILABLE
        assert len(server.asked) == 1


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "a\x00b", "é", "x" * 20_000, "tdg_an-api-key-of-ours"])
async def test_what_is_no_token_is_not_asked_about(token: str) -> None:
    async with upstream(answer(active())) as server, verifying({KEY: asked_at(server)}) as tokens:
        assert await outcome(tokens, token) is Reason.MALFORMED
        assert server.asked == []
