"""Where keys come from: discovery and key sets over HTTP, what is refused of them, and when they are asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dataplane.upstream import Asked, Script, Upstream, answer, upstream
from dataplane.waiting import until
from oidc.signing import Clock, Signer, jwt_provider, key_set, signers
from tidegate_dataplane.authenticate import keysets
from tidegate_dataplane.authenticate.fetching import ProviderError, read_discovery
from tidegate_dataplane.authenticate.keysets import UNKNOWN_KEY_SECONDS, WAIT_SECONDS
from tidegate_dataplane.authenticate.refusal import Reason, Refusal
from tidegate_dataplane.authenticate.report import families, statuses
from tidegate_dataplane.authenticate.tokens import MAX_SECONDS, Tokens
from tidegate_dataplane.authenticate.verified import Verified
from tidegate_dataplane.credentials import Credentials
from tidegate_dataplane.snapshot.entries import TokenProviderEntry
from tidegate_dataplane.upstream import UpstreamClient

KEY = "team-a/chat/idp"
GOOD = signers()["ES256"]


class Provider:
    """Serves by path what `pages` says; `issuer` is where it listens."""

    def __init__(self) -> None:
        self.pages: dict[str, Script] = {}
        self.server: Upstream | None = None

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        await self.pages.get(asked.target, answer({}, status=404))(asked, writer)

    @property
    def issuer(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def asked(self) -> list[str]:
        assert self.server is not None
        return [asked.target for asked in self.server.asked]

    def publish(self, *keys: Signer) -> None:
        """Discovery and keys, as they should be."""
        self.discover("/.well-known/openid-configuration", self.issuer)
        self.pages["/keys"] = answer(key_set(*keys).encode())

    def discover(self, path: str, issuer: str, jwks_uri: str | None = None) -> None:
        self.pages[path] = answer({"issuer": issuer, "jwks_uri": jwks_uri or f"{self.issuer}/keys"})

    def token(self, signer: Signer = GOOD, **claims: Any) -> str:
        return signer.token(**{"iss": self.issuer, **claims})

    def entry(self, **changes: Any) -> TokenProviderEntry:
        return jwt_provider(**{"issuer": self.issuer, **changes})


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    made = Provider()
    async with upstream(made) as made.server:
        made.publish(GOOD)
        yield made


@asynccontextmanager
async def verifying(clock: Clock | None = None, **providers: TokenProviderEntry) -> AsyncIterator[Tokens]:
    client = UpstreamClient()
    tokens = Tokens(client, Credentials(), clock=clock or Clock())
    tokens.follow(providers)
    try:
        yield tokens
    finally:
        await tokens.aclose()
        await client.aclose()


async def outcome(tokens: Tokens, token: str, ahead: float = 0.0) -> Reason | None:
    found = await tokens.verify(token, time.time() + ahead)
    return found.reason if isinstance(found, Refusal) else None


async def test_keys_are_found_by_discovery(provider: Provider) -> None:
    async with verifying(one=provider.entry()) as tokens:
        assert await outcome(tokens, provider.token()) is None
    assert provider.asked == ["/.well-known/openid-configuration", "/keys"]


async def test_keys_are_found_by_the_metadata_of_oauth(provider: Provider) -> None:
    """RFC 8414, section 3: the well-known path stands before the path of the issuer."""
    issuer = f"{provider.issuer}/tenant"
    provider.discover("/.well-known/oauth-authorization-server/tenant", issuer)
    async with verifying(one=provider.entry(issuer=issuer)) as tokens:
        assert await outcome(tokens, provider.token(iss=issuer)) is None


async def test_an_address_of_keys_needs_no_discovery_and_may_have_a_query(provider: Provider) -> None:
    provider.pages["/keys?tenant=a"] = provider.pages["/keys"]
    async with verifying(one=provider.entry(jwks_uri=f"{provider.issuer}/keys?tenant=a")) as tokens:
        assert await outcome(tokens, provider.token()) is None
    assert provider.asked == ["/keys?tenant=a"]


@pytest.mark.parametrize(
    ("path", "page", "says"),
    [
        ("/.well-known/openid-configuration", answer({"issuer": "https://other", "jwks_uri": "x"}), "another issuer"),
        ("/.well-known/openid-configuration", answer(b"<html>"), "not a JSON object"),
        ("/.well-known/openid-configuration", answer({}, status=500), "answered 500"),
        ("/keys", answer({}, status=302, headers=("location: /elsewhere",)), "redirects are not followed"),
        ("/keys", answer({}, status=404), "answered 404"),
        ("/keys", answer({"keys": [{}] * 101}), "more than 100 keys"),
        ("/keys", answer(b'{"keys":[' + b" " * 300_000 + b"]}"), "longer than"),
        ("/keys", answer({"keys": "none"}), "no list"),
    ],
)
async def test_what_a_provider_must_not_say(provider: Provider, path: str, page: Script, says: str) -> None:
    provider.pages[path] = page
    async with verifying(one=provider.entry()) as tokens:
        found = await tokens.verify(provider.token(), time.time())
        assert isinstance(found, Refusal)
        assert (found.reason, found.retry_after > 0) == (Reason.PROVIDER_UNAVAILABLE, True)
        assert says in statuses(tokens)[0].error
    assert "/elsewhere" not in provider.asked


def test_a_provider_over_tls_cannot_send_us_to_plain_keys() -> None:
    """Shown on the rule alone; a provider over TLS is Dex's in the other tests."""
    document = b'{"issuer":"https://idp.example.com","jwks_uri":"http://idp.example.com/keys"}'
    with pytest.raises(ProviderError, match="not https"):
        read_discovery(document, "https://idp.example.com")


