"""Demands for tests of the ledger."""

from tidegate_dataplane.ledger.demand import MEASURES, Demand, Terms, Window
from tidegate_dataplane.snapshot.entries import CalendarPeriod, OnExceed, Unit


def bucket(key: str = "bucket", *, burst: int, rate: float, obeyed: bool = True, shadow: bool = False) -> Demand:
    terms = Terms(
        kind="AIPolicy",
        object="team-a/rates",
        generation=1,
        name=key,
        unit=Unit.REQUESTS,
        measure=MEASURES[Unit.REQUESTS],
        rate=rate,
        shadow=shadow,
    )
    return Demand(key, terms, burst, obeyed=obeyed)


def allowance(
    key: str = "quota",
    *,
    amount: int,
    window: Window | None,
    unit: Unit = Unit.TOKENS,
    obeyed: bool = True,
    on_exceed: OnExceed = OnExceed.BLOCK,
) -> Demand:
    terms = Terms(
        kind="Quota",
        object="team-a/quota",
        generation=1,
        name=unit,
        unit=unit,
        measure=MEASURES[unit],
        window=window,
        on_exceed=on_exceed,
    )
    return Demand(f"{key}/{unit}/{window.label if window else ''}", terms, amount, obeyed=obeyed)


def slots(amount: int, key: str = "slots") -> Demand:
    """So many calls at once."""
    return allowance(key, amount=amount, window=None, unit=Unit.CONCURRENT)


def sliding(seconds: float) -> Window:
    return Window(None, "UTC", seconds, f"sliding:{seconds}s")


def calendar(period: CalendarPeriod, time_zone: str = "UTC") -> Window:
    return Window(period, time_zone, 0.0, f"{period}@{time_zone}")
