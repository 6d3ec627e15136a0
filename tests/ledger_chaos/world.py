"""The world of a run: one route to the provider, one consumer, and a quota of tokens and of money that all share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench import worlds

NAMESPACE = worlds.namespace_of(0)
MODEL = worlds.model_of(0)
KEY = worlds.api_key(0)
TOKENS = 100_000
DOLLARS = 10
MICRO_DOLLARS = DOLLARS * 1_000_000
# Micro-dollars for a token; a call of 20 tokens in and 100 out makes tokens and money run out at about the same time.
INPUT_PRICE = 56
OUTPUT_PRICE = 124
QUOTA = "budget"


def manifests(
    endpoint: str, *, accuracy: str, failure_mode: str = "Closed", tokens: int = TOKENS, dollars: int = DOLLARS
) -> list[worlds.Manifest]:
    """Everything the planes serve. No window ends while a run lasts, unless it begins in the last minute of a year."""
    year = {"calendar": "Year"}
    quota = {
        "per": "Namespace",
        "accuracy": accuracy,
        "failureMode": failure_mode,
        "limits": [
            {"unit": "Tokens", "amount": str(tokens), "window": year},
            {"unit": "Cost", "amount": str(dollars), "window": year},
        ],
    }
    return tenant(endpoint, quotas={QUOTA: quota})


def tenant(
    endpoint: str, *, quotas: Mapping[str, worlds.Manifest], rate_limits: Sequence[worlds.Manifest] = ()
) -> list[worlds.Manifest]:
    """A namespace with one route and one consumer; `quotas` are specs by name, without their targets."""
    price = {"input": str(INPUT_PRICE), "output": str(OUTPUT_PRICE)}
    backend = {
        "provider": "OpenAICompatible",
        "endpoint": endpoint,
        "models": [{"name": "gpt-4o-mini", "price": price}],
    }
    route = {
        "models": [MODEL],
        "operations": ["Chat"],
        "targets": [{"backendRef": {"name": "models"}, "model": "gpt-4o-mini"}],
        "timeout": "30s",
        "retry": {"attempts": 0},
    }
    here = {"targetRefs": [{"kind": "Namespace"}]}
    policy: worlds.Manifest = {**here, "authentication": {"methods": ["APIKey"]}}
    if rate_limits:
        policy["rateLimits"] = list(rate_limits)
    return [
        _manifest("AIBackend", "models", backend),
        _manifest("AIRoute", worlds.route_name(0), route),
        _manifest("AIPolicy", "callers", policy),
        *(_manifest("Quota", name, {**here, **spec}) for name, spec in quotas.items()),
        worlds.consumer(0, NAMESPACE),
    ]


def cost(input: int, output: int) -> int:
    """Micro-dollars."""
    return input * INPUT_PRICE + output * OUTPUT_PRICE


def _manifest(kind: str, name: str, spec: worlds.Manifest) -> worlds.Manifest:
    return {
        "apiVersion": worlds.API_VERSION,
        "kind": kind,
        "metadata": {"namespace": NAMESPACE, "name": name},
        "spec": spec,
    }
