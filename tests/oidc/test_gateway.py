"""Tokens of a real OpenID provider at a whole data plane: what callers and operators see as the provider comes and
goes."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from dataplane.factory import REPLY, bundle_of, policy, shard, source
from dataplane.planes import running
from dataplane.raw_http import RawAnswer, admin, chat, connect, exchange, read_answer, request
from oidc.dex import GATEWAY, Dex
from oidc.signing import encode
from tidegate_dataplane.authenticate.keysets import WAIT_SECONDS
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.entries import (
    AuthenticationEntry,
    ConsumerEntry,
    Method,
    TokenKind,
    TokenMatchEntry,
    TokenProviderEntry,
)

EMAIL = "kilgore@kilgore.trout"
MAX_KEY_AGE = 2.0
CALLS = 300


@pytest.fixture
def dex() -> Iterator[Dex]:
    with Dex() as running_dex:
        yield running_dex


def trusting(dex: Dex, **changes: Any) -> Bundle:
    """One route for tokens of Dex; who calls is known by the email address."""
    usual = {
        "name": "dex",
        "kind": TokenKind.JWT,
        "issuer": dex.issuer,
        "audiences": (GATEWAY.name,),
        "ca_bundle": dex.ca_bundle,
    }
    provider = TokenProviderEntry(**{**usual, **changes})
    method = Method.JWT if provider.kind is TokenKind.JWT else Method.INTROSPECTION
    authentication = AuthenticationEntry(methods=(method,), providers=(provider,))
    # Dex leaves user details of an introspected token in an object of their own; the subject is there always.
    match = {"email": EMAIL} if method is Method.JWT else {"client_id": GATEWAY.name}
    issuer = dex.issuer if method is Method.JWT else ""
    consumer = ConsumerEntry(
        source=source("kilgore"), tokens=(TokenMatchEntry(name="person", issuer=issuer, match=match),)
    )
    return bundle_of(shard(policies=[replace(policy(), authentication=authentication)], consumers=[consumer]))


@asynccontextmanager
async def gateway(dex: Dex, **changes: Any) -> AsyncIterator[DataPlane]:
    async with running(trusting(dex, **changes), credentials={"secret": GATEWAY.secret.encode()}) as plane:
        yield plane


async def ask(plane: DataPlane, token: str) -> RawAnswer:
    return await exchange(plane, request(chat(), key=token))


async def test_a_person_signs_in_at_dex_and_chats(dex: Dex) -> None:
    async with gateway(dex) as plane:
        answer = await ask(plane, dex.token())
        assert (answer.status, REPLY in answer.text) == (200, True), answer.text
        (told,) = (await admin(plane, "/-/status")).json()["identityProviders"]
        assert (told["name"], told["keys"], told["error"]) == (dex.issuer, 1, "")
        metrics = (await admin(plane, "/metrics")).text
        assert f'tidegate_jwks_age_seconds{{issuer="{dex.issuer}"}} 0.' in metrics


async def test_dex_is_asked_about_a_token_that_is_opaque_to_the_gateway(dex: Dex) -> None:
    changes: dict[str, Any] = {
        "kind": TokenKind.INTROSPECTION,
        "endpoint": dex.introspection_endpoint,
        "client_id": GATEWAY.name,
        "credential": "secret",
        "cache_ms": 0,
    }
    async with gateway(dex, **changes) as plane:
        token = dex.token()
        assert (await ask(plane, token)).status == 200
        dex.stop()
        answer = await ask(plane, token)
        assert (answer.status, answer.json()["error"]["code"]) == (503, "identity_provider_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        (told,) = (await admin(plane, "/-/status")).json()["identityProviders"]
        assert (told["kind"], told["failures"]) == ("Introspection", 1)
        assert GATEWAY.secret not in str(told)


async def test_a_provider_that_is_away_is_not_noticed_until_its_keys_are_too_old(dex: Dex) -> None:
    """Then new tokens are refused with the reason; nobody ever waits; and its return is noticed by itself."""
    async with gateway(dex, max_key_age_ms=int(MAX_KEY_AGE * 1000)) as plane:
        token = dex.token()
        assert (await ask(plane, token)).status == 200
        dex.stop()
        assert (await ask(plane, token)).status == 200
        started, slowest = time.monotonic(), 0.0
        async with asyncio.timeout(20):
            while True:
                before = time.perf_counter()
                answer = await ask(plane, token)
                slowest = max(slowest, time.perf_counter() - before)
                if answer.status != 200:
                    break
                await asyncio.sleep(0.01)
        assert time.monotonic() - started > MAX_KEY_AGE / 2
        assert (answer.status, answer.json()["error"]["code"]) == (503, "identity_provider_unavailable")
        assert "have not been refreshed for 2s" in answer.json()["error"]["message"]
        assert slowest < WAIT_SECONDS / 2
        dex.start()
        async with asyncio.timeout(40):
            while (await ask(plane, token)).status != 200:  # noqa: ASYNC110 - what changes is in another process
                await asyncio.sleep(0.05)


async def test_latency_is_the_same_while_the_provider_is_gone_or_hangs(dex: Dex) -> None:
    async with gateway(dex) as plane:
        token = dex.token()
        assert (await ask(plane, token)).status == 200
        healthy = await p99(plane, token)
        dex.stop()
        gone = await p99(plane, token)
        dex.start()
        dex.pause()
        # A token of an unknown key has the provider asked while the others are measured.
        stranger = asyncio.create_task(ask(plane, f"{encode({'alg': 'RS256', 'kid': 'new'})}.{token.split('.', 1)[1]}"))
        hanging = await p99(plane, token)
        refused = await stranger
        dex.resume()
    assert (refused.status, refused.json()["error"]["code"]) == (401, "invalid_token")
    # Waiting for the provider would take hundreds of times as long.
    assert max(gone, hanging) < max(3 * healthy, 0.05), (healthy, gone, hanging)
    print(f"\np99 of {CALLS} calls: healthy {healthy * 1e3:.2f} ms, gone {gone * 1e3:.2f}, hanging {hanging * 1e3:.2f}")


async def p99(plane: DataPlane, token: str) -> float:
    """Seconds, over one connection, the token verified anew each time."""
    reader, writer = await connect(plane)
    data = request(chat(), key=token)
    seconds = []
    for _ in range(CALLS):
        plane.tokens.forget()
        started = time.perf_counter()
        writer.write(data)
        assert (await read_answer(reader)).status == 200
        seconds.append(time.perf_counter() - started)
    writer.close()
    return statistics.quantiles(seconds, n=100)[98]
