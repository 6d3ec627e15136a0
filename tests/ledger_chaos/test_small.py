"""The shared ledger under faults, in small; `make chaos-ledger` does it in the numbers that were promised."""

from __future__ import annotations

import pytest

from ledger_chaos.callers import End
from ledger_chaos.run import Plan, run

pytestmark = pytest.mark.kills


@pytest.mark.parametrize(("accuracy", "seed"), [("Exact", 101), ("Leased", 102)])
async def test_never_over_the_limit_and_the_ledger_has_what_was_delivered(accuracy: str, seed: int) -> None:
    plan = Plan(accuracy, seed, planes=3, callers=24, kills=2, kinds=4, seconds=5.0, tokens=10_000, dollars=1)
    result = await run(plan)
    assert result.problems == []
    assert result.ends[End.FINISHED] > 20, "hardly anything was asked"
    assert result.ends[End.LEFT] > 0
    assert result.samples > 20, "the store was hardly looked at"
    assert len(result.faults) == plan.kinds + 2 * plan.kills
    # The last requests of so small a quota ask for more than is left.
    assert result.usable >= 0.9
