"""Trials: who takes part, what passes, what stays out, and what never waits."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import pytest

from tidegate_dataplane.snapshot.codec import digest, encode_shard
from tidegate_dataplane.snapshot.entries import SCHEMA_VERSION, ConsumerEntry, KeyEntry, RouteEntry, Shard, Source
from tidegate_operator.compile.compiled import Compiled, EncodedShard, Served
from tidegate_operator.conditions import PlaneReport
from tidegate_operator.release.content import Content, compiled_content
from tidegate_operator.release.gates import Failure
from tidegate_operator.release.planning import Plan
from tidegate_operator.release.stage import Phase, Stage
from tidegate_operator.release.stager import Stager, Staging, chosen_planes
from tidegate_operator.verdicts import Verdict
from tidegate_operator.world import Kind, ObjectKey

CHAT = ObjectKey(Kind.ROUTE, "team", "chat")


def compiled(model: str, *, generation: int = 1, suspended: bool = False, more: str = "") -> Compiled:
    """A route to `model`, a consumer, and maybe another route."""
    app = ConsumerEntry(Source("team", "app", 1), keys=(KeyEntry("k", "aa"),), suspended=suspended)
    routes = [RouteEntry(Source("team", "chat", generation), (model,), (), ())]
    routes += [RouteEntry(Source("team", "more", 1), (more,), (), ())] if more else []
    shard = Shard(SCHEMA_VERSION, routes=tuple(routes), consumers=(app,))
    data, served = encode_shard(shard), Served.from_shards([shard])
    verdicts = {
        key: Verdict(key, entry.source.generation, entry.source.generation) for key, entry in served.entries.items()
    }
    return Compiled((EncodedShard("00", data, digest(data)),), verdicts, {}, served)


@dataclass
class Bench:
    """A stager under the test's clock; `live` is what the plans publish."""

    clock: float = 100.0
    reports: list[PlaneReport] = field(default_factory=list)
    outcomes: int = 0
    stopped: list[str] = field(default_factory=list)
    live: Content | None = None
    revision: int = 1

    def __post_init__(self) -> None:
        self.reports = [PlaneReport(f"10.0.0.{n}:9090", True, 1, instance=f"pod-{n}:9090") for n in range(4)]
        self.stager = Stager(
            Staging(),
            reports=lambda: self.reports,
            urls=tuple,
            on_outcome=self._over,
            on_stop=self.stopped.append,
            clock=lambda: self.clock,
        )
        self.live = compiled_content(compiled("one"))

    def _over(self) -> None:
        self.outcomes += 1

    def reconcile(self, wanted: Compiled) -> Plan | None:
        """As the loop does; everything that is published succeeds."""
        plan = self.stager.plan(wanted, self.live, {})
        content = plan.content if plan is not None else compiled_content(wanted)
        if self.live is None or content.digest != self.live.digest:
            self.revision += 1
        self.live = content
        if plan is not None and plan.staged is not None:
            self.revision += 1
            self.stager.published(self.revision)
        else:
            self.stager.published(0)
        return plan

    def end(self, failure: Failure | None) -> None:
        """The trial is over, as `run` finds."""
        trial = self.stager._trial
        assert trial is not None
        trial.failure, trial.passed = failure, failure is None


DENIED = Failure("DenyRate", "of AIConsumer team/app, 12 of 12 calls were refused")


def test_a_change_is_tried_and_then_published_as_it_was() -> None:
    bench, wanted = Bench(), compiled("two", generation=2)
    plan = bench.reconcile(wanted)
    assert plan is not None
    assert plan.staged is not None
    assert len(plan.staged.planes) == 1
    assert plan.staged.content.digest == compiled_content(wanted).digest
    assert plan.content is bench.live
    assert plan.content.digest == compiled_content(compiled("one")).digest
    assert plan.held[CHAT].reason == "Canary"
    bench.end(None)
    plan = bench.reconcile(wanted)
    assert plan is not None
    assert plan.staged is None
    assert plan.held == {}
    assert plan.content.digest == compiled_content(wanted).digest
    assert bench.stager.tried == 0


def test_what_failed_is_taken_back_told_and_not_tried_again_until_it_changes() -> None:
    bench, wanted = Bench(), compiled("two", generation=2)
    bench.reconcile(wanted)
    bench.end(DENIED)
    for _ in range(3):
        plan = bench.reconcile(wanted)
        assert plan is not None
        assert plan.staged is None
        assert plan.stage.phase is Phase.STOPPED
        assert plan.held[CHAT].reason == "RolloutStopped"
        assert DENIED.message in plan.held[CHAT].message
        assert plan.compiled.verdicts[CHAT].served_generation == 1
    assert bench.stopped == ["DenyRate"]
    plan = bench.reconcile(compiled("three", generation=3))
    assert plan is not None
    assert plan.staged is not None


