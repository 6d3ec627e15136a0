"""From the digest of an API key to the consumer that has it."""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from tidegate_dataplane.runtime.lower import lower_key
from tidegate_dataplane.runtime.objects import Consumer, Credential


def patched(
    table: Mapping[bytes, Credential], removed: Iterable[Consumer], added: Iterable[Consumer]
) -> dict[bytes, Credential]:
    """A table without the keys of `removed` and with those of `added`.

    When several consumers name one key (a hash may stand in Git for all to see), the consumer that was there first
    has it, so that nobody can take over the calls of another.
    """
    result = dict(table)
    for consumer in removed:
        for entry in consumer.entry.keys:
            if entry.sha256:
                digest, _ = lower_key(entry, consumer)
                _settle(result, digest, [one for one in _claimants(result, digest) if one.consumer is not consumer])
    for consumer in added:
        for entry in consumer.entry.keys:
            if entry.sha256:
                digest, credential = lower_key(entry, consumer)
                if digest in result:
                    _settle(result, digest, [*_claimants(result, digest), credential])
                else:
                    result[digest] = credential
    return result


def _claimants(table: Mapping[bytes, Credential], digest: bytes) -> list[Credential]:
    credential = table.get(digest)
    return [] if credential is None else [credential, *credential.rivals]


def _settle(table: dict[bytes, Credential], digest: bytes, claimants: list[Credential]) -> None:
    if not claimants:
        table.pop(digest, None)
        return
    first, *rest = sorted(claimants, key=_age)
    table[digest] = Credential(
        first.name,
        first.consumer,
        first.not_before,
        first.not_after,
        first.revoked,
        first.identity,
        tuple(replace(one, rivals=()) for one in rest),
    )


def _age(credential: Credential) -> tuple[int, str, str]:
    return credential.consumer.entry.source.created, credential.consumer.key, credential.name
