"""The figures of a Quota as part of its status subresource: JSON data, written and read back. Pure."""

from collections.abc import Mapping
from typing import Any

from tidegate_operator.quotas.figures import FullCounter, QuotaFigures


def figures_body(figures: QuotaFigures) -> dict[str, Any]:
    """What stands beside the conditions. The columns of `kubectl get quotas` show the fullest counter."""
    body: dict[str, Any] = {
        "counters": figures.counters,
        "top": [_counter_body(counter) for counter in figures.top] or None,
        "overrunBound": figures.overrun_bound or None,
        "store": figures.store or None,
    }
    if figures.top:
        first = figures.top[0]
        body |= {
            "used": first.used,
            "limit": first.amount,
            "percent": first.percent,
            "resets": first.resets or None,
            "fullest": f"{first.limit} of {first.scope}" if first.scope else first.limit,
        }
    return {name: value for name, value in body.items() if value is not None}


def parse_figures(raw: Mapping[str, Any]) -> QuotaFigures | None:
    """The figures of a status; None when it has none. What is malformed counts as absent."""
    if "counters" not in raw:
        return None
    listed = raw.get("top")
    return QuotaFigures(
        counters=_integer(raw.get("counters")),
        top=tuple(
            _parse_counter(item) for item in (listed if isinstance(listed, list) else ()) if isinstance(item, Mapping)
        ),
        overrun_bound=str(raw.get("overrunBound") or ""),
        store=str(raw.get("store") or ""),
    )


def _counter_body(counter: FullCounter) -> dict[str, Any]:
    body = {
        "limit": counter.limit,
        "scope": counter.scope or None,
        "used": counter.used,
        "amount": counter.amount,
        "percent": counter.percent,
        "resets": counter.resets or None,
    }
    return {name: value for name, value in body.items() if value is not None}


def _parse_counter(item: Mapping[str, Any]) -> FullCounter:
    limit, scope, used, amount, resets = (
        str(item.get(part) or "") for part in ("limit", "scope", "used", "amount", "resets")
    )
    return FullCounter(limit, scope, used, amount, _integer(item.get("percent")), resets)


def _integer(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
