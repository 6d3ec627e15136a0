"""Providers of tokens: key sets and client secrets that are kept in Secrets.

Public keys go into the snapshot, and only their public members; a client secret goes into the credentials Secret.
"""

import hashlib
from collections.abc import Mapping

import msgspec

from tidegate_dataplane.snapshot.entries import PolicyEntry, SecretRef, TokenKind, TokenProviderEntry
from tidegate_operator.compile.forms import Forms
from tidegate_operator.compile.key_sets import KeySetReading, read_key_set
from tidegate_operator.compile.lowered import Lowered
from tidegate_operator.compile.memo import Memo
from tidegate_operator.compile.problems import Problems
from tidegate_operator.compile.secret_values import Secrets, found_value, header_value


def lower_providers(forms: Forms, secrets: Secrets, memo: Memo, out: Lowered) -> None:
    """Fill in what Secrets hold, in every policy in force that names one. One that is missing lets nobody in."""
    readings = Readings(memo.key_sets)
    for key, entry in forms.policies.items():
        if not _names_secret(entry):
            continue
        problems = Problems()
        resolved = _resolved(entry, secrets, problems, out, readings)
        known = memo.entries.get(key)
        out.entries[key] = known if known is not None and known == resolved else resolved
        if findings := problems.found():
            out.unresolved[key] = (*out.unresolved.get(key, ()), *findings)
    memo.key_sets = readings.used


class Readings:
    """Reads each key set once, for as long as it is used. `used` may hold what is secret: it never leaves the memo."""

    def __init__(self, former: Mapping[bytes, KeySetReading]) -> None:
        self._former = former
        self.used: dict[bytes, KeySetReading] = {}

    def of(self, value: bytes) -> KeySetReading:
        found = self._former.get(value) or self.used.get(value) or read_key_set(value)
        self.used[value] = found
        return found


def provider_credential(policy: str, provider: str) -> str:
    """Key of a client secret in the credentials Secret; distinct from those of all backends and other providers."""
    return "introspection-" + hashlib.sha256(f"{policy}/{provider}".encode("utf-8", "surrogatepass")).hexdigest()


def _names_secret(entry: PolicyEntry) -> bool:
    section = entry.authentication
    return section is not None and any(provider.secret is not None for provider in section.providers)


def _resolved(
    entry: PolicyEntry, secrets: Secrets, problems: Problems, out: Lowered, readings: Readings
) -> PolicyEntry:
    section = entry.authentication
    if section is None:
        return entry
    providers = []
    places = {TokenKind.JWT: 0, TokenKind.INTROSPECTION: 0}
    for provider in section.providers:
        place = places[provider.kind]
        places[provider.kind] += 1
        if provider.secret is None:
            providers.append(provider)
        elif provider.kind is TokenKind.JWT:
            field = f"spec.authentication.jwt[{place}].jwksSecretRef"
            namespace = entry.source.namespace
            providers.append(_with_keys(provider, provider.secret, namespace, secrets, field, problems, readings))
        else:
            field = f"spec.authentication.introspection[{place}].clientSecretRef"
            providers.append(_with_credential(entry, provider, provider.secret, secrets, field, problems, out))
    return msgspec.structs.replace(entry, authentication=msgspec.structs.replace(section, providers=tuple(providers)))


def _with_keys(
    provider: TokenProviderEntry,
    secret: SecretRef,
    namespace: str,
    secrets: Secrets,
    field: str,
    problems: Problems,
    readings: Readings,
) -> TokenProviderEntry:
    value = found_value(secret, namespace, secrets, field, problems)
    if value is None:
        return msgspec.structs.replace(provider, jwks="")
    found = readings.of(value)
    for fault in found.faults:
        problems.add(field, f"key {secret.key} of Secret {secret.name} {fault}")
    return msgspec.structs.replace(provider, jwks=found.text)


def _with_credential(
    entry: PolicyEntry,
    provider: TokenProviderEntry,
    secret: SecretRef,
    secrets: Secrets,
    field: str,
    problems: Problems,
    out: Lowered,
) -> TokenProviderEntry:
    name = provider_credential(entry.source.key, provider.name)
    value = header_value(secret, entry.source.namespace, secrets, field, problems)
    if value is not None:
        out.credentials[name] = value
    return msgspec.structs.replace(provider, credential=name)