def test_the_next_leader_knows_what_failed() -> None:
    bench, wanted = Bench(), compiled("two", generation=2)
    bench.stager.recover(Stage(Phase.STOPPED, 7, compiled_content(wanted).digest, ("pod-1:9090",), "DenyRate", "x"))
    plan = bench.reconcile(wanted)
    assert plan is not None
    assert plan.staged is None
    assert "The roll-out of revision 7 was stopped on pod-1:9090 by gate DenyRate" in plan.held[CHAT].message


def test_git_revert_during_a_trial_ends_it() -> None:
    bench = Bench()
    bench.reconcile(compiled("two", generation=2))
    assert bench.reconcile(compiled("one", generation=3)) is None
    assert bench.stager.tried == 0


def test_only_closings_go_to_all_at_once() -> None:
    bench = Bench()
    assert bench.reconcile(compiled("one", suspended=True)) is None


def test_a_closing_beside_a_change_goes_to_all_and_into_the_trial() -> None:
    bench = Bench()
    bench.reconcile(compiled("two", generation=2))
    plan = bench.reconcile(compiled("two", generation=2, suspended=True))
    assert plan is not None
    assert plan.staged is not None
    for content in (plan.content, plan.staged.content):
        app = content.served.entries[ObjectKey(Kind.CONSUMER, "team", "app")]
        assert isinstance(app, ConsumerEntry)
        assert app.suspended
    assert plan.content.served.entries[CHAT].source.generation == 1


def test_what_is_declared_during_a_trial_waits_and_is_tried_next() -> None:
    bench = Bench()
    bench.reconcile(compiled("two", generation=2))
    later = compiled("two", generation=2, more="x")
    plan = bench.reconcile(later)
    assert plan is not None
    assert plan.staged is not None
    assert len(plan.staged.content.served.entries) == 2
    assert plan.held[ObjectKey(Kind.ROUTE, "team", "more")].message == "Waits for the roll-out of the change before it."
    bench.end(None)
    plan = bench.reconcile(later)
    assert plan is not None
    assert plan.staged is None
    assert len(plan.content.served.entries) == 2
    assert bench.outcomes == 1
    plan = bench.reconcile(later)
    assert plan is not None
    assert plan.staged is not None
    assert len(plan.staged.content.served.entries) == 3


def test_a_data_plane_that_refuses_it_stops_it_and_so_does_silence() -> None:
    bench = Bench()
    plan = bench.reconcile(compiled("two", generation=2))
    trial = bench.stager._trial
    assert plan is not None
    assert plan.staged is not None
    assert trial is not None
    assert bench.stager._not_run(trial) is None
    place = next(n for n, each in enumerate(bench.reports) if each.instance == plan.staged.planes[0])
    fine = bench.reports[place]
    bench.reports[place] = PlaneReport(fine.name, True, 1, "BuildFailed: no", fine.instance)
    failure = bench.stager._not_run(trial)
    assert failure is not None
    assert failure.gate == "Refused"
    bench.reports[place] = fine
    bench.clock += 21
    failure = bench.stager._not_run(trial)
    assert failure is not None
    assert failure.gate == "NotServed"


def test_data_planes_that_go_are_replaced_once() -> None:
    bench, wanted = Bench(), compiled("two", generation=2)
    plan = bench.reconcile(wanted)
    trial = bench.stager._trial
    assert plan is not None
    assert plan.staged is not None
    assert trial is not None
    first = set(plan.staged.planes)
    bench.reports = [report for report in bench.reports if report.instance not in first]
    assert bench.stager._moved(trial)
    plan = bench.reconcile(wanted)
    assert plan is not None
    assert plan.staged is not None
    assert not first & set(plan.staged.planes)
    assert plan.staged.trial == trial.number
    assert not bench.stager._moved(trial)


@pytest.mark.parametrize(
    ("planes", "share", "wanted"), [(1, 0.5, 0), (2, 0.01, 1), (2, 0.99, 1), (8, 0.25, 2), (40, 0.1, 4)]
)
def test_a_share_of_those_that_can_take_part_but_never_all(planes: int, share: float, wanted: int) -> None:
    reports = [PlaneReport(f"p{n}", True, 1, instance=f"pod-{n}") for n in range(planes)]
    found = chosen_planes([*reports, PlaneReport("old", True, 1)], share, "digest")
    assert len(found) == wanted
    assert found == chosen_planes(reversed(reports), share, "digest")


def test_the_state_reads_back() -> None:
    stage = Stage(Phase.STOPPED, 7, "d", ("a",), "DenyRate", "x", 5)
    assert msgspec.json.decode(msgspec.json.encode(stage), type=Stage) == stage