async def test_a_failure_answers_at_once_after_the_first(provider: Provider) -> None:
    provider.pages["/keys"] = answer({}, status=500)
    async with verifying(one=provider.entry()) as tokens:
        assert await outcome(tokens, provider.token()) is Reason.PROVIDER_UNAVAILABLE
        started = time.perf_counter()
        assert await outcome(tokens, provider.token(sub="other")) is Reason.PROVIDER_UNAVAILABLE
        assert time.perf_counter() - started < WAIT_SECONDS / 10
        provider.publish(GOOD)
        await until(lambda: statuses(tokens)[0].error == "")
        assert await outcome(tokens, provider.token()) is None


async def test_an_unknown_key_is_asked_for_once_by_all_who_wait(provider: Provider) -> None:
    async with verifying(one=provider.entry()) as tokens:
        assert await outcome(tokens, provider.token()) is None
        new = Signer.create("ES256", "new")
        provider.publish(GOOD, new)
        found = await asyncio.gather(*(outcome(tokens, provider.token(new, sub=f"app-{n}")) for n in range(50)))
        assert set(found) == {None}
        assert provider.asked.count("/keys") == 2


async def test_a_flood_of_unknown_keys_asks_seldom(provider: Provider) -> None:
    clock = Clock()
    strangers = [Signer.create("ES256", f"stranger-{number}") for number in range(20)]
    async with verifying(clock, one=provider.entry()) as tokens:
        assert await outcome(tokens, provider.token()) is None
        for _ in range(3):
            for stranger in strangers:
                assert await outcome(tokens, provider.token(stranger)) is Reason.UNKNOWN_KEY
            clock.ahead += UNKNOWN_KEY_SECONDS
        assert provider.asked.count("/keys") == 1 + 3


async def test_tokens_that_could_not_be_taken_anyway_ask_nobody(provider: Provider) -> None:
    stranger = Signer.create("ES256", "stranger")
    async with verifying(one=provider.entry(algorithms=("RS256",)), two=provider.entry(name="b")) as tokens:
        assert await outcome(tokens, provider.token()) is None
        asked = len(provider.asked)
        assert await outcome(tokens, stranger.token(iss="https://nobody")) is Reason.WRONG_ISSUER
        assert await outcome(tokens, provider.token(exp=1)) is Reason.EXPIRED
        assert await outcome(tokens, provider.token(GOOD, aud="other")) is Reason.WRONG_AUDIENCE
        assert len(provider.asked) == asked


