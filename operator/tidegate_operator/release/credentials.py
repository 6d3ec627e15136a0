"""The upstream credentials that a held content names, with the values that its Secrets have now. Pure."""

from collections.abc import Iterator, Mapping

from tidegate_dataplane.snapshot.entries import BackendEntry, PolicyEntry, QuotaEntry, SecretRef, TokenKind
from tidegate_operator.compile.compiled import AnyEntry, Served
from tidegate_operator.compile.problems import Problems
from tidegate_operator.compile.secret_values import Secrets, header_value


def credentials_of(served: Served, secrets: Secrets) -> dict[str, bytes]:
    """By their names in the credentials Secret; one whose Secret is gone is left out. Never logged."""
    found: dict[str, bytes] = {}
    for entry in served.entries.values():
        for name, reference in _references(entry):
            value = header_value(reference, entry.source.namespace, secrets, "", Problems())
            if value is not None:
                found[name] = value
    return found


def joined(held: Mapping[str, bytes], present: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those of a held content, and beside them those of the present that it does not name."""
    return dict(sorted({**present, **held}.items()))


def _references(entry: AnyEntry) -> Iterator[tuple[str, SecretRef]]:
    if isinstance(entry, BackendEntry) and entry.secret is not None and entry.credential:
        yield entry.credential, entry.secret
    elif isinstance(entry, PolicyEntry) and entry.authentication is not None:
        for provider in entry.authentication.providers:
            if provider.kind is TokenKind.INTROSPECTION and provider.secret is not None and provider.credential:
                yield provider.credential, provider.secret
    elif isinstance(entry, QuotaEntry) and entry.notify is not None and entry.notify.secret is not None:
        yield entry.notify.credential, entry.notify.secret
