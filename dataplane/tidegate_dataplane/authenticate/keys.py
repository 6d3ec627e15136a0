"""Public keys (RFC 7517), and which algorithm each may be used with (RFC 7518, RFC 8037).

A symmetric key never enters a set, and a key knows its algorithms before any token is seen: so neither `none` nor an
HMAC with a public key as the secret can ever verify. The cryptography is PyJWT's and pyca/cryptography's.
"""

from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWK
from jwt.algorithms import get_default_algorithms
from jwt.exceptions import PyJWTError
from msgspec import Struct

from tidegate_dataplane.authenticate.json_object import NotAnObject, read_object

MAX_KEYS: Final = 100
MAX_SET_BYTES: Final = 256 * 1024
MAX_TRIES: Final = 8
"""With how many keys a token is tried that does not name its key."""

_RSA_BITS: Final = range(2048, 8193)
_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
# "Ed25519" is the name of RFC 9864 for what RFC 8037 calls "EdDSA" on that curve.
_EDWARDS: Final = frozenset({"EdDSA", "Ed25519"})
_CURVES: Final = {"P-256": frozenset({"ES256"}), "P-384": frozenset({"ES384"}), "P-521": frozenset({"ES512"})}
_PUBLIC_MEMBERS: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}

ALGORITHMS: Final = _RSA | _EDWARDS | frozenset().union(*_CURVES.values())
"""All that may be allowed; each is asymmetric."""

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
Verify = Callable[[bytes, bytes], bool]


class KeySetError(ValueError):
    """The text is not a key set that can be used; the message says why."""


class Key(Struct, frozen=True, eq=False, gc=False):
    """A public key. `verifiers`: for each algorithm that fits it, a function of signed bytes and signature.

    `fingerprint` is a digest of the key itself, the same wherever it is published.
    """

    id: str
    verifiers: Mapping[str, Verify]
    fingerprint: bytes


class KeySet(Struct, frozen=True, eq=False, gc=False):
    """The usable keys of a source. `version` is a digest of them; `skipped` says why others are not usable."""

    keys: tuple[Key, ...]
    by_id: Mapping[str, tuple[Key, ...]]
    version: bytes
    skipped: tuple[str, ...]

    def candidates(self, key_id: str, algorithm: str) -> tuple[Key, ...]:
        """The keys that may have signed a token with this header; at most MAX_TRIES."""
        keys = self.by_id.get(key_id, ()) if key_id else self.keys
        return tuple(key for key in keys if algorithm in key.verifiers)[:MAX_TRIES]


NO_KEYS: Final = KeySet((), {}, b"", ())


def parse_key_set(text: bytes) -> KeySet:
    """Read a JWK set. Keys that cannot verify signatures are skipped, as RFC 7517, section 5 wants. Raises
    KeySetError."""
    if len(text) > MAX_SET_BYTES:
        raise KeySetError(f"the key set is larger than {MAX_SET_BYTES} bytes")
    try:
        members = read_object(text).get("keys")
    except NotAnObject as error:
        raise KeySetError(f"the key set is {error}") from None
    if not isinstance(members, list):
        raise KeySetError("the key set has no list `keys`")
    if len(members) > MAX_KEYS:
        raise KeySetError(f"the key set has more than {MAX_KEYS} keys")
    keys: list[Key] = []
    skipped: list[str] = []
    digest = blake2b(digest_size=16)
    for place, member in enumerate(members):
        try:
            key = _read_key(member)
        except KeySetError as error:
            skipped.append(f"key {place}: {error}")
        else:
            keys.append(key)
            digest.update("\0".join((key.id, *sorted(key.verifiers), "")).encode("utf-8") + key.fingerprint)
    by_id: dict[str, tuple[Key, ...]] = {}
    for key in keys:
        if key.id:
            by_id[key.id] = (*by_id.get(key.id, ()), key)
    return KeySet(tuple(keys), by_id, digest.digest(), tuple(skipped))


def _read_key(member: object) -> Key:
    """Raises KeySetError."""
    if not isinstance(member, dict):
        raise KeySetError("not a JSON object")
    kind, key_id = member.get("kty"), member.get("kid", "")
    if not isinstance(key_id, str):
        raise KeySetError("its kid is not a string")
    if not isinstance(kind, str) or kind not in _PUBLIC_MEMBERS:
        raise KeySetError("it is symmetric, and such keys are never used" if kind == "oct" else "its kty is not known")
    if member.get("use", "sig") != "sig":
        raise KeySetError("its use is not sig")
    operations = member.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise KeySetError("its key_ops lack verify")
    public = _public_key(kind, member)
    algorithms = _algorithms(public, member.get("crv"))
    declared = member.get("alg")
    if declared is not None:
        if not isinstance(declared, str):
            raise KeySetError("its alg is not a string")
        algorithms = (_EDWARDS if declared in _EDWARDS else frozenset({declared})) & algorithms
    if not algorithms:
        raise KeySetError("its alg does not fit its kty")
    verifiers = {algorithm: _verifier(algorithm, public) for algorithm in algorithms}
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Key(key_id, verifiers, blake2b(der, digest_size=16).digest())


def _public_key(kind: str, member: Mapping[str, object]) -> PublicKey:
    """Only public members are read, so that a private key that was published by mistake is not held here."""
    values = {name: member.get(name) for name in _PUBLIC_MEMBERS[kind]}
    if not all(isinstance(value, str) for value in values.values()):
        raise KeySetError(f"a {kind} key needs {', '.join(values)}")
    fallback = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}[kind]
    try:
        public = PyJWK({"kty": kind, **values}, algorithm=fallback).key
    except (PyJWTError, ValueError, TypeError, OverflowError, UnsupportedAlgorithm):
        raise KeySetError("its numbers are not a valid public key") from None
    if not isinstance(public, RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey):
        raise KeySetError("its curve is not supported")
    if isinstance(public, RSAPublicKey) and public.key_size not in _RSA_BITS:
        raise KeySetError(f"it has {public.key_size} bits; {_RSA_BITS[0]} to {_RSA_BITS[-1]} are accepted")
    return public


def _algorithms(key: PublicKey, curve: object) -> frozenset[str]:
    if isinstance(key, RSAPublicKey):
        return _RSA
    return _EDWARDS if isinstance(key, Ed25519PublicKey) else _CURVES.get(str(curve), frozenset())


def _verifier(name: str, key: PublicKey) -> Verify:
    algorithm = _IMPLEMENTATIONS["EdDSA" if name in _EDWARDS else name]
    return partial(_verify, algorithm.verify, algorithm.prepare_key(key))


def _verify(verify: Callable[[bytes, object, bytes], bool], key: object, signed: bytes, signature: bytes) -> bool:
    return verify(signed, key, signature)


_IMPLEMENTATIONS: Final = get_default_algorithms()
