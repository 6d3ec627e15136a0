"""Demands for tests of the ledger."""

from tidegate_dataplane.ledger.demand import MEASURES, Demand, Measure, Terms, Window
from tidegate_dataplane.snapshot.entries import CalendarPeriod, Unit


def bucket(key: str = "bucket", *, burst: int, rate: float, obeyed: bool = True) -> Demand:
    terms = Terms("AIPolicy", "team-a/rates", 1, key, Unit.REQUESTS, Measure.REQUESTS, rate=rate)
    return Demand(key, terms, burst, obeyed=obeyed)


def allowance(
    key: str = "quota", *, amount: int, window: Window, unit: Unit = Unit.TOKENS, obeyed: bool = True
) -> Demand:
    terms = Terms("Quota", "team-a/quota", 1, unit, unit, MEASURES[unit], window=window)
    return Demand(f"{key}/{unit}/{window.label}", terms, amount, obeyed=obeyed)


def sliding(seconds: float) -> Window:
    return Window(None, "UTC", seconds, f"sliding:{seconds}s")


def calendar(period: CalendarPeriod, time_zone: str = "UTC") -> Window:
    return Window(period, time_zone, 0.0, f"{period}@{time_zone}")


def slots(amount: int, key: str = "slots") -> Demand:
    """So many calls at once."""
    terms = Terms("Quota", "team-a/quota", 1, Unit.CONCURRENT, Unit.CONCURRENT, Measure.CONCURRENT)
    return Demand(key, terms, amount)
