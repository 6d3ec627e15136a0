"""What is published while somebody has wished to roll back or to freeze, over restarts and typing errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tidegate_dataplane.snapshot.codec import digest, encode_shard
from tidegate_dataplane.snapshot.entries import SCHEMA_VERSION, RouteEntry, Shard, Source
from tidegate_operator.compile.compiled import Compiled, EncodedShard, Served
from tidegate_operator.compile.publication import make_index
from tidegate_operator.outputs import Gateway, Live, Recovered
from tidegate_operator.release.content import Content
from tidegate_operator.release.historian import Historian
from tidegate_operator.release.history import Why
from tidegate_operator.release.hold import NO_HOLD, Freeze, Hold, Rollback
from tidegate_operator.release.planning import Plan
from tidegate_operator.release.releases import Releases
from tidegate_operator.verdicts import Verdict
from tidegate_operator.world import Facts, Kind, ObjectKey

CHAT = ObjectKey(Kind.ROUTE, "team", "chat")
NOTHING = Recovered(None, (), 0)


def compiled(model: str, generation: int) -> Compiled:
    shard = Shard(SCHEMA_VERSION, routes=(RouteEntry(Source("team", "chat", generation), (model,), (), ()),))
    data = encode_shard(shard)
    verdicts = {CHAT: Verdict(CHAT, generation, generation)}
    return Compiled((EncodedShard("00", data, digest(data)),), verdicts, {}, Served.from_shards([shard]))


@dataclass
class Watch:
    """What people wish now."""

    hold: Hold = NO_HOLD

    async def read(self) -> Hold:
        return self.hold


@dataclass
class Loop:
    """The part of the operator's loop that matters here: plan, publish, take note."""

    api: Any
    watch: Watch = field(default_factory=Watch)
    clock: float = 1_000.0
    revision: int = 0
    live: Content | None = None
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.historian = Historian(self.api, Gateway("default", "tidegate-system"))
        self.releases = Releases(
            self.historian,
            self.watch,  # type: ignore[arg-type]  # it has what is used
            now=lambda: self.clock,
            commit_of=lambda key: "c0ffee",
            announce=lambda key, held: self.told.append(held.reason),
        )

    async def begin(self, recovered: Recovered = NOTHING) -> Served | None:
        return await self.releases.recover(recovered)

    async def reconcile(self, wanted: Compiled) -> Plan:
        plan = await self.releases.plan(wanted, {})
        if self.live is None or plan.content.digest != self.live.digest:
            self.revision, self.live = self.revision + 1, plan.content
        self.releases.published(plan, self.revision)
        return plan

    @property
    def model(self) -> str:
        assert self.live is not None
        entry = self.live.served.entries[CHAT]
        assert isinstance(entry, RouteEntry)
        return entry.models[0]

    def recovered(self) -> Recovered:
        """What a new leader finds."""
        assert self.live is not None
        index = make_index(Compiled(self.live.shards, {}, {}, Served({})), Facts(), self.revision)
        live = Live(index, b"", {shard.name: shard.data for shard in self.live.shards})
        shards = tuple(
            Shard(SCHEMA_VERSION, routes=(entry,))
            for entry in self.live.served.entries.values()
            if isinstance(entry, RouteEntry)
        )
        return Recovered(live, shards, self.revision)


async def started(api: Any) -> Loop:
    loop = Loop(api)
    await loop.begin()
    for generation, model in enumerate(("one", "two"), 1):
        await loop.reconcile(compiled(model, generation))
    assert [record.revision for record in loop.historian.history.revisions] == [2, 1]
    return loop


