"""What the providers in use want of tokens, worked out once for each configuration.

Thousands of policies may trust one issuer. Those that want the same are one check, and a token meets only the checks
that want an audience which it names: so what a token costs does not grow with the number of policies.
"""

import logging
from collections.abc import Mapping
from math import inf
from typing import Final

from msgspec import Struct

from tidegate_dataplane.authenticate.fetching import KeySource
from tidegate_dataplane.authenticate.keys import NO_KEYS, KeySet, KeySetError, parse_key_set
from tidegate_dataplane.authenticate.verification import allowed_algorithms
from tidegate_dataplane.snapshot.entries import TokenProviderEntry

_log = logging.getLogger(__name__)


class Check(Struct, frozen=True, eq=False):
    """Providers that want the same of a token: `names` are their keys, `provider` is one of them.

    Keys come from `source`, or are `fixed`. `skew` and `max_key_age` in seconds.
    """

    provider: TokenProviderEntry
    names: frozenset[str]
    algorithms: frozenset[str]
    source: KeySource
    fixed: KeySet | None
    skew: float
    max_key_age: float


class IssuerChecks(Struct, frozen=True, eq=False):
    """All checks of one issuer, by the audience that they want; `open` are those that want none. `names` are the keys
    of all their providers."""

    by_audience: Mapping[str, tuple[Check, ...]]
    open: tuple[Check, ...]
    names: frozenset[str]

    def of(self, audience: object) -> tuple[Check, ...]:
        """The checks that a token with this aud may pass (RFC 7519, section 4.1.3: a string, or a list of them)."""
        if audience is None:
            return self.open
        if isinstance(audience, str):
            return self.by_audience.get(audience, ())
        if not isinstance(audience, list):
            return ()
        named = [name for name in audience if isinstance(name, str) and name in self.by_audience]
        found = {id(check): check for name in named for check in self.by_audience[name]}
        return tuple(found.values())


def checks_of(providers: Mapping[str, TokenProviderEntry]) -> dict[str, IssuerChecks]:
    """The checks of each issuer. A key set that cannot be read counts as one without keys, and the log says so."""
    grouped: dict[tuple[object, ...], list[str]] = {}
    for name, entry in sorted(providers.items()):
        wants = (entry.audiences, entry.authorized_parties, entry.algorithms, entry.clock_skew_ms)
        keys_from = (entry.jwks, source_of(entry), entry.max_key_age_ms)
        grouped.setdefault((entry.issuer, *wants, *keys_from), []).append(name)
    fixed: dict[str, KeySet] = {}
    found: dict[str, dict[str, list[Check]]] = {}
    for names in grouped.values():
        check = _check(providers[names[0]], names, fixed)
        by_audience = found.setdefault(check.provider.issuer, {})
        for audience in check.provider.audiences or (_ANY,):
            by_audience.setdefault(audience, []).append(check)
    return {
        issuer: IssuerChecks(
            by_audience={audience: tuple(checks) for audience, checks in by_audience.items() if audience != _ANY},
            open=tuple(by_audience.get(_ANY, ())),
            names=frozenset(name for checks in by_audience.values() for check in checks for name in check.names),
        )
        for issuer, by_audience in found.items()
    }


def sources_of(providers: Mapping[str, TokenProviderEntry]) -> dict[KeySource, float]:
    """Where keys must be fetched, each with the shortest period that anybody wants, in seconds.

    Keys that may not grow old are asked for often enough that one failure does not make them too old.
    """
    found: dict[KeySource, float] = {}
    for entry in providers.values():
        if not is_fixed(entry):
            source, wanted = source_of(entry), min(entry.refresh_ms, entry.max_key_age_ms / 3) / 1000
            found[source] = min(found.get(source, inf), wanted)
    return found


def source_of(entry: TokenProviderEntry) -> KeySource:
    if entry.jwks_uri:
        return KeySource(uri=entry.jwks_uri, ca_bundle=entry.ca_bundle)
    return KeySource(issuer=entry.issuer, ca_bundle=entry.ca_bundle)


def is_fixed(entry: TokenProviderEntry) -> bool:
    """Whether the keys come from a Secret, also when that is not there yet: then nothing else takes its place."""
    return bool(entry.jwks) or entry.secret is not None


# No token names it: an aud that is "" is one that nobody expects.
_ANY: Final = ""


def _check(entry: TokenProviderEntry, names: list[str], fixed: dict[str, KeySet]) -> Check:
    keys: KeySet | None = None
    if is_fixed(entry):
        keys = fixed.get(entry.jwks)
        if keys is None:
            keys = fixed[entry.jwks] = _fixed_keys(names[0], entry.jwks)
    return Check(
        provider=entry,
        names=frozenset(names),
        algorithms=allowed_algorithms(entry),
        source=source_of(entry),
        fixed=keys,
        skew=entry.clock_skew_ms / 1000,
        max_key_age=entry.max_key_age_ms / 1000,
    )


def _fixed_keys(name: str, text: str) -> KeySet:
    try:
        return parse_key_set(text.encode("utf-8"))
    except KeySetError as error:
        _log.warning("the key set of %s cannot be used: %s", name, error)
        return NO_KEYS