async def test_a_key_set_without_the_key_takes_it_away_and_an_empty_one_all(provider: Provider) -> None:
    clock = Clock()
    other = signers()["RS256"]
    token = provider.token()
    async with verifying(clock, one=provider.entry()) as tokens:
        assert await outcome(tokens, token) is None
        provider.publish(other)
        assert await outcome(tokens, provider.token(other)) is None
        assert await outcome(tokens, token) is Reason.UNKNOWN_KEY
        provider.publish()
        clock.ahead += UNKNOWN_KEY_SECONDS
        assert await outcome(tokens, token) is Reason.UNKNOWN_KEY
        assert await outcome(tokens, provider.token(other)) is Reason.UNKNOWN_KEY


async def test_the_same_keys_again_forget_nothing(provider: Provider) -> None:
    token = provider.token()
    async with verifying(one=provider.entry()) as tokens:
        assert await outcome(tokens, token) is None
        asked = provider.asked.count("/keys")
        assert await outcome(tokens, provider.token(Signer.create("ES256", "x"))) is Reason.UNKNOWN_KEY
        assert provider.asked.count("/keys") == asked + 1
        assert isinstance(tokens.cached(token, time.time()), Verified)


async def test_a_provider_that_leaves_the_configuration_is_asked_no_more_and_its_tokens_are_refused(
    provider: Provider,
) -> None:
    token = provider.token()
    async with verifying(one=provider.entry()) as tokens:
        assert await outcome(tokens, token) is None
        tokens.follow({"one": provider.entry()})
        assert tokens.cached(token, time.time()) is not None
        tokens.follow({"one": provider.entry(audiences=("other",))})
        assert tokens.cached(token, time.time()) is None
        assert await outcome(tokens, token) is Reason.WRONG_AUDIENCE
        assert provider.asked.count("/keys") == 1
        tokens.follow({})
        assert await outcome(tokens, token) is Reason.WRONG_ISSUER
        assert statuses(tokens) == ()


