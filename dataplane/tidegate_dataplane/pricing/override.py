"""The prices that a backend itself names."""

import hashlib

import msgspec

from tidegate_dataplane.pricing.lookup import HASH_DIGITS
from tidegate_dataplane.pricing.price import Price, PriceSource, lower_price
from tidegate_dataplane.snapshot.entries import BackendEntry


def overrides(entry: BackendEntry) -> dict[str, Price]:
    """By model. Their table is the backend's own: its hash changes with any of its prices."""
    if not entry.prices:
        return {}
    found = hashlib.sha256(msgspec.json.encode(entry.prices, order="deterministic")).hexdigest()[:HASH_DIGITS]
    return {model: lower_price(price, PriceSource.OVERRIDE, found) for model, price in entry.prices.items()}
