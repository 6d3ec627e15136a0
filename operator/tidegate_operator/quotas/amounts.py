"""Amounts as people write them: money in dollars, computing time in seconds, all else as it is counted. Pure."""

from decimal import Decimal

from tidegate_dataplane.snapshot.entries import Unit

_DECIMALS = {Unit.COST: 6, Unit.COMPUTE_SECONDS: 3}
_UNIT_NAMES = {unit.value: unit for unit in Unit}


def shown_amount(amount: int, unit: str) -> str:
    """An amount in the unit of a Quota's `amount`: micro-dollars as dollars such as 10.5, milliseconds as seconds."""
    decimals = _DECIMALS.get(_UNIT_NAMES.get(unit, Unit.REQUESTS), 0)
    if not decimals:
        return str(amount)
    text = f"{Decimal(amount).scaleb(-decimals):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
