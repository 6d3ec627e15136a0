"""What `/-/status` and `/metrics` say of identity providers. Names come from policies, never from callers."""

from collections.abc import Iterator

from msgspec import Struct
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from tidegate_dataplane.authenticate.tokens import Tokens
from tidegate_dataplane.snapshot.entries import TokenKind


class ProviderStatus(Struct, frozen=True, rename="camel"):
    """How an identity provider fares. `name` is its issuer, the address of its keys, or of its introspection endpoint.

    JWT: `keys` are usable, `skipped` says why others are not, `keys_age` in seconds since they were last fetched, None
    before the first time. `failures` counts all, `error` says why the last attempt failed, "" when it did not.
    """

    name: str
    kind: TokenKind
    failures: int
    error: str
    keys: int | None = None
    keys_age: float | None = None
    skipped: tuple[str, ...] = ()


def statuses(tokens: Tokens) -> tuple[ProviderStatus, ...]:
    """All providers that are asked; those whose keys come from a Secret are not."""
    found = [
        ProviderStatus(
            state.name, TokenKind.JWT, state.failures, state.error, state.keys, state.age, skipped=state.skipped
        )
        for state in tokens.key_sets.states
    ]
    found += [
        ProviderStatus(state.name, TokenKind.INTROSPECTION, state.failures, state.error)
        for state in tokens.introspector.states
    ]
    return tuple(sorted(found, key=lambda status: (status.name, status.kind)))


def families(tokens: Tokens) -> Iterator[Metric]:
    """Metrics by provider."""
    age = GaugeMetricFamily(
        "tidegate_jwks_age_seconds", "Time since the keys of an issuer were last fetched.", labels=["issuer"]
    )
    keys = GaugeMetricFamily("tidegate_jwks_keys", "Usable keys of an issuer.", labels=["issuer"])
    failures = CounterMetricFamily(
        "tidegate_identity_provider_failures", "Times that a provider did not answer.", labels=["provider", "kind"]
    )
    for status in statuses(tokens):
        failures.add_metric([status.name, status.kind], status.failures)
        if status.keys_age is not None:
            age.add_metric([status.name], status.keys_age)
            keys.add_metric([status.name], status.keys or 0)
    yield from (age, keys, failures)
    yield GaugeMetricFamily("tidegate_tokens_remembered", "Verified tokens that are cached.", value=tokens.remembered)
