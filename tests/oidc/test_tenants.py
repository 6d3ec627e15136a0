"""Tenants with identity providers of their own: what one declares must not decide about the callers of another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from dataplane.factory import REPLY, bundle_of, policy, route, shard, source
from dataplane.planes import running
from dataplane.raw_http import RawAnswer, chat, exchange, request
from dataplane.upstream import Asked, Upstream, answer, upstream
from oidc.signing import SUBJECT, Signer, jwt_provider, key_set, signers
from tidegate_dataplane.authenticate.keysets import WAIT_SECONDS
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.entries import (
    AuthenticationEntry,
    ConsumerEntry,
    Method,
    PolicyEntry,
    Source,
    TokenKind,
    TokenMatchEntry,
    TokenProviderEntry,
)

GOOD = signers()["ES256"]
OURS, THEIRS = "ours", "theirs"


def introspecting(server: Upstream) -> TokenProviderEntry:
    return TokenProviderEntry(
        name="server",
        kind=TokenKind.INTROSPECTION,
        endpoint=f"http://127.0.0.1:{server.port}/introspect",
        client_id="gateway",
    )


def section(name: str, provider: TokenProviderEntry) -> PolicyEntry:
    method = Method.JWT if provider.kind is TokenKind.JWT else Method.INTROSPECTION
    authentication = AuthenticationEntry(methods=(method,), providers=(provider,))
    changed = replace(policy(name), authentication=authentication)
    return changed if name == OURS else replace(changed, source=Source(namespace="team-b", name=name, generation=1))


def tenants(ours: TokenProviderEntry, theirs: TokenProviderEntry) -> Bundle:
    """Our route takes the word of `ours`; a policy of another tenant, attached elsewhere, names `theirs`."""
    issuer = ours.issuer
    caller = ConsumerEntry(
        source=source("app"), tokens=(TokenMatchEntry(name="app", issuer=issuer, match={"sub": SUBJECT}),)
    )
    return bundle_of(
        shard(
            routes=[route(policies=(OURS,))],
            policies=[section(OURS, ours), section(THEIRS, theirs)],
            consumers=[caller],
        )
    )


async def ask(plane: DataPlane, token: str) -> RawAnswer:
    return await exchange(plane, request(chat(), key=token))


def active() -> dict[str, object]:
    return {"active": True, "sub": SUBJECT, "exp": int(time.time()) + 600}


@pytest.mark.parametrize(
    "theirs",
    [
        lambda: jwt_provider(jwks=key_set(Signer.create("ES256", GOOD.key_id))),
        lambda: jwt_provider(jwks=key_set(GOOD)),
        lambda: jwt_provider(jwks=key_set(GOOD), audiences=("other",)),
        lambda: jwt_provider(jwks="nonsense"),
        lambda: jwt_provider(jwks_uri="http://127.0.0.1:1/keys"),
    ],
    ids=["other keys", "good keys", "other audience", "no keys", "unreachable"],
)
async def test_who_else_claims_an_issuer_does_not_matter_to_a_route_that_asks_a_server(
    theirs: Callable[[], TokenProviderEntry],
) -> None:
    async with upstream(answer(active())) as server, running(tenants(introspecting(server), theirs())) as plane:
        for _ in range(2):
            said = await ask(plane, GOOD.token())
            assert (said.status, REPLY in said.text) == (200, True), said.text


async def test_a_token_is_shown_to_the_servers_of_its_route_alone() -> None:
    async with upstream(answer(active())) as server, upstream(answer(active())) as stranger:
        theirs = replace(introspecting(stranger), name="stranger")
        async with running(tenants(introspecting(server), theirs)) as plane:
            for token in ("an-opaque-token", GOOD.token(iss="https://nobody"), GOOD.token()):
                assert (await ask(plane, token)).status == 200
            assert (len(server.asked), len(stranger.asked)) == (3, 0)
            # Of a route that does not exist there is nobody to ask.
            refused = await exchange(plane, request(chat(model="unknown"), key="another-opaque-token"))
            assert refused.status == 401
            assert (len(server.asked), len(stranger.asked)) == (3, 0)


async def test_a_provider_of_others_that_hangs_holds_nobody_up() -> None:
    async def black_hole(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with upstream(black_hole) as hole:
        theirs = jwt_provider(jwks_uri=f"http://127.0.0.1:{hole.port}/keys")
        async with running(tenants(jwt_provider(jwks=key_set(GOOD)), theirs)) as plane:
            started = time.perf_counter()
            assert (await ask(plane, GOOD.token())).status == 200
            refused = await ask(plane, GOOD.token(exp=1))
            assert (refused.status, refused.json()["error"]["code"]) == (401, "invalid_token")
            assert time.perf_counter() - started < WAIT_SECONDS / 2


async def test_a_route_waits_for_its_own_provider_although_others_vouch_already() -> None:
    async def slowly(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        await answer(key_set(GOOD).encode())(asked, writer)

    async with upstream(slowly) as server:
        ours = jwt_provider(jwks_uri=f"http://127.0.0.1:{server.port}/keys")
        async with running(tenants(ours, jwt_provider(jwks=key_set(GOOD)))) as plane:
            said = await ask(plane, GOOD.token())
            assert said.status == 200, said.text


async def test_what_others_vouch_for_does_not_open_a_route() -> None:
    """Also when our own provider is away: then it is not the caller's fault, and still not let in."""
    theirs = jwt_provider(jwks=key_set(GOOD))
    async with running(tenants(jwt_provider(jwks=key_set(signers()["RS256"])), theirs)) as plane:
        assert (await ask(plane, GOOD.token())).status == 401
    async with running(tenants(jwt_provider(jwks_uri="http://127.0.0.1:1/keys"), theirs)) as plane:
        said = await ask(plane, GOOD.token())
        assert (said.status, said.json()["error"]["code"]) == (503, "identity_provider_unavailable")
