"""Data planes are upgraded before the operator: until it publishes anew, they serve what its older version wrote."""

import pytest

from samples import schema_2
from tidegate_dataplane.reload import Outcome, Reloader
from tidegate_dataplane.snapshot.codec import Refusal
from tidegate_dataplane.snapshot.entries import OLDEST_SCHEMA_VERSION, Accuracy, FailureMode


async def test_a_fresh_data_plane_serves_what_an_older_operator_published() -> None:
    reloader = Reloader("default")
    assert await reloader.offer(schema_2.published()) is Outcome.LOADED
    runtime = reloader.runtime
    assert runtime is not None
    assert sorted(runtime.routes) == ["default/chat"]
    (quota,) = [entry for shard in reloader.loaded.shards.values() for entry in shard.quotas] if reloader.loaded else []
    # What version 2 could not say means what it meant then.
    assert (quota.accuracy, quota.failure_mode, quota.share, quota.parent) == (
        Accuracy.LOCAL,
        FailureMode.CLOSED,
        100,
        "",
    )
    assert [limit.amount for limit in quota.limits] == [5_000_000, 1_000]


@pytest.mark.parametrize("schema", range(OLDEST_SCHEMA_VERSION))
async def test_what_is_older_still_is_refused_with_what_to_do(schema: int) -> None:
    reloader = Reloader("default")
    assert await reloader.offer(schema_2.published(schema=schema)) is Outcome.REFUSED
    assert reloader.last_refusal is not None
    assert reloader.last_refusal.reason is Refusal.CORRUPTED
    assert "an operator of this version publishes it anew" in reloader.last_refusal.message