async def test_a_slow_source_of_another_policy_holds_nobody_up(provider: Provider) -> None:
    async def black_hole(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    provider.pages["/slow"] = black_hole
    slow = provider.entry(name="slow", jwks_uri=f"{provider.issuer}/slow")
    async with verifying(one=provider.entry(), two=slow) as tokens:
        await until(lambda: any(status.keys for status in statuses(tokens)))
        started = time.perf_counter()
        found = await tokens.verify(provider.token(), time.time())
        assert time.perf_counter() - started < WAIT_SECONDS / 2
        assert isinstance(found, Verified)
        assert found.accepted == frozenset({"one"})


async def test_all_providers_that_accept_a_token_are_known(provider: Provider) -> None:
    entries = {
        "a": provider.entry(),
        "b": provider.entry(),
        "c": provider.entry(audiences=("other", "tidegate"), jwks_uri=f"{provider.issuer}/keys"),
        "d": provider.entry(jwks=key_set(GOOD)),
        "e": provider.entry(audiences=("other",)),
        "f": provider.entry(authorized_parties=("app",)),
        "g": provider.entry(algorithms=("RS256",)),
        "h": provider.entry(jwks=key_set(signers()["ES384"])),
        "i": provider.entry(issuer="https://other"),
    }
    async with verifying(None, **entries) as tokens:
        await until(lambda: all(status.keys for status in statuses(tokens) if status.name != "https://other"))
        found = await tokens.verify(provider.token(), time.time())
        assert isinstance(found, Verified)
        assert found.accepted == frozenset("abcd")


async def test_keys_of_one_source_do_not_verify_for_another(provider: Provider) -> None:
    """The same kid, another key: two tenants may each have a provider of one issuer."""
    impostor = Signer.create("ES256", GOOD.key_id)
    async with verifying(real=provider.entry(), fake=provider.entry(jwks=key_set(impostor))) as tokens:
        found = await tokens.verify(provider.token(impostor), time.time())
        assert isinstance(found, Verified)
        assert found.accepted == frozenset({"fake"})


async def test_a_result_is_kept_for_a_minute_at_most_and_not_beyond_the_token(provider: Provider) -> None:
    long, short = provider.token(), provider.token(exp=int(time.time()) + 20)
    now = time.time()
    async with verifying(one=provider.entry(clock_skew_ms=0)) as tokens:
        assert await outcome(tokens, long) is None
        assert await outcome(tokens, short) is None
        assert tokens.cached(long, now + MAX_SECONDS - 1) is not None
        assert tokens.cached(long, now + MAX_SECONDS + 1) is None
        assert tokens.cached(short, now + 18) is not None
        assert tokens.cached(short, now + 20) is None
        assert await outcome(tokens, short, ahead=21) is Reason.EXPIRED


async def test_a_key_set_that_cannot_be_read_lets_nobody_in(provider: Provider) -> None:
    for keys in ("nonsense", '{"keys":[]}'):
        async with verifying(one=provider.entry(jwks=keys)) as tokens:
            assert await outcome(tokens, provider.token()) is Reason.PROVIDER_UNAVAILABLE
    assert provider.asked == []


async def test_what_operators_read(provider: Provider) -> None:
    provider.pages["/keys"] = answer({"keys": [GOOD.jwk, {"kty": "oct", "k": "c2VjcmV0"}]})
    async with verifying(one=provider.entry()) as tokens:
        assert await outcome(tokens, provider.token()) is None
        (status,) = statuses(tokens)
        assert (status.name, status.keys, status.failures, status.error) == (provider.issuer, 1, 0, "")
        assert status.keys_age is not None
        assert status.keys_age < 10
        assert "symmetric" in status.skipped[0]
        samples = {sample.name: sample for family in families(tokens) for sample in family.samples}
        assert samples["tidegate_jwks_age_seconds"].labels == {"issuer": provider.issuer}
        assert samples["tidegate_jwks_keys"].value == 1
        assert samples["tidegate_tokens_remembered"].value == 1


async def test_what_a_token_costs_does_not_grow_with_the_policies_of_its_issuer(provider: Provider) -> None:
    """Thousands of tenants may trust one issuer, each with an audience of its own."""
    keys = key_set(GOOD)

    async def seconds(policies: int) -> float:
        entries = {str(n): provider.entry(jwks=keys, audiences=(f"tenant-{n}",)) for n in range(policies)}
        token = provider.token(aud=["tenant-0", "nobody"])
        found = []
        async with verifying(None, **entries) as tokens:
            for _ in range(30):
                tokens.forget()
                started = time.perf_counter()
                assert await outcome(tokens, token) is None
                found.append(time.perf_counter() - started)
        return min(found)

    assert await seconds(1_000) < 5 * await seconds(1)


async def test_a_key_that_several_sources_publish_verifies_a_signature_once(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = 0

    def counting(*arguments: Any) -> bool:
        nonlocal done
        done += 1
        return True

    monkeypatch.setattr("tidegate_dataplane.authenticate.keys._verify", counting)
    named = ({**GOOD.jwk, "kid": GOOD.key_id, "x5t": str(number)} for number in range(5))
    entries = {str(n): provider.entry(jwks=key_set(more=(jwk,))) for n, jwk in enumerate(named)}
    async with verifying(None, **entries) as tokens:
        found = await tokens.verify(provider.token(), time.time())
        assert isinstance(found, Verified)
        assert found.accepted == frozenset("01234")
        assert done == 1


async def test_several_providers_that_are_away_are_waited_for_together(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a caller waits at most does not grow with the number of providers that its route names."""
    monkeypatch.setattr(keysets, "WAIT_SECONDS", 0.4)
    silent = asyncio.Event()

    async def hang(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await silent.wait()

    names = [f"away{number}" for number in range(5)]
    provider.pages |= {f"/{name}": hang for name in names}
    entries = {name: provider.entry(name=name, jwks_uri=f"{provider.issuer}/{name}") for name in names}
    async with verifying(None, **entries) as tokens:
        began = time.monotonic()
        assert await outcome(tokens, provider.token()) is Reason.PROVIDER_UNAVAILABLE
        assert time.monotonic() - began < 1.2
        silent.set()
