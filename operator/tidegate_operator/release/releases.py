"""Between compiling and publishing: keeps what was published, and holds back what people wish to be held back.

Belongs to the one loop of a leading operator. Whatever goes wrong here, the default is to publish what was compiled:
only a wish that was understood, for a content that could be read, holds anything.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from tidegate_operator.compile.compiled import Compiled, EncodedShard, Served
from tidegate_operator.compile.secret_values import Secrets
from tidegate_operator.conditions import Held, ProgrammedReason
from tidegate_operator.kube import API_FAILURES
from tidegate_operator.outputs import Live, Recovered
from tidegate_operator.release.changes import Change, changes, key_of_change
from tidegate_operator.release.closing import Closer
from tidegate_operator.release.content import Content, adopted, agree
from tidegate_operator.release.historian import Historian, HistoryDamaged
from tidegate_operator.release.history import NAMED_CHANGES, NAMED_COMMITS, Record, Why, shards_of
from tidegate_operator.release.hold import Rollback
from tidegate_operator.release.hold_watch import HoldWatch
from tidegate_operator.release.planning import Plan, as_compiled, frozen, rolled_back
from tidegate_operator.release.stager import Stager
from tidegate_operator.release.standing import Standing
from tidegate_operator.world import ObjectKey

_log = logging.getLogger(__name__)

# So many of the objects that are held back get an Event each time that it begins.
EVENTS = 20


class Releases:
    """Plans what to publish, and takes note of what was."""

    def __init__(
        self,
        historian: Historian,
        watch: HoldWatch,
        *,
        now: Callable[[], float],
        commit_of: Callable[[ObjectKey], str],
        announce: Callable[[ObjectKey, Held], None],
        stager: Stager | None = None,
    ) -> None:
        """Without `stager`, whatever is declared goes to all data planes at once. `commit_of` tells what an object says
        of the commit that it came from; `announce` makes an Event."""
        self._historian = historian
        self._watch = watch
        self._now = now
        self._commit_of = commit_of
        self._announce = announce
        self._stager = stager
        self._closer = Closer()
        self._live: Content | None = None
        self._revision = 0
        # Entries that were read back are equal to those compiled, but not the same: comparing them takes long.
        self._read_back = False
        self._base: tuple[Rollback, Content] | None = None
        self._held: Mapping[ObjectKey, Held] = {}
        self._pinned = 0
        self._frozen = False
        self._fault = ""

    @property
    def standing(self) -> Standing:
        history = self._historian.history
        return Standing(
            self._pinned,
            self._frozen,
            len(self._watch.hold.faults) + bool(self._fault),
            Counter(held.reason.value for held in self._held.values()),
            len(history.revisions),
            self._historian.stored_bytes,
            0 if self._stager is None else self._stager.tried,
        )

    async def recover(self, recovered: Recovered) -> Served | None:
        """Begin a term of leadership: what is kept, what is wished, what is published.

        Returns the last good forms where they are not those that are published. Raises one of API_FAILURES.
        """
        history = await self._historian.recover()
        await self._watch.read()
        self._base, self._held, self._read_back = None, {}, True
        self._live, self._revision = _content_of(recovered), recovered.live.revision if recovered.live else 0
        if self._stager is not None:
            self._stager.recover(recovered.stage)
        record = history.find(self._revision)
        if self._live is not None and record is None:
            # The operator before died between publishing and noting it.
            found = Record(self._revision, int(self._now()), self._live.digest, shards_of(self._live), Why.FOUND)
            self._historian.note(found, self._live)
        if record is None or record.why is not Why.ROLLBACK:
            return None
        return await self._good_before(history.revisions)

    def reset(self) -> None:
        """Leadership was lost."""
        self._historian.reset()
        if self._stager is not None:
            self._stager.reset()
        self._held, self._pinned, self._frozen = {}, 0, False

    async def plan(self, compiled: Compiled, secrets: Secrets) -> Plan:
        """What to publish now. Raises one of API_FAILURES while an old content must be read and cannot be."""
        try:
            return await self._planned(compiled, secrets) or as_compiled(compiled)
        except API_FAILURES:
            raise
        except Exception:  # noqa: BLE001 - a defect here must not keep a revocation from being published
            _log.exception("what is to be held back cannot be worked out: all that is declared is published")
            return as_compiled(compiled)

    async def _planned(self, compiled: Compiled, secrets: Secrets) -> Plan | None:
        plan = await self._rolled_back(compiled, secrets) or self._as_frozen(compiled, secrets)
        if self._stager is None:
            return plan
        if plan is not None:
            self._stager.drop()
            return plan
        return self._stager.plan(compiled, self._published_before(compiled), secrets)

    def published(self, plan: Plan, revision: int, tried: int = 0) -> None:
        """Take note: `plan` is published, or confirmed, as `revision`; some data planes try `tried`, 0 for none."""
        if self._stager is not None:
            self._stager.published(tried)
        before, self._live, self._read_back = self._live, plan.content, False
        self._tell(plan.held)
        if revision == self._revision:
            return
        self._revision = revision
        served = Served({}) if before is None else before.served
        changed = changes(served, plan.content.served)
        record = Record(
            revision=revision,
            at=int(self._now()),
            digest=plan.content.digest,
            shards=shards_of(plan.content),
            why=plan.why,
            of=plan.of,
            reason=plan.reason,
            by=plan.by,
            hold=plan.hold,
            count=len(changed),
            changed=tuple(changed[:NAMED_CHANGES]),
            commits=self._commits(changed),
        )
        self._historian.note(record, plan.content)

    def next_due(self) -> float | None:
        """Seconds until a freeze ends by itself; None when none does."""
        freeze = self._watch.hold.freeze
        if freeze is None or freeze.until is None or not freeze.holds(self._now()):
            return None
        return max(0.05, freeze.until - self._now())

    async def _rolled_back(self, compiled: Compiled, secrets: Secrets) -> Plan | None:
        wish = self._watch.hold.rollback
        if wish is not None and wish.id == self._historian.history.fulfilled:
            wish = None
        if wish is None:
            self._fault, self._base = "", None
            self._historian.pin(0)
            self._unpin("")
            return None
        base = await self._content(wish, compiled)
        if base is None:
            if self._base is None:
                return None
            # What cannot be done changes nothing: an earlier rollback stays in force.
            wish, base = self._base
        self._base = (wish, base)
        self._historian.pin(wish.revision)
        content = self._closer.close(base, compiled.served)
        if agree(content.served, compiled.served):
            self._historian.fulfil(wish.id)
            self._unpin(f"Git agrees with revision {wish.revision} now")
            return None
        if self._pinned != wish.revision:
            self._pinned = wish.revision
            _log.warning("rolled back to revision %d%s", wish.revision, f": {wish.reason}" if wish.reason else "")
        return rolled_back(compiled, content, wish, secrets)

    def _as_frozen(self, compiled: Compiled, secrets: Secrets) -> Plan | None:
        freeze, live = self._watch.hold.freeze, self._published_before(compiled)
        holds = freeze is not None and freeze.holds(self._now()) and live is not None
        if holds != self._frozen:
            self._frozen = holds
            _log.warning("frozen: nothing new is published" if holds else "not frozen any more")
        if freeze is None or live is None or not holds or live.digest == as_compiled(compiled).content.digest:
            return None
        return frozen(compiled, self._closer.close(live, compiled.served), freeze, secrets)

    def _published_before(self, compiled: Compiled) -> Content | None:
        if self._read_back and self._live is not None and (self._stager is not None or self._watch.hold.freeze):
            self._live, self._read_back = adopted(self._live, compiled.served), False
        return self._live

    def _unpin(self, why: str) -> None:
        if self._pinned:
            _log.warning("not rolled back to revision %d any more%s", self._pinned, f": {why}" if why else "")
        self._pinned = 0

    async def _content(self, wish: Rollback, compiled: Compiled) -> Content | None:
        """The content of the wished revision, or of the revision that was published by this wish before."""
        if self._base is not None and self._base[0] == wish:
            return self._base[1]
        history = self._historian.history
        fault = f"revision {wish.revision} is not kept; see `tidegate revisions` for those that are"
        for record in (history.find(wish.revision), history.of_hold(wish.id)):
            if record is None:
                continue
            try:
                content = await self._historian.read(record)
            except HistoryDamaged as damaged:
                fault = str(damaged)
                continue
            self._fault = ""
            return adopted(content, compiled.served)
        if fault != self._fault:
            _log.error("cannot roll back, nothing changes: %s", fault)
            self._fault = fault
        return None

    async def _good_before(self, records: Iterable[Record]) -> Served | None:
        """While an old content is published, last good forms are those of the newest revision from before."""
        for record in records:
            if record.why is Why.CHANGE:
                try:
                    return (await self._historian.read(record)).served
                except HistoryDamaged as damaged:
                    _log.warning("%s", damaged)
        return None

    def _tell(self, held: Mapping[ObjectKey, Held]) -> None:
        fresh = [
            key for key, now in held.items() if self._held.get(key) != now and now.reason is not ProgrammedReason.CANARY
        ]
        self._held = held
        for key in sorted(fresh)[:EVENTS]:
            self._announce(key, held[key])

    def _commits(self, changed: Iterable[Change]) -> tuple[str, ...]:
        keys = [key for change in changed if (key := key_of_change(change)) is not None]
        found = Counter(commit for key in keys if (commit := self._commit_of(key)))
        return tuple(commit for commit, _ in found.most_common(NAMED_COMMITS))


def _content_of(recovered: Recovered) -> Content | None:
    """What is published; None when nothing is, or not all of it can be read."""
    live: Live | None = recovered.live
    if live is None or len(live.shards) != len(live.index.shards):
        return None
    shards = (EncodedShard(ref.name, live.shards[ref.name], ref.sha256) for ref in live.index.shards)
    return Content(tuple(shards), Served.from_shards(recovered.shards))
