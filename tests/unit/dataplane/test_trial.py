"""What a data plane counts while a revision is tried: at no other time, and never without bounds."""

from __future__ import annotations

import msgspec
import pytest

from dataplane.factory import KEY, OTHER_KEY, bundle_of, consumer, policy, shard
from dataplane.planes import running
from dataplane.raw_http import admin, chat, exchange, request
from tidegate_dataplane import trial
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.snapshot.entries import Effect, RuleEntry
from tidegate_dataplane.trial import LATENCY_BOUNDS, Tally, TrialReport

STRANGER = "sk-of-nobody-known-00001"
NOT_OTHER = policy(rules=(RuleEntry("not-other", Effect.DENY, when="consumer.name == 'other'"),))
WORLD = shard(policies=[NOT_OTHER], consumers=[consumer(), consumer("other", key=OTHER_KEY)])


async def told(plane: DataPlane) -> TrialReport:
    return msgspec.json.decode((await admin(plane, "/-/rollout")).body, type=TrialReport)


async def call(plane: DataPlane, key: str) -> int:
    return (await exchange(plane, request(chat(), key=key))).status


async def test_nothing_is_counted_while_nothing_is_tried() -> None:
    async with running(bundle_of(WORLD)) as plane:
        await call(plane, KEY)
        assert await told(plane) == TrialReport(0, 1, {})


async def test_calls_are_counted_by_revision_and_consumer_and_anew_in_each_trial() -> None:
    async with running(bundle_of(WORLD)) as plane:
        plane._trial.follow(7)
        answers = [await call(plane, key) for key in (KEY, KEY, OTHER_KEY, STRANGER)]
        assert answers == [200, 200, 403, 401]
        await plane.reloader.offer(bundle_of(WORLD, revision=2))
        await call(plane, KEY)
        report = await told(plane)
        assert (report.trial, report.revision) == (7, 2)
        assert report.revisions[1].total == Tally(served=2, denied=2)
        assert report.revisions[1].consumers == {
            "team-a/search": Tally(served=2),
            "team-a/other": Tally(denied=1),
            "(nobody)": Tally(denied=1),
        }
        assert report.revisions[2].total == Tally(served=1)
        assert len(report.revisions[1].latency) == len(LATENCY_BOUNDS) + 1
        plane._trial.follow(8)
        assert (await told(plane)).revisions == {}
        plane._trial.follow(0)
        await call(plane, KEY)
        assert (await told(plane)).revisions == {}


async def test_consumers_beyond_the_bound_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "MAX_CONSUMERS", 1)
    async with running(bundle_of(WORLD)) as plane:
        plane._trial.follow(7)
        for key in (KEY, OTHER_KEY, STRANGER):
            await call(plane, key)
        assert set((await told(plane)).revisions[1].consumers) == {"team-a/search", "(others)"}
