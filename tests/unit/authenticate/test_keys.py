"""Key sets: only public keys that may verify, each with the algorithms that fit it."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from oidc.signing import Signer, key_set, signers
from tidegate_dataplane.authenticate.keys import MAX_KEYS, KeySetError, parse_key_set


def parsed(*members: Any) -> list[set[str]]:
    """The algorithms of each usable key."""
    return [set(key.verifiers) for key in parse_key_set(json.dumps({"keys": members}).encode()).keys]


def without(jwk: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name not in names}


def test_a_key_without_alg_fits_all_algorithms_of_its_type() -> None:
    rsa_algorithms = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
    assert parsed(without(signers()["RS256"].jwk, "alg")) == [rsa_algorithms]
    assert parsed(without(signers()["ES256"].jwk, "alg")) == [{"ES256"}]
    assert parsed(without(signers()["ES384"].jwk, "alg")) == [{"ES384"}]
    assert parsed(without(signers()["EdDSA"].jwk, "alg")) == [{"EdDSA", "Ed25519"}]


def test_a_key_with_alg_fits_that_one_alone() -> None:
    assert parsed(signers()["RS256"].jwk, signers()["PS256"].jwk) == [{"RS256"}, {"PS256"}]


@pytest.mark.parametrize(
    ("member", "why"),
    [
        ({"kty": "oct", "k": "c2VjcmV0", "kid": "s"}, "symmetric"),
        ({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}, "symmetric"),
        ({**signers()["RS256"].jwk, "alg": "HS256"}, "alg"),
        ({**signers()["RS256"].jwk, "alg": "none"}, "alg"),
        ({**signers()["RS256"].jwk, "alg": "RSA-OAEP"}, "alg"),
        ({**signers()["RS256"].jwk, "alg": ["RS256"]}, "alg"),
        ({**signers()["ES256"].jwk, "alg": "ES384"}, "alg"),
        ({**signers()["RS256"].jwk, "use": "enc"}, "use"),
        ({**signers()["RS256"].jwk, "key_ops": ["sign"]}, "key_ops"),
        ({**signers()["RS256"].jwk, "key_ops": "verify"}, "key_ops"),
        ({**signers()["RS256"].jwk, "kty": "EC"}, "needs"),
        ({**signers()["RS256"].jwk, "kid": 7}, "kid"),
        ({**signers()["RS256"].jwk, "n": "AQAB"}, "valid"),
        ({**signers()["ES256"].jwk, "x": signers()["ES256"].jwk["y"]}, "valid"),
        ({**signers()["ES256"].jwk, "crv": "P-384"}, "valid"),
        ({**signers()["EdDSA"].jwk, "crv": "X25519"}, "valid"),
        ({"kty": "RSA"}, "needs"),
        ({"kty": "future"}, "kty"),
        ("text", "JSON object"),
    ],
)
def test_a_key_that_cannot_verify_is_skipped_and_the_reason_kept(member: Any, why: str) -> None:
    good = signers()["EdDSA"].jwk
    found = parse_key_set(json.dumps({"keys": [member, good]}).encode())
    assert [key.id for key in found.keys] == [good["kid"]]
    assert why in found.skipped[0]


def test_a_weak_rsa_key_is_skipped() -> None:
    weak = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key(), as_dict=True)
    assert parsed(weak) == []


def test_of_a_private_key_only_the_public_part_is_read() -> None:
    signer = signers()["RS256"]
    assert isinstance(signer.key, rsa.RSAPrivateKey)
    private = without(RSAAlgorithm.to_jwk(signer.key, as_dict=True), "key_ops")
    found = parse_key_set(json.dumps({"keys": [private]}).encode())
    assert "d" in private
    assert found.keys[0].verifiers["RS256"](b"text", signer.signature(b"text"))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[],"keys":[]}',
        json.dumps({"keys": [{}] * (MAX_KEYS + 1)}).encode(),
        b'{"keys":[' + b" " * 300_000 + b"]}",
    ],
)
def test_what_is_no_key_set_is_refused(text: bytes) -> None:
    with pytest.raises(KeySetError):
        parse_key_set(text)


def test_the_version_changes_with_the_keys_alone() -> None:
    one, other = Signer.create("ES256", "one"), Signer.create("ES256", "other")
    version = parse_key_set(key_set(one).encode()).version
    spaced = json.dumps({"more": 1, "keys": [{**one.jwk, "x5t": "abc"}]}, indent=2).encode()
    assert parse_key_set(spaced).version == version
    renamed = json.dumps({"keys": [{**one.jwk, "kid": "two"}]}).encode()
    versions = {
        parse_key_set(text).version for text in (key_set(other).encode(), key_set(one, other).encode(), renamed)
    }
    assert version not in versions
    assert len(versions) == 3


def test_one_name_may_have_keys_of_several_types() -> None:
    jwks = [{**signers()[name].jwk, "kid": "same"} for name in ("RS256", "ES256")]
    found = parse_key_set(json.dumps({"keys": jwks}).encode())
    assert len(found.candidates("same", "ES256")) == 1
    assert len(found.candidates("same", "RS256")) == 1
    assert found.candidates("other", "RS256") == ()
    assert len(found.candidates("", "RS256")) == 1
