"""The reference of bounds says what statuses say."""

from pathlib import Path

import pytest

from tidegate_dataplane.snapshot.entries import (
    Accuracy,
    CalendarPeriod,
    FailureMode,
    LimitEntry,
    OnExceed,
    QuotaEntry,
    QuotaScope,
    Source,
    Unit,
    WindowEntry,
)
from tidegate_operator.quotas.bounds import overrun_bound

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "quotas-bounds.md").read_text()
MONTH = WindowEntry(calendar=CalendarPeriod.MONTH)


def _quota(
    accuracy: Accuracy, mode: FailureMode, unit: Unit = Unit.REQUESTS, on_exceed: OnExceed = OnExceed.BLOCK
) -> QuotaEntry:
    limit = LimitEntry(unit, 1000, MONTH, on_exceed)
    source = Source("team-a", "monthly", 1)
    return QuotaEntry(source, (), QuotaScope.CONSUMER, (limit,), accuracy=accuracy, failure_mode=mode, safe_share=50)


@pytest.mark.parametrize("accuracy", Accuracy)
@pytest.mark.parametrize("mode", FailureMode)
@pytest.mark.parametrize("data_planes", [0, 1, 3])
def test_every_bound_stands_in_the_table(accuracy: Accuracy, mode: FailureMode, data_planes: int) -> None:
    assert f"| {overrun_bound(_quota(accuracy, mode), data_planes)} |\n" in PAGE


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize("on_exceed", OnExceed)
def test_everything_that_a_limit_adds_stands_there_too(unit: Unit, on_exceed: OnExceed) -> None:
    plain = overrun_bound(_quota(Accuracy.EXACT, FailureMode.CLOSED), 2)
    bound = overrun_bound(_quota(Accuracy.EXACT, FailureMode.CLOSED, unit, on_exceed), 2)
    added = [part for part in bound.removeprefix(plain).split("; ") if part]
    for part in added:
        said = part.replace(f"{unit.value} per", "Requests per").replace(f": {on_exceed.value})", ": Alert)")
        assert f"| {said} |\n" in PAGE
