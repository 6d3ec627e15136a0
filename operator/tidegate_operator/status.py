"""Writes statuses: only those that would change, a few at a time, and never while a snapshot is being published."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

import msgspec

from tidegate_dataplane.snapshot.entries import ConsumerEntry, QuotaEntry
from tidegate_operator.compile.compiled import AnyEntry, Compiled
from tidegate_operator.conditions import (
    NO_STATUS,
    ConditionType,
    Held,
    ObjectStatus,
    PlaneReport,
    ProgrammedReason,
    expired,
    judge,
    next_due,
    programmed_since,
    status_body,
)
from tidegate_operator.ingest import CustomObject, seen_object
from tidegate_operator.keys.states import key_statuses
from tidegate_operator.kube import API_FAILURES, STATUS_FIELD_MANAGER, Api, ApiError
from tidegate_operator.quotas.figures import QuotaFigures
from tidegate_operator.resources import RESOURCES
from tidegate_operator.rollout import Rollout
from tidegate_operator.store import Store
from tidegate_operator.verdicts import Verdict
from tidegate_operator.world import Kind, ObjectKey, Resource

_log = logging.getLogger(__name__)

CONCURRENCY = 8
# Changes come in groups: a publication, and a moment later the answers of the data planes.
SETTLE_SECONDS = 0.03
# Data planes usually follow within this time: waiting for them spares every object a status that says 'Pending'.
PATIENCE_SECONDS = 2.0
# The clock may be set while a timer runs, and a timer holds no more than some weeks.
MIN_DUE_SECONDS = 0.05
MAX_DUE_SECONDS = 3600.0
RETRY_SECONDS = (0.5, 1, 2, 5, 10, 30)
_NOTHING_HELD: Mapping[ObjectKey, Held] = {}


class StatusWriter:
    """Keeps the status of every object as it should be. `run` writes; the other methods only say what may differ."""

    def __init__(
        self,
        api: Api,
        store: Store,
        *,
        planes: Callable[[], tuple[PlaneReport, ...]],
        uses: Callable[[ObjectKey], Mapping[str, int]],
        figures: Callable[[ObjectKey, QuotaEntry], QuotaFigures | None] = lambda _, __: None,
        now: Callable[[], datetime],
        may_write: asyncio.Event,
        on_change: Callable[[], None],
    ) -> None:
        """`may_write` is set while this operator leads and no publication is under way.

        `uses` tells when the keys of a consumer were last used, by their names, in seconds since the epoch; `figures`
        what is used of a quota, None while that is not known. `on_change` is called when the answer to a write shows
        that the object has been edited meanwhile.
        """
        self._api = api
        self._store = store
        self._planes = planes
        self._uses = uses
        self._figures = figures
        self._now = now
        self._may_write = may_write
        self._on_change = on_change
        self._rollout = Rollout()
        self._verdicts: Mapping[ObjectKey, Verdict] = {}
        self._uids: Mapping[ObjectKey, str] = {}
        self._served: Mapping[ObjectKey, AnyEntry] = {}
        self._held: Mapping[ObjectKey, Held] = {}
        self._reports: tuple[PlaneReport, ...] = ()
        self._queue: deque[ObjectKey] = deque()
        self._queued: set[ObjectKey] = set()
        self._wakeup = asyncio.Event()
        self._failures: dict[ObjectKey, int] = {}
        self._published_at = 0.0
        self._due: asyncio.TimerHandle | None = None
        self._looked_at = 0.0
        self._ending: tuple[Verdict, ...] = ()
        self.written = 0
        self.failed = 0

    @property
    def pending(self) -> int:
        """How many objects are still to be looked at."""
        return len(self._queued)

    @property
    def active(self) -> bool:
        """Whether this operator leads, and has published."""
        return bool(self._verdicts)

    def reset(self) -> None:
        """Leadership was lost: whoever leads meanwhile may publish and write, so nothing here is known any more."""
        self._rollout = Rollout()
        self._verdicts, self._uids = {}, {}
        self._served = {}
        self._held = {}
        self._queue.clear()
        self._queued.clear()
        self._ending = ()
        self._look_for_expiry()

    def published(
        self,
        compiled: Compiled,
        resources: Mapping[ObjectKey, Resource],
        revision: int,
        held: Mapping[ObjectKey, Held] = _NOTHING_HELD,
    ) -> None:
        """Take what was published, or confirmed, as `revision`; `held` are objects whose newest form is not."""
        verdicts = compiled.verdicts
        uids = {key: resource.uid for key, resource in resources.items()}
        changed = self._rollout.published(verdicts.values(), uids, revision, earlier=self._earlier(verdicts))
        former = self._verdicts
        # Most verdicts are the very objects of before: to compare those field by field would cost most of all this.
        changed.update(
            key for key, verdict in verdicts.items() if (before := former.get(key)) is not verdict and before != verdict
        )
        # A successor of the same name has no status yet, even when the same is to be said of it.
        changed.update(key for key, uid in uids.items() if self._uids.get(key, uid) != uid)
        changed.update(self._rotated(compiled))
        if held or self._held:
            changed.update(key for key in held.keys() | self._held.keys() if held.get(key) != self._held.get(key))
            self._held = held
        self._verdicts, self._uids, self._served = verdicts, uids, compiled.served.entries
        if changed:
            self._published_at = asyncio.get_running_loop().time()
        self._enqueue(changed)
        self._ending = tuple(verdict for verdict in verdicts.values() if verdict.approval is not None)
        self._look_for_expiry()

    def _rotated(self, compiled: Compiled) -> set[ObjectKey]:
        """Consumers whose keys were replaced: nothing else about them need have changed."""
        served, former = compiled.served.entries, self._served
        generating = (
            ObjectKey(Kind.CONSUMER, entry.source.namespace, entry.source.name) for entry in compiled.generating
        )
        return {key for key in generating if former.get(key) is not served.get(key)}

    def knows(self, key: ObjectKey) -> bool:
        """Whether this operator writes the status of that object; only one that leads writes any."""
        return key in self._verdicts

    def consumers(self) -> Iterable[ConsumerEntry]:
        """Those in force."""
        return (entry for entry in self._served.values() if isinstance(entry, ConsumerEntry))

    def planes_changed(self) -> None:
        """Data planes came, went, or run another revision."""
        before, self._reports = self._reports, self._planes()
        if _low(before) is None or _low(self._reports) is None:
            self._enqueue(self._verdicts)
            return
        self._enqueue(self._rollout.after(min(_low(before) or 0, _low(self._reports) or 0)))

    def quotas(self) -> Iterable[QuotaEntry]:
        """Those in force."""
        return (entry for entry in self._served.values() if isinstance(entry, QuotaEntry))

    def audit(self) -> None:
        """Look at every object again: somebody else may have changed a status."""
        self._enqueue(self._verdicts)

    def touched(self, key: ObjectKey) -> None:
        """An object's status was seen to change; look whether it is still what it should be."""
        if key in self._verdicts:
            self._enqueue((key,))

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(CONCURRENCY):
                group.create_task(self._work(), name=f"status writer {number}")

    async def _work(self) -> None:
        while True:
            while not self._queue:
                self._wakeup.clear()
                await self._wakeup.wait()
                await asyncio.sleep(SETTLE_SECONDS)
            await self._may_write.wait()
            if not self._queue:
                continue
            key = self._queue.popleft()
            self._queued.discard(key)
            try:
                await self._settle(key)
                self._failures.pop(key, None)
            except API_FAILURES as error:
                self._retry(key, error)
            # Thousands of statuses that are right already must not keep the loop from publishing.
            await asyncio.sleep(0)

    async def _settle(self, key: ObjectKey) -> None:
        verdict, resource = self._verdicts.get(key), self._store.resource(key)
        # A newer generation, or another object of the same name, is not judged yet: its verdict comes with the next
        # publication.
        if verdict is None or resource is None or resource.generation != verdict.generation:
            return
        if resource.uid != self._uids.get(key):
            return
        previous = self._store.status(key)
        wanted = self._wanted(verdict, previous)
        if wanted == previous:
            return
        loop = asyncio.get_running_loop()
        patience = self._published_at + PATIENCE_SECONDS - loop.time()
        if patience > 0 and self._reports and _is_pending(wanted):
            loop.call_later(patience, self._enqueue, (key,))
            return
        await self._write(key, resource.uid, wanted)

    def _wanted(self, verdict: Verdict, previous: ObjectStatus) -> ObjectStatus:
        now = self._now()
        status = judge(
            verdict,
            first_revision=self._rollout.first_revision(verdict.key),
            planes=self._reports,
            previous=previous,
            now=now,
            held=self._held.get(verdict.key),
        )
        entry = self._served.get(verdict.key)
        if isinstance(entry, QuotaEntry):
            return replace(status, quota=self._figures(verdict.key, entry) or previous.quota)
        if not isinstance(entry, ConsumerEntry):
            return status
        keys = key_statuses(entry, self._uses(verdict.key), previous.keys, now.timestamp())
        return replace(status, keys=keys)

    async def _write(self, key: ObjectKey, uid: str, status: ObjectStatus) -> None:
        kind = RESOURCES[key.kind]
        body = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            # With the uid a status never lands on a successor of the same name.
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": uid},
            "status": status_body(status),
        }
        path = f"{kind.path(key.namespace, key.name)}/status"
        try:
            answer = await self._api.apply(path, body, manager=STATUS_FIELD_MANAGER)
        except ApiError as error:
            if error.missing or error.conflict:
                # Gone, or another object by now: the watch will tell.
                return
            raise
        self.written += 1
        # The whole object, not only the status: the answer may be newer than what the watch has told so far.
        if self._store.see(seen_object(key.kind, msgspec.json.decode(answer, type=CustomObject))):
            self._on_change()

    def _look_for_expiry(self) -> None:
        """Look again at what has expired since the last look, and when the next does: nothing else would tell."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        before, now = self._looked_at, self._now()
        self._looked_at = now.timestamp()
        self._enqueue(verdict.key for verdict in self._ending if expired(verdict, before, self._looked_at))
        due = next_due(self._ending, now)
        if due is not None:
            delay = min(max(due - self._looked_at, MIN_DUE_SECONDS), MAX_DUE_SECONDS)
            self._due = asyncio.get_running_loop().call_later(delay, self._look_for_expiry)

    def _retry(self, key: ObjectKey, error: Exception) -> None:
        self.failed += 1
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        delay = RETRY_SECONDS[min(count, len(RETRY_SECONDS) - 1)]
        _log.warning("the status of %s could not be written, next attempt in %g s: %s", key, delay, error)
        asyncio.get_running_loop().call_later(delay, self._enqueue, (key,))

    def _enqueue(self, keys: Iterable[ObjectKey]) -> None:
        for key in keys:
            if key not in self._queued:
                self._queued.add(key)
                self._queue.append(key)
        if self._queue:
            self._wakeup.set()

    def _earlier(self, verdicts: Mapping[ObjectKey, Verdict]) -> dict[ObjectKey, int]:
        """Which revisions the statuses name that an earlier operator wrote."""
        found = {}
        for key in verdicts.keys() - self._verdicts.keys():
            status, verdict = self._store.status(key), verdicts[key]
            if status is not NO_STATUS and verdict.served_generation is not None:
                revision = programmed_since(status, verdict.served_generation)
                if revision is not None:
                    found[key] = revision
        return found


def _is_pending(status: ObjectStatus) -> bool:
    programmed = status.condition(ConditionType.PROGRAMMED)
    return programmed is not None and programmed.reason in (ProgrammedReason.PENDING, ProgrammedReason.NO_DATA_PLANE)


def _low(reports: tuple[PlaneReport, ...]) -> int | None:
    """The lowest revision that a ready data plane runs; None when none is ready."""
    return min((report.revision for report in reports if report.ready), default=None)
