"""Pass 'resolve' for Secrets: caller keys become hashes, upstream credentials become names.

No value is ever part of a finding, an entry or a repr.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from tidegate_dataplane.apikey import PREFIX, checksum_fits
from tidegate_dataplane.snapshot.entries import BackendEntry, ConsumerEntry, KeyEntry, SecretRef
from tidegate_operator.compile.issued import ISSUED_AT, Fault, names_of, read_issued
from tidegate_operator.compile.problems import Problems
from tidegate_operator.verdicts import Finding, Reason
from tidegate_operator.world import ConsumerKey, SecretKey

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


@dataclass(frozen=True, slots=True)
class KeySources:
    """Where the keys of consumers come from, and why some could not be generated; see World and Facts."""

    secrets: Secrets = field(repr=False)
    unissued: Mapping[ConsumerKey, str]
    issues_keys: bool


def changed_secrets(former: KeySources | None, now: KeySources) -> frozenset[SecretKey] | None:
    """The Secrets that may hold something else than before; None: all of them may.

    The data of a Secret that did not change is the same Python object.
    """
    if former is None or former.unissued != now.unissued or former.issues_keys != now.issues_keys:
        return None
    old, new = former.secrets, now.secrets
    changed = {key for key, data in new.items() if old.get(key) is not data}
    changed.update(old.keys() - new.keys())
    return frozenset(changed)


def secrets_of(content: ConsumerEntry) -> frozenset[SecretKey]:
    """The Secrets that hold keys of a consumer."""
    namespace = content.source.namespace
    return frozenset(SecretKey(namespace, key.secret.name) for key in content.keys if key.secret is not None)


# All that decides what a key stands for; to compare, never to show.
KeyInputs = tuple[object, ...]


def key_inputs(content: ConsumerEntry, sources: KeySources) -> tuple[KeyInputs, ...]:
    """All that `resolve_consumer` goes by, but for the content itself: the same inputs give the same result."""
    namespace, secrets = content.source.namespace, sources.secrets
    return tuple(
        _inputs(key, key.secret, content, secrets.get(SecretKey(namespace, key.secret.name)), sources)
        for key in content.keys
        if key.secret is not None
    )


def _inputs(
    key: KeyEntry, reference: SecretRef, content: ConsumerEntry, data: Mapping[str, bytes] | None, sources: KeySources
) -> KeyInputs:
    if data is None:
        found: KeyInputs = (None,)
    elif key.generate is None:
        found = (data.get(reference.key),)
    else:
        found = tuple(data.get(name) for name in names_of(reference.key))
    return (data is None, *found, sources.unissued.get(_consumer_key(content, key)) if key.generate else None)


def _consumer_key(content: ConsumerEntry, key: KeyEntry) -> ConsumerKey:
    return ConsumerKey(content.source.namespace, content.source.name, key.name)


def resolve_consumer(content: ConsumerEntry, sources: KeySources) -> tuple[ConsumerEntry, tuple[Finding, ...]]:
    """Fill in the hash of every key that a Secret holds. A key whose Secret is gone or unfit does not work."""
    problems = Problems()
    namespace = content.source.namespace
    keys = tuple(
        _resolve_key(key, namespace, sources.secrets, f"spec.credentials.apiKeys[{position}].secretRef", problems)
        if key.generate is None or key.secret is None
        else _resolve_generated(
            key, key.secret, content, sources, _Place(f"spec.credentials.apiKeys[{position}].generate", problems)
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
    value = header_value(reference, content.source.namespace, secrets, "spec.credential.secretRef", problems)
    return value, problems.found()


def header_value(
    reference: SecretRef, namespace: str, secrets: Secrets, field: str, problems: Problems
) -> bytes | None:
    """What a reference stands for, where that fits into an HTTP header; notes why not."""
    value = found_value(reference, namespace, secrets, field, problems)
    if value is None or _PRINTABLE.fullmatch(value):
        return value
    problems.add(
        field,
        f"key {reference.key} of Secret {reference.name} must be printable ASCII without spaces or line breaks "
        "inside, and not empty: write it with printf, or base64 without line breaks",
    )
    return None


class _Place(NamedTuple):
    """Where a finding of one key goes."""

    field: str
    problems: Problems

    def add(self, message: str) -> None:
        self.problems.add(self.field, message, Reason.KEY_NOT_ISSUED)


def _resolve_generated(
    key: KeyEntry, reference: SecretRef, content: ConsumerEntry, sources: KeySources, problem: _Place
) -> KeyEntry:
    """A key that somebody else put there goes on working: the wish to generate it must not cut anybody off."""
    namespace = content.source.namespace
    issued = read_issued(sources.secrets.get(SecretKey(namespace, reference.name), {}), reference.key)
    where = f"key {reference.key} of Secret {namespace}/{reference.name}"
    unissued = sources.unissued.get(_consumer_key(content, key))
    if unissued:
        problem.add(unissued)
    elif issued.fault is not None and sources.issues_keys:
        problem.add(_FAULTS[issued.fault].format(where=where, mark=reference.key + ISSUED_AT))
    elif issued.current is None and not key.revoked:
        problem.add(_NOT_YET.format(where=where) if sources.issues_keys else _NO_ISSUER.format(where=where))
    overlaps = key.generate is not None and key.generate.overlap_ms > 0
    previous = issued.previous if overlaps and issued.issued_at is not None else None
    return msgspec.structs.replace(
        key,
        sha256=_fit(issued.current, where, problem),
        previous=_fit(previous, where, problem),
        previous_until=None
        if previous is None or issued.issued_at is None or key.generate is None
        else issued.issued_at + key.generate.overlap_ms // 1000,
    )


def _fit(value: bytes | None, where: str, problem: _Place) -> str:
    if value is None:
        return ""
    if len(value) < MIN_KEY_CHARACTERS or not _PRINTABLE.fullmatch(value):
        problem.add(f"{where} is not a key that was generated: delete it there, and a new one is made")
        return ""
    return hashlib.sha256(value).hexdigest()


_NOT_YET = "{where} is not generated yet: the operator is about to; if this stays, its log says more"
_NO_ISSUER = "{where} is generated only in a cluster: here, declare a Secret with a key, or give sha256 instead"
_FAULTS = {
    Fault.FOREIGN: "{where} exists and was not generated, so it is left alone: remove it there, or remove generate",
    Fault.UNREADABLE: "{where} cannot be replaced, because {mark} is not a time such as 2027-01-31T00:00:00Z: correct "
    "it, or delete the Secret, and a new key is made",
}


def _resolve_key(key: KeyEntry, namespace: str, secrets: Secrets, field: str, problems: Problems) -> KeyEntry:
    if key.secret is None:
        return key
    value = found_value(key.secret, namespace, secrets, field, problems)
    if value is not None and (len(value) < MIN_KEY_CHARACTERS or not _PRINTABLE.fullmatch(value)):
        problems.add(
            field,
            f"key {key.secret.key} of Secret {key.secret.name} must be at least {MIN_KEY_CHARACTERS} printable ASCII "
            "characters without spaces: generate one, for example with tidegate keys new",
        )
        value = None
    if value is not None and checksum_fits(value) is False:
        problems.add(
            field,
            f"key {key.secret.key} of Secret {key.secret.name} begins with {PREFIX} and has a typing error, so it is "
            "refused: copy it again",
        )
    digest = hashlib.sha256(value).hexdigest() if value is not None else ""
    return msgspec.structs.replace(key, sha256=digest)


def found_value(reference: SecretRef, namespace: str, secrets: Secrets, field: str, problems: Problems) -> bytes | None:
    """What a reference stands for, without the line break that editors leave; notes when it stands for nothing."""
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
