"""Who calls, through a whole data plane: what stays in memory, and tokens with two spellings."""

import gc
from base64 import urlsafe_b64decode
from hashlib import sha256
from typing import Any

import pytest

from dataplane.factory import bundle_of, policy, route, shard, source
from dataplane.planes import running
from dataplane.raw_http import RawAnswer, chat, connect, read_answer, request
from oidc.signing import ISSUER, Signer, encode, jwt_provider, key_set
from tidegate_dataplane.authenticate.authenticator import Authenticator
from tidegate_dataplane.authenticate.jose import other_spelling
from tidegate_dataplane.authenticate.keys import parse_key_set
from tidegate_dataplane.authenticate.rate import Rate
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.reload import Outcome
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.entries import (
    SCHEMA_VERSION,
    AuthenticationEntry,
    ClaimMapping,
    ListKind,
    ListPart,
    ListRef,
    Method,
    PolicyEntry,
    Shard,
    TargetKind,
    TargetRef,
    TokenKind,
    TokenProviderEntry,
)
from tidegate_dataplane.snapshot.records import join_digests

SIGNER = Signer.create("ES256")
CURVES = {"ES256": 32, "ES384": 48, "ES512": 66}
LEAKS = ListRef(ListKind.KEY_HASHES, "leaks")


def snapshot(*, revision: int = 1, leaked: tuple[str, ...] = (), timeout_ms: int = 5_000) -> Bundle:
    """Whoever has a token of SIGNER may call, unless it stands on the list."""
    provider = jwt_provider(jwks=key_set(SIGNER), mapping=ClaimMapping(name="token.subject"))
    section = AuthenticationEntry(methods=(Method.JWT,), providers=(provider,), leaked=(LEAKS,))
    login = PolicyEntry(
        source=source("login"), target_refs=(TargetRef(kind=TargetKind.NAMESPACE),), authentication=section
    )
    records = join_digests(sha256(token.encode()).digest()[:16] for token in leaked)
    lists = Shard(
        schema_version=SCHEMA_VERSION,
        lists=(ListPart("team-a", "leaks", False, ListKind.KEY_HASHES, "", records),) if leaked else (),
    )
    routes = [route(policies=("login",), timeout_ms=timeout_ms)]
    return bundle_of(shard(routes=routes, policies=[login]), lists, revision=revision)


async def ask(plane: DataPlane, token: str) -> RawAnswer:
    reader, writer = await connect(plane)
    writer.write(request(chat(), key=token))
    try:
        return await read_answer(reader)
    finally:
        writer.close()


def respelled(token: str) -> str:
    """What anybody can make of a token without its key: s becomes n - s (SEC 1, section 4.1.4)."""
    signed, _, text = token.rpartition(".")
    signature = urlsafe_b64decode(text + "==")
    half = len(signature) // 2
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    s = order - int.from_bytes(signature[half:], "big")
    return f"{signed}.{encode(signature[:half] + s.to_bytes(half, 'big'))}"


async def test_a_leaked_token_stays_out_in_its_other_spelling() -> None:
    leaked, fresh = SIGNER.token(jti="1"), SIGNER.token(jti="2")
    async with running(snapshot(leaked=(leaked,))) as plane:
        assert (await ask(plane, fresh)).status == 200
        assert (await ask(plane, respelled(fresh))).status == 200, "ECDSA takes both: that is why it matters"
        assert (await ask(plane, leaked)).status == 401
        assert (await ask(plane, respelled(leaked))).status == 401


@pytest.mark.parametrize("algorithm", CURVES)
def test_the_other_spelling_verifies_too(algorithm: str) -> None:
    signer = Signer.create(algorithm)
    (key,) = parse_key_set(key_set(signer).encode()).keys
    token = signer.token()
    other = other_spelling(token)
    assert other != token
    assert other_spelling(other) == token
    for text in (token, other):
        signed, _, signature = text.rpartition(".")
        assert key.verifiers[algorithm](signed.encode(), urlsafe_b64decode(signature + "=="))


@pytest.mark.parametrize(
    "text", ["", "opaque", "a.b.c", "a.b", "a.b." + "A" * 86, "a.b." + "_" * 86, "é.b.c", "a.b.=="]
)
def test_what_has_no_other_spelling(text: str) -> None:
    assert other_spelling(text) == ""


def runtimes() -> int:
    gc.collect()
    return sum(type(each) is Runtime for each in gc.get_objects())


async def test_tokens_that_are_not_seen_again_keep_no_former_runtime_alive() -> None:
    async with running(snapshot()) as plane:
        assert (await ask(plane, SIGNER.token(sub="u0"))).status == 200
        before = runtimes()
        for number in range(2, 8):
            outcome = await plane.reloader.offer(snapshot(revision=number, timeout_ms=5_000 + number))
            assert outcome is Outcome.LOADED
            assert (await ask(plane, SIGNER.token(sub=f"u{number}"))).status == 200
        assert runtimes() <= before + 1


async def test_large_tokens_are_remembered_up_to_a_bound(monkeypatch: Any) -> None:
    monkeypatch.setattr("tidegate_dataplane.authenticate.authenticator._MAX_BYTES", 40_000)
    kept: list[int] = []
    found = Authenticator._holder

    def counted(self: Authenticator, *asked: Any) -> Any:
        identity = found(self, *asked)
        kept.append(len(self._identities))
        return identity

    monkeypatch.setattr(Authenticator, "_holder", counted)
    async with running(snapshot()) as plane:
        for number in range(12):
            token = SIGNER.token(sub=f"u{number}", iss=ISSUER, padding="x" * 9_000)
            assert (await ask(plane, token)).status == 200
    assert max(kept) <= 4


async def test_guesses_are_limited_although_another_route_asks_a_server() -> None:
    """A provider of introspection anywhere must not make guessing at API keys free."""
    server = TokenProviderEntry(
        name="server",
        kind=TokenKind.INTROSPECTION,
        endpoint="http://127.0.0.1:9/introspect",
        client_id="gateway",
        credential="secret",
    )
    elsewhere = PolicyEntry(
        source=source("elsewhere"),
        target_refs=(TargetRef(kind=TargetKind.NAMESPACE),),
        authentication=AuthenticationEntry(methods=(Method.INTROSPECTION,), providers=(server,)),
    )
    routes = [route(), route("other", models=("other",), policies=("elsewhere",))]
    bundle = bundle_of(shard(routes=routes, policies=[policy(), elsewhere]))
    async with running(bundle, failures_per_address=Rate.parse("3/1h")) as plane:
        answers = [(await ask(plane, f"{number}-is-a-guess")).status for number in range(5)]
    assert answers == [401, 401, 401, 429, 429]