async def test_a_rollback_publishes_the_old_content_under_a_new_number_until_git_agrees(api: Any) -> None:
    loop = await started(api)
    loop.watch.hold = Hold(Rollback(1, "bad", "jo"))
    plan = await loop.reconcile(compiled("two", 2))
    assert (loop.model, loop.revision) == ("one", 3)
    assert plan.held[CHAT].reason == "PinnedToRevision"
    assert plan.compiled.verdicts[CHAT].served_generation == 1
    newest = loop.historian.history.revisions[0]
    assert (newest.why, newest.of, newest.reason, newest.by) == (Why.ROLLBACK, 1, "bad", "jo")
    assert loop.releases.standing.pinned == 1
    await loop.reconcile(compiled("three", 3))
    assert (loop.model, loop.revision) == ("one", 3)
    # The same words in a newer generation: `git revert`.
    plan = await loop.reconcile(compiled("one", 4))
    assert plan.held == {}
    await loop.reconcile(compiled("four", 5))
    assert loop.model == "four"
    assert loop.releases.standing.pinned == 0
    assert loop.told == ["PinnedToRevision"]


async def test_a_revision_that_is_not_kept_changes_nothing(api: Any) -> None:
    loop = await started(api)
    loop.watch.hold = Hold(Rollback(77))
    assert (await loop.reconcile(compiled("three", 3))).held == {}
    assert loop.model == "three"
    assert loop.releases.standing.faults == 1
    loop.watch.hold = Hold(Rollback(1))
    await loop.reconcile(compiled("three", 3))
    assert loop.model == "one"
    loop.watch.hold = Hold(Rollback(77))
    await loop.reconcile(compiled("four", 4))
    assert loop.model == "one", "a rollback that holds was given up for one that cannot be done"
    loop.watch.hold = NO_HOLD
    await loop.reconcile(compiled("four", 4))
    assert loop.model == "four"
    assert loop.releases.standing.faults == 0


async def test_a_new_leader_goes_on_with_it_and_knows_the_last_good_forms(api: Any) -> None:
    loop = await started(api)
    loop.watch.hold = Hold(Rollback(1))
    await loop.reconcile(compiled("two", 2))
    await loop.historian._write()
    second = Loop(api, loop.watch, revision=loop.revision, live=loop.live)
    good = await second.begin(loop.recovered())
    assert good is not None
    assert good.entries[CHAT].source.generation == 2, "last good forms must not be those of the old revision"
    await second.reconcile(compiled("three", 3))
    assert (second.model, second.revision) == ("one", 3)


async def test_what_died_before_it_was_noted_is_noted_by_the_next_leader(api: Any) -> None:
    loop = await started(api)
    second = Loop(api, revision=loop.revision, live=loop.live)
    await second.begin(loop.recovered())
    assert [(each.revision, each.why) for each in second.historian.history.revisions] == [(2, Why.FOUND)]


async def test_a_freeze_holds_until_its_end(api: Any) -> None:
    loop = await started(api)
    loop.watch.hold = Hold(freeze=Freeze("Black Friday", until=2_000))
    plan = await loop.reconcile(compiled("three", 3))
    assert (loop.model, loop.revision) == ("two", 2)
    assert "Black Friday" in plan.held[CHAT].message
    assert loop.releases.next_due() == 1_000.0
    second = Loop(api, loop.watch, revision=loop.revision, live=loop.live)
    await second.begin(loop.recovered())
    await second.reconcile(compiled("three", 3))
    assert (second.model, second.revision) == ("two", 2)
    assert second.releases.standing.frozen
    second.clock = 2_000.0
    await second.reconcile(compiled("three", 3))
    assert (second.model, second.revision) == ("three", 3)
    assert second.releases.next_due() is None


async def test_with_nothing_published_there_is_nothing_to_freeze(api: Any) -> None:
    loop = Loop(api, Watch(Hold(freeze=Freeze())))
    await loop.begin()
    await loop.reconcile(compiled("one", 1))
    assert loop.model == "one"
    await loop.reconcile(compiled("two", 2))
    assert loop.model == "one"


async def test_commits_are_told(api: Any) -> None:
    loop = await started(api)
    assert loop.historian.history.revisions[0].commits == ("c0ffee",)
