"""While the store is away, a limit with failure mode Local lets each data plane use its part of the safe share."""

import time

import pytest

from samples.demands import calendar
from store_parts.told import ToldStore
from tidegate_dataplane.engine.admit import demand_of
from tidegate_dataplane.ledger.demand import Excess, Measure, Terms, amounts_of
from tidegate_dataplane.ledger.journal import Journal
from tidegate_dataplane.ledger.ledger import Ledger, Reservation
from tidegate_dataplane.ledger.shared import SharedLedger
from tidegate_dataplane.snapshot.entries import Accuracy, CalendarPeriod, FailureMode, Unit


@pytest.mark.parametrize(("safe_share", "replicas", "admitted"), [(100, 1, 100), (100, 4, 25), (40, 2, 20), (0, 1, 0)])
async def test_the_part_of_each_data_plane(safe_share: int, replicas: int, admitted: int) -> None:
    terms = Terms(
        "Quota",
        "team-a/q",
        1,
        "Requests",
        Unit.REQUESTS,
        Measure.REQUESTS,
        "q/",
        window=calendar(CalendarPeriod.YEAR),
        accuracy=Accuracy.LEASED,
        failure=FailureMode.LOCAL,
        safe_share=safe_share,
    )
    store = ToldStore()
    shared = SharedLedger(store, Journal(), replicas=replicas)
    await shared.start()
    store.connected = False
    try:
        ledger, demand = Ledger(shared), demand_of(terms, 100, "", obeyed=True)
        found = [await ledger.acquire(f"call-{number}", (demand,), amounts_of(1), time.time()) for number in range(110)]
    finally:
        await shared.aclose()
    assert [isinstance(each, Reservation) for each in found] == [True] * admitted + [False] * (110 - admitted)
    assert all(isinstance(each, Excess) for each in found[admitted:])
