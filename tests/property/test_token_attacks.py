"""Whatever is sent as a token: it is never let in unless the issuer signed just that, and nothing is ever raised."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oidc.signing import ALGORITHMS, claims_of, encode, hmac_signed, jwt_provider, key_set, signers
from tidegate_dataplane.authenticate.jose import Token, parse
from tidegate_dataplane.authenticate.keys import KeySetError, parse_key_set
from tidegate_dataplane.authenticate.refusal import Refusal
from tidegate_dataplane.authenticate.tokens import Tokens
from tidegate_dataplane.authenticate.verification import verify
from tidegate_dataplane.authenticate.verified import Verified
from tidegate_dataplane.credentials import Credentials
from tidegate_dataplane.upstream import UpstreamClient

KEYS = parse_key_set(key_set(*signers().values()).encode())
PROVIDER = jwt_provider()
BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
header_names = st.sampled_from(["alg", "kid", "typ", "jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "cty", "enc"])
claim_names = st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "azp", "jti", "scope"])
algorithms = st.sampled_from(
    [*ALGORITHMS, "none", "None", "NONE", "nOnE", "", "HS256", "HS512", "RS512", "ES256K", "ES512", "RS1"]
)


@lru_cache(maxsize=1)
def good() -> dict[str, str]:
    """A token that holds, by algorithm."""
    return {algorithm: signer.token() for algorithm, signer in signers().items()}


def let_in(text: str) -> bool:
    """Through the pure core; whatever it raises fails the test."""
    token = parse(text)
    return isinstance(token, Token) and not isinstance(verify(token, PROVIDER, KEYS, time.time()), Refusal)


def test_the_tokens_that_are_attacked_are_let_in_themselves() -> None:
    assert all(let_in(token) for token in good().values())


@settings(max_examples=500)
@given(st.text(max_size=200) | st.text(alphabet=BASE64URL + ".=", max_size=300))
def test_arbitrary_text_is_not_let_in(text: str) -> None:
    assert not let_in(text)


@settings(max_examples=400)
@given(
    st.sampled_from(ALGORITHMS),
    st.dictionaries(header_names | st.text(max_size=6), json_values, max_size=4),
    st.dictionaries(claim_names | st.text(max_size=6), json_values, max_size=5),
    st.binary(max_size=80),
)
def test_what_nobody_signed_is_not_let_in(
    algorithm: str, header: dict[str, Any], claims: dict[str, Any], signature: bytes
) -> None:
    head = {**signers()[algorithm].header(), **header}
    assert not let_in(f"{encode(head)}.{encode(claims_of(**claims))}.{encode(signature)}")


@settings(max_examples=600)
@given(st.sampled_from(ALGORITHMS), st.integers(0, 5000), st.sampled_from(BASE64URL + ".= \x00é"), st.booleans())
def test_one_changed_added_or_removed_character_is_not_let_in(
    algorithm: str, place: int, character: str, insert: bool
) -> None:
    text = good()[algorithm]
    at = place % len(text)
    changed = text[:at] + character + text[at + (not insert) :]
    assert changed == text or not let_in(changed)
    assert not let_in(text[:at] + text[at + 1 :])
    assert not let_in(text[:at])


@settings(max_examples=300)
@given(st.sampled_from(ALGORITHMS), st.sampled_from(ALGORITHMS), st.integers(0, 6))
def test_parts_of_good_tokens_put_together_are_not_let_in(one: str, other: str, which: int) -> None:
    mixed = ".".join((good()[one] if which >> part & 1 else good()[other]).split(".")[part] for part in range(3))
    assert mixed in good().values() or not let_in(mixed)


@settings(max_examples=300)
@given(algorithms, st.sampled_from(ALGORITHMS), st.sampled_from(["", "pem", "jwk", "n"]))
def test_another_algorithm_over_the_same_claims_is_not_let_in(name: str, victim: str, secret: str) -> None:
    signer = signers()[victim]
    head, claims = signer.header(alg=name), claims_of()
    unsigned = f"{encode(head)}.{encode(claims)}"
    assert not let_in(f"{unsigned}.")
    if name != victim:
        assert not let_in(f"{unsigned}.{encode(signer.signature(unsigned.encode()))}")
    if name.startswith("HS"):
        secrets: dict[str, bytes] = {
            "": b"",
            "pem": signer.pem,
            "jwk": json.dumps(signer.jwk).encode(),
            "n": str(signer.jwk.get("n", signer.jwk.get("x"))).encode(),
        }
        assert not let_in(hmac_signed(head, claims, secrets[secret]))


@settings(max_examples=300)
@given(
    st.sampled_from(ALGORITHMS),
    st.dictionaries(header_names, json_values, max_size=3),
    st.dictionaries(claim_names, json_values, max_size=4),
)
def test_whatever_the_issuer_itself_signs_raises_nothing_and_must_still_hold(
    algorithm: str, header: dict[str, Any], claims: dict[str, Any]
) -> None:
    signer = signers()[algorithm]
    head, said = {**signer.header(), **header}, {**claims_of(), **claims}
    text = signer.sign(json.dumps(head), json.dumps(said))
    if let_in(text):
        assert (head["alg"], head.get("kid", "")) in {(algorithm, signer.key_id), (algorithm, "")}
        assert "crit" not in head
        assert said["iss"] == PROVIDER.issuer
        assert said["aud"] == "tidegate" or "tidegate" in said["aud"]
        assert time.time() < said["exp"] + 30
        assert isinstance(said["sub"], str)


@settings(max_examples=300)
@given(json_values | st.dictionaries(st.just("keys"), st.lists(json_values, max_size=3)), st.binary(max_size=50))
def test_whatever_is_sent_as_keys_raises_nothing_else(value: Any, raw: bytes) -> None:
    for text in (json.dumps(value).encode(), raw):
        try:
            parse_key_set(text)
        except KeySetError:
            pass


@settings(max_examples=200)
@given(
    st.sampled_from(sorted(signers())),
    st.dictionaries(
        st.sampled_from(["kty", "crv", "n", "e", "x", "y", "alg", "use", "key_ops", "kid", "k", "d"]), json_values
    ),
)
def test_a_spoilt_key_raises_nothing_and_is_never_symmetric(algorithm: str, changes: dict[str, Any]) -> None:
    try:
        found = parse_key_set(json.dumps({"keys": [{**signers()[algorithm].jwk, **changes}]}).encode())
    except KeySetError:
        return
    for key in found.keys:
        assert not any(name.startswith("HS") or name.lower() == "none" for name in key.verifiers)
        for verifies in key.verifiers.values():
            assert not verifies(b"text", b"")
            assert not verifies(b"text", b"\0" * 64)


@pytest.fixture
def through_the_shell() -> Callable[[list[str]], list[Verified | Refusal]]:
    """Verify texts as the proxy does, twice each: from the cache the second time."""

    async def all_of(texts: list[str]) -> list[Verified | Refusal]:
        client = UpstreamClient()
        tokens = Tokens(client, Credentials())
        tokens.follow({"a/b/c": jwt_provider(jwks=key_set(*signers().values()))})
        try:
            found = [await tokens.verify(text, time.time()) for text in texts]
            again = [await tokens.verify(text, time.time()) for text in texts]
            assert [isinstance(one, Verified) for one in found] == [isinstance(one, Verified) for one in again]
            return found
        finally:
            await tokens.aclose()
            await client.aclose()

    return lambda texts: asyncio.run(all_of(texts))


def test_the_cache_never_turns_a_no_into_a_yes(
    through_the_shell: Callable[[list[str]], list[Verified | Refusal]],
) -> None:
    """Good tokens and their neighbours, in turns."""
    texts: list[str] = []
    for text in good().values():
        for at in range(0, len(text), 7):
            texts += [text, text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]]
    found = through_the_shell(texts)
    assert all(isinstance(one, Verified) == (text in good().values()) for one, text in zip(found, texts, strict=True))
