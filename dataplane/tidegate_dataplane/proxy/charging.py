"""What a finished call cost, for the accounts: its usage at the price of the target that answered."""

from typing import Final

import msgspec
from msgspec import Struct

from tidegate_dataplane.pricing.price import Price, PriceSource, cost
from tidegate_dataplane.proxy.exchange import Exchange
from tidegate_dataplane.proxy.intake import Prompt


class Charge(Struct, frozen=True, gc=False):
    """Micro-dollars, None where nobody knows the price; `table` is what the price stands in (16 hex digits)."""

    cost: int | None
    source: PriceSource
    table: str = ""


UNKNOWN: Final = Charge(None, PriceSource.UNKNOWN)
_decode_name = msgspec.json.Decoder(str).decode


def charge_of(exchange: Exchange, default: Price | None = None) -> Charge | None:
    """What the call cost; `default` is the price where there is none. None when no provider did anything.

    To be asked when the usage is final.
    """
    tokens, target = exchange.tokens, exchange.target
    if tokens is None or target is None:
        return None
    prompt = exchange.prompt
    price = exchange.prices.of(target.backend, target.model or ("" if prompt is None else prompt.model)) or default
    if price is None:
        return UNKNOWN
    if price.services:
        price = price.in_service(tokens.service or asked_service(prompt))
    return Charge(cost(price, tokens), price.source, price.table)


def asked_service(prompt: Prompt | None) -> str:
    """The service tier that a call asks for; "" when it says none."""
    if prompt is None or "service_tier" not in prompt.fields:
        return ""
    try:
        return _decode_name(prompt.fields["service_tier"])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
