"""An issuer of a test's own: keys of every algorithm, and tokens made by hand, so that each part can be wrong."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

from tidegate_dataplane.snapshot.entries import TokenKind, TokenProviderEntry

ALGORITHMS = ("ES256", "ES384", "RS256", "PS256", "EdDSA")
ISSUER = "https://idp.example.com"
AUDIENCE = "tidegate"
SUBJECT = "app-42"

_IMPLEMENTATIONS = get_default_algorithms()
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def encode(data: bytes | str | Mapping[str, Any]) -> str:
    """base64url without padding; a mapping becomes JSON first."""
    if isinstance(data, Mapping):
        data = json.dumps(data)
    raw = data.encode() if isinstance(data, str) else data
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass(frozen=True)
class Signer:
    """One private key with its algorithm and `kid`."""

    algorithm: str
    key_id: str
    key: PrivateKey

    @classmethod
    def create(cls, algorithm: str, key_id: str = "") -> Signer:
        return cls(algorithm, key_id or f"key-{algorithm}", _generate(algorithm))

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key as it is published."""
        public = _IMPLEMENTATIONS[self.algorithm].to_jwk(self.key.public_key(), as_dict=True)
        return {**public, "kid": self.key_id, "use": "sig", "alg": self.algorithm}

    @property
    def pem(self) -> bytes:
        """The public key as PEM."""
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def signature(self, signed: bytes) -> bytes:
        return bytes(_IMPLEMENTATIONS[self.algorithm].sign(signed, self.key))

    def token(self, *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A token that holds, but for what `header` and `claims` change; None takes a claim away."""
        return self.sign(json.dumps(self.header(**(header or {}))), json.dumps(claims_of(**claims)))

    def header(self, **changes: Any) -> dict[str, Any]:
        found = {"alg": self.algorithm, "typ": "JWT", "kid": self.key_id, **changes}
        return {name: value for name, value in found.items() if value is not None}

    def sign(self, header: str, payload: str) -> str:
        """Sign texts as they are, JSON or not."""
        signed = f"{encode(header)}.{encode(payload)}"
        return f"{signed}.{encode(self.signature(signed.encode()))}"


def claims_of(**changes: Any) -> dict[str, Any]:
    """Good claims for an hour, changed; None takes a claim away."""
    now = int(time.time())
    found = {"iss": ISSUER, "sub": SUBJECT, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 3600, **changes}
    return {name: value for name, value in found.items() if value is not None}


def hmac_signed(header: Mapping[str, Any], claims: Mapping[str, Any], secret: bytes) -> str:
    """What an attacker makes who takes a public key for a shared secret."""
    hashes = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}
    signed = f"{encode(header)}.{encode(claims)}"
    return f"{signed}.{encode(hmac.new(secret, signed.encode(), hashes[header['alg'][-3:]]).digest())}"


def key_set(*signers: Signer, more: tuple[Mapping[str, Any], ...] = ()) -> str:
    """A JWK set of their public keys."""
    return json.dumps({"keys": [*(signer.jwk for signer in signers), *more]})


@lru_cache(maxsize=1)
def signers() -> dict[str, Signer]:
    """One for each algorithm, the same in the whole session: RSA keys take long to make."""
    return {algorithm: Signer.create(algorithm) for algorithm in ALGORITHMS}


@dataclass
class Clock:
    """A monotonic clock that a test sets forward."""

    ahead: float = field(default=0.0)

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


def jwt_provider(name: str = "idp", **changes: Any) -> TokenProviderEntry:
    """A provider for what `Signer.token` makes."""
    return TokenProviderEntry(
        **{"name": name, "kind": TokenKind.JWT, "issuer": ISSUER, "audiences": (AUDIENCE,), **changes}
    )


def _generate(algorithm: str) -> PrivateKey:
    if algorithm[:2] in ("RS", "PS"):
        return rsa.generate_private_key(65537, 2048)
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    curves: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
    return ec.generate_private_key(curves[algorithm])
