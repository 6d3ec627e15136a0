"""Pass 'resolve' for Secrets: caller keys become hashes, upstream credentials become names.

No value is ever part of a finding, an entry or a repr.
"""

import hashlib
import re
from collections.abc import Mapping

import msgspec

from tidegate_dataplane.snapshot.entries import BackendEntry, ConsumerEntry, KeyEntry, SecretRef
from tidegate_operator.compile.problems import Problems
from tidegate_operator.verdicts import Finding, Reason
from tidegate_operator.world import SecretKey

Secrets = Mapping[SecretKey, Mapping[str, bytes]]

MIN_KEY_CHARACTERS = 16
_MAX_SECRET_KEY = 253
_PRINTABLE = re.compile(rb"[\x21-\x7e]+")
_NAMESPACE = re.compile(r"[-_a-zA-Z0-9]+")
_NAME = re.compile(r"[-._a-zA-Z0-9]+")


def credential_name(namespace: str, name: str) -> str:
    """Key of a backend's credential in the credentials Secret; distinct for distinct backends.

    `namespace.name` where that fits a Secret key (a namespace has no dot); else a digest, which has no dot at all.
    """
    plain = f"{namespace}.{name}"
    if len(plain) <= _MAX_SECRET_KEY and _NAMESPACE.fullmatch(namespace) and _NAME.fullmatch(name):
        return plain
    return "sha256-" + hashlib.sha256(f"{namespace}/{name}".encode("utf-8", "surrogatepass")).hexdigest()


def secret_values(references: tuple[SecretRef, ...], namespace: str, secrets: Secrets) -> tuple[bytes | None, ...]:
    """What each reference stands for at this moment; None where it stands for nothing."""
    return tuple(_value(reference, namespace, secrets) for reference in references)


def resolve_consumer(content: ConsumerEntry, secrets: Secrets) -> tuple[ConsumerEntry, tuple[Finding, ...]]:
    """Fill in the hash of every key that a Secret holds. A key whose Secret is gone or unfit does not work."""
    problems = Problems()
    keys = tuple(
        _resolve_key(
            key, content.source.namespace, secrets, f"spec.credentials.apiKeys[{position}].secretRef", problems
        )
        for position, key in enumerate(content.keys)
    )
    return msgspec.structs.replace(content, keys=keys), problems.found()


def resolve_credential(content: BackendEntry, secrets: Secrets) -> tuple[bytes | None, tuple[Finding, ...]]:
    """The credential that a backend's Secret holds, None when it is gone or unfit for a header."""
    problems = Problems()
    reference = content.secret
    if reference is None:
        return None, ()
    field = "spec.credential.secretRef"
    value = _found(reference, content.source.namespace, secrets, field, problems)
    if value is not None and not _PRINTABLE.fullmatch(value):
        problems.add(
            field,
            f"key {reference.key} of Secret {reference.name} must be printable ASCII without spaces or line breaks "
            "inside, and not empty: write it with printf, or base64 without line breaks",
        )
        value = None
    return value, problems.found()


def _resolve_key(key: KeyEntry, namespace: str, secrets: Secrets, field: str, problems: Problems) -> KeyEntry:
    if key.secret is None:
        return key
    value = _found(key.secret, namespace, secrets, field, problems)
    if value is not None and (len(value) < MIN_KEY_CHARACTERS or not _PRINTABLE.fullmatch(value)):
        problems.add(
            field,
            f"key {key.secret.key} of Secret {key.secret.name} must be at least {MIN_KEY_CHARACTERS} printable ASCII "
            "characters without spaces: generate one, for example with openssl rand -hex 32",
        )
        value = None
    digest = hashlib.sha256(value).hexdigest() if value is not None else ""
    return msgspec.structs.replace(key, sha256=digest)


def _found(reference: SecretRef, namespace: str, secrets: Secrets, field: str, problems: Problems) -> bytes | None:
    value = _value(reference, namespace, secrets)
    if value is None:
        exists = SecretKey(namespace, reference.name) in secrets
        problems.add(
            field,
            f"Secret {namespace}/{reference.name} has no key {reference.key}: add it, or correct the key"
            if exists
            else f"Secret {namespace}/{reference.name} does not exist: create it, or correct the name",
            Reason.SECRET_NOT_FOUND,
        )
    return value


def _value(reference: SecretRef, namespace: str, secrets: Secrets) -> bytes | None:
    data = secrets.get(SecretKey(namespace, reference.name))
    value = data.get(reference.key) if data is not None else None
    if not isinstance(value, bytes):
        return None
    # Editors and `echo` end a file with a line break that is no part of the key.
    return value.removesuffix(b"\n").removesuffix(b"\r")
