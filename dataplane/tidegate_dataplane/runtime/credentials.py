"""From the digest of an API key to the consumer that has it.

The table is kept by a keyed hash of the digest, with a key that is made when the process starts: who may declare hashes
cannot choose where in the table they fall, and how long a lookup takes tells nothing about the keys that are there.
"""

import os
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from hmac import compare_digest

from msgspec.structs import replace

from tidegate_dataplane.runtime.lower import lower_keys
from tidegate_dataplane.runtime.objects import Consumer, Credential

# To copy a hash that has taken its key already is half the cost of beginning a new one.
_KEYED = blake2b(digest_size=16, key=os.urandom(32))


def slot(digest: bytes) -> bytes:
    """Where a credential with that SHA-256 stands in the tables of this process."""
    keyed = _KEYED.copy()
    keyed.update(digest)
    return keyed.digest()


def find(table: Mapping[bytes, Credential], digest: bytes) -> Credential | None:
    """The credential with exactly that SHA-256; compares in constant time."""
    credential = table.get(slot(digest))
    return credential if credential is not None and compare_digest(credential.digest, digest) else None


def patched(
    table: Mapping[bytes, Credential], removed: Iterable[Consumer], added: Iterable[Consumer]
) -> dict[bytes, Credential]:
    """A table without the keys of `removed` and with those of `added`.

    When several consumers name one key (a hash may stand in Git for all to see), the consumer that was there first
    has it, so that nobody can take over the calls of another.
    """
    result = dict(table)
    for consumer in removed:
        for credential in _credentials(consumer):
            at = slot(credential.digest)
            _settle(result, at, [one for one in _claimants(result, at) if one.consumer is not consumer])
    for consumer in added:
        for credential in _credentials(consumer):
            at = slot(credential.digest)
            if at in result:
                _settle(result, at, [*_claimants(result, at), credential])
            else:
                result[at] = credential
    return result


def _credentials(consumer: Consumer) -> Iterable[Credential]:
    return (credential for entry in consumer.entry.keys for credential in lower_keys(entry, consumer))


def _claimants(table: Mapping[bytes, Credential], at: bytes) -> list[Credential]:
    credential = table.get(at)
    return [] if credential is None else [credential, *credential.rivals]


def _settle(table: dict[bytes, Credential], at: bytes, claimants: list[Credential]) -> None:
    if not claimants:
        table.pop(at, None)
        return
    first, *rest = sorted(claimants, key=_age)
    table[at] = replace(first, rivals=tuple(replace(one, rivals=()) for one in rest))


def _age(credential: Credential) -> tuple[int, str, str]:
    return credential.consumer.entry.source.created, credential.consumer.key, credential.name
