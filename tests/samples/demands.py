"""Demands for tests of the ledger."""

from tidegate_dataplane.ledger.demand import MEASURES, Demand, Measure, Window
from tidegate_dataplane.snapshot.entries import CalendarPeriod, Unit


def bucket(key: str = "bucket", *, burst: int, rate: float, obeyed: bool = True, shadow: bool = False) -> Demand:
    return Demand(
        key=key,
        kind="AIPolicy",
        object="team-a/rates",
        generation=1,
        name=key,
        unit=Unit.REQUESTS,
        measure=Measure.REQUESTS,
        amount=burst,
        rate=rate,
        obeyed=obeyed,
        shadow=shadow,
    )


def allowance(
    key: str = "quota", *, amount: int, window: Window, unit: Unit = Unit.TOKENS, obeyed: bool = True
) -> Demand:
    return Demand(
        key=f"{key}/{unit}/{window.label}",
        kind="Quota",
        object="team-a/quota",
        generation=1,
        name=unit,
        unit=unit,
        measure=MEASURES[unit],
        amount=amount,
        window=window,
        obeyed=obeyed,
    )


def sliding(seconds: float) -> Window:
    return Window(None, "UTC", seconds, f"sliding:{seconds}s")


def calendar(period: CalendarPeriod, time_zone: str = "UTC") -> Window:
    return Window(period, time_zone, 0.0, f"{period}@{time_zone}")
