"""What a finished call cost, for the accounts: its usage at the price of the target that answered."""

from msgspec import Struct

from tidegate_dataplane.pricing.price import Price, PriceSource, cost
from tidegate_dataplane.proxy.exchange import Exchange


class Charge(Struct, frozen=True, gc=False):
    """Micro-dollars, None where nobody knows the price; `table` is what the price stands in (16 hex digits)."""

    cost: int | None
    source: PriceSource
    table: str = ""


UNKNOWN = Charge(None, PriceSource.UNKNOWN)


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
    return Charge(cost(price, tokens), price.source, price.table)
