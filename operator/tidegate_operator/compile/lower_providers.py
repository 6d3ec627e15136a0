"""Providers of tokens: key sets and client secrets that are kept in Secrets.

Public keys go into the snapshot, and only their public members; a client secret goes into the credentials Secret.
"""

import hashlib
import json

import msgspec

from tidegate_dataplane.authenticate.keys import KeySetError, parse_key_set
from tidegate_dataplane.snapshot.entries import PolicyEntry, SecretRef, TokenKind, TokenProviderEntry
from tidegate_operator.compile.forms import Forms
from tidegate_operator.compile.lowered import Lowered
from tidegate_operator.compile.memo import Memo
from tidegate_operator.compile.problems import Problems
from tidegate_operator.compile.secret_values import Secrets, found_value, header_value

# RFC 7517, section 4, and RFC 7518, section 6: what may be known to everybody.
_PUBLIC = frozenset({"kty", "use", "key_ops", "alg", "kid", "n", "e", "crv", "x", "y"})
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def lower_providers(forms: Forms, secrets: Secrets, memo: Memo, out: Lowered) -> None:
    """Fill in what Secrets hold, in every policy in force that names one. One that is missing lets nobody in."""
    for key, entry in forms.policies.items():
        if not _names_secret(entry):
            continue
        problems = Problems()
        resolved = _resolved(entry, secrets, problems, out)
        known = memo.entries.get(key)
        out.entries[key] = known if known is not None and known == resolved else resolved
        if findings := problems.found():
            out.unresolved[key] = (*out.unresolved.get(key, ()), *findings)


def provider_credential(policy: str, provider: str) -> str:
    """Key of a client secret in the credentials Secret; distinct from those of all backends and other providers."""
    return "introspection-" + hashlib.sha256(f"{policy}/{provider}".encode("utf-8", "surrogatepass")).hexdigest()


def _names_secret(entry: PolicyEntry) -> bool:
    section = entry.authentication
    return section is not None and any(provider.secret is not None for provider in section.providers)


def _resolved(entry: PolicyEntry, secrets: Secrets, problems: Problems, out: Lowered) -> PolicyEntry:
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
            providers.append(_with_keys(provider, provider.secret, entry.source.namespace, secrets, field, problems))
        else:
            field = f"spec.authentication.introspection[{place}].clientSecretRef"
            providers.append(_with_credential(entry, provider, provider.secret, secrets, field, problems, out))
    return msgspec.structs.replace(entry, authentication=msgspec.structs.replace(section, providers=tuple(providers)))


def _with_keys(
    provider: TokenProviderEntry, secret: SecretRef, namespace: str, secrets: Secrets, field: str, problems: Problems
) -> TokenProviderEntry:
    value = found_value(secret, namespace, secrets, field, problems)
    if value is None:
        return msgspec.structs.replace(provider, jwks="")
    try:
        keys = parse_key_set(value)
    except KeySetError as error:
        problems.add(field, f"key {secret.key} of Secret {secret.name} is no usable JWK set (RFC 7517): {error}")
        return msgspec.structs.replace(provider, jwks="")
    text, private = _public_part(value)
    if private:
        problems.add(field, f"key {secret.key} of Secret {secret.name} holds private keys: leave only public ones")
    if not keys.keys:
        why = f": {keys.skipped[0]}" if keys.skipped else ""
        problems.add(field, f"key {secret.key} of Secret {secret.name} holds no key that can be used{why}")
    return msgspec.structs.replace(provider, jwks=text)


def _public_part(value: bytes) -> tuple[str, bool]:
    """The key set in canonical form without anything that is not public, and whether there was something private."""
    members = [member for member in json.loads(value)["keys"] if isinstance(member, dict)]
    private = any(not _PRIVATE.isdisjoint(member) for member in members)
    public = [
        {name: member[name] for name in sorted(member) if name in _PUBLIC}
        for member in members
        if member.get("kty") != "oct"
    ]
    return json.dumps({"keys": public}, separators=(",", ":")), private


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
