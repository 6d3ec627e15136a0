"""Puts the operator together and runs it until it is told to stop."""

import asyncio
import logging
import secrets
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from tidegate_dataplane.settings import Address
from tidegate_dataplane.snapshot.entries import QuotaEntry
from tidegate_operator.admission.webhook import Webhook, WebhookOptions
from tidegate_operator.audit import Auditor
from tidegate_operator.dealing import Parts, deal
from tidegate_operator.health import Health
from tidegate_operator.keys.issuer import KeyIssuer
from tidegate_operator.keys.uses import KeyUses
from tidegate_operator.kube import Api, ClusterReplaced
from tidegate_operator.leadership import Alone, Election, Leadership
from tidegate_operator.loop import Debounce, Reconciler
from tidegate_operator.metrics import Metrics
from tidegate_operator.outputs import Gateway
from tidegate_operator.plane_summary import PLANES_ANNOTATION, encode_summary, summarise
from tidegate_operator.planes import FIRST_ANSWERS_SECONDS, Planes
from tidegate_operator.publish import Publisher
from tidegate_operator.quotas.events import QuotaEvents
from tidegate_operator.quotas.figures import QuotaFigures
from tidegate_operator.quotas.watch import QuotaWatch
from tidegate_operator.release.historian import Historian
from tidegate_operator.release.history import KEPT_REVISIONS
from tidegate_operator.release.hold_watch import HoldWatch
from tidegate_operator.release.releases import Releases
from tidegate_operator.release.stager import Stager, Staging
from tidegate_operator.status import StatusWriter
from tidegate_operator.store import Store
from tidegate_operator.streams import Streams
from tidegate_operator.watchdog import Watchdog
from tidegate_operator.world import Facts, ObjectKey

_log = logging.getLogger(__name__)

# Kopf's own first lists cost as much again as everything before: they wait for the first publication. A standby,
# which publishes nothing, fills its store and watches after so many seconds.
WATCH_AT_THE_LATEST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """How an operator runs. `kubeconfig` None: in the cluster. `health` None: no endpoint. `staging` None: what is
    declared goes to all data planes at once."""

    facts: Facts
    namespace: str
    identity: str
    kubeconfig: Path | None = None
    data_plane_urls: tuple[str, ...] = ()
    data_plane_service: str | None = None
    health: Address | None = None
    elect: bool = True
    staging: Staging | None = None
    kept_revisions: int = KEPT_REVISIONS
    webhook: WebhookOptions | None = None


async def run(options: Options) -> None:
    """Run until SIGTERM or SIGINT; raises what ended it otherwise, ClusterReplaced among that."""
    api = await Api.connect(options.kubeconfig)
    try:
        await _Operator(options, api).run()
    except BaseExceptionGroup as group:
        replaced = group.subgroup(ClusterReplaced)
        if replaced is None:
            raise
        raise _first(replaced) from None
    finally:
        await api.close()


class _Operator:
    """The parts, wired to each other, and the tasks that they run in."""

    def __init__(self, options: Options, api: Api) -> None:
        gateway = Gateway(options.facts.gateway, options.namespace)
        may_write = asyncio.Event()
        self._options = options
        self._filled = asyncio.Event()
        self._store = Store()
        self._metrics = Metrics()
        self._watchdog = Watchdog(time.monotonic)
        self._changes = Debounce()
        self._publisher = Publisher(api, gateway)
        self._planes = Planes(
            options.data_plane_urls,
            target=lambda: self._publisher.revision,
            on_change=self._planes_changed,
        )
        self._status = StatusWriter(
            api,
            self._store,
            planes=self._planes.reports,
            uses=self._uses_of,
            figures=self._figures_of,
            now=lambda: datetime.now(UTC),
            may_write=may_write,
            on_change=self._changes.mark,
        )
        self._metrics.read_keys(self._status.consumers)
        self._key_uses = KeyUses(
            urls=lambda: self._planes.urls, watched=self._status.knows, on_use=self._status.touched
        )
        self._quota_events = QuotaEvents(api, uid_of=self._uid_of)
        self._quotas = QuotaWatch(
            urls=lambda: self._planes.urls,
            leading=lambda: self._status.active,
            quotas=self._status.quotas,
            events=self._quota_events,
            on_change=self._status.touched,
        )
        make: type[Election] | type[Alone] = Election if options.elect else Alone
        self._leadership: Leadership = make(
            api, gateway, identity=options.identity, on_version=self._lease_seen, notes=self._notes
        )
        self._issuer = KeyIssuer(
            api,
            self._store,
            now=time.time,
            random=secrets.token_bytes,
            metrics=self._metrics,
            on_change=self._changes.mark,
        )
        self._historian = Historian(api, gateway, keep=options.kept_revisions)
        self._hold = HoldWatch(api, gateway, on_change=self._changes.mark)
        self._stager = self._make_stager(options.staging)
        self._releases = Releases(
            self._historian,
            self._hold,
            now=time.time,
            commit_of=self._store.commit,
            announce=self._quota_events.held,
            stager=self._stager,
        )
        self._metrics.read_releases(lambda: self._releases.standing)
        self._reconciler = Reconciler(
            store=self._store,
            publisher=self._publisher,
            releases=self._releases,
            status=self._status,
            issuer=self._issuer,
            planes=self._planes,
            facts=options.facts,
            metrics=self._metrics,
            may_write_status=may_write,
            still_leading=self._leadership.verify,
            changes=self._changes,
        )
        self._auditor = Auditor(
            api,
            self._store,
            self._publisher,
            self._planes,
            service=options.data_plane_service,
            metrics=self._metrics,
            on_repair=self._changes.mark,
        )
        parts = Parts(gateway, self._store, self._publisher, self._planes, self._status, self._watchdog, self._changes)
        self._streams = Streams(
            kubeconfig=options.kubeconfig,
            gateway=gateway,
            service=options.data_plane_service,
            on_event=lambda event: deal(event, parts),
            on_relist=self._auditor.request,
        )
        self._webhook = (
            None
            if options.webhook is None
            else Webhook(
                options.webhook,
                api,
                options.namespace,
                options.facts,
                world=self._store.world,
                filled=self._filled,
                registry=self._metrics.registry,
            )
        )
        self._health = Health(
            live=self._not_live,
            ready=lambda: "" if self._filled.is_set() else "not everything is listed yet",
            metrics=self._render,
        )

    async def run(self) -> None:
        """Run until a signal, or until a part fails; then stop in order."""
        stop = _stop_signal()
        try:
            if self._options.health is not None:
                await self._health.start(*self._options.health)
            await self._planes.start()
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._leadership.run(self._lead), name="leadership"),
                    group.create_task(self._report(), name="status"),
                    group.create_task(self._issuer.run(), name="keys"),
                    group.create_task(self._key_uses.run(), name="key uses"),
                    group.create_task(self._quotas.run(), name="quotas"),
                    group.create_task(self._quota_events.run(), name="quota events"),
                    group.create_task(self._auditor.run(), name="audit"),
                    group.create_task(self._historian.run(), name="history"),
                    group.create_task(self._hold.run(), name="hold"),
                    group.create_task(self._watch(), name="watch"),
                ]
                if self._webhook is not None:
                    tasks.append(group.create_task(self._webhook.run(), name="webhook"))
                if self._stager is not None:
                    tasks.append(group.create_task(self._stager.run(), name="staged roll-out"))
                await stop.wait()
                _log.info("stopping")
                for task in tasks:
                    task.cancel()
        finally:
            await self._streams.stop()
            await self._planes.stop()
            self._reconciler.close()
            await self._health.stop()

    async def _lead(self) -> None:
        self._metrics.leading.set(1)
        try:
            # Even a warm store may be behind what the leader before has published: nothing may ever go back.
            await self._fill()
            await self._reconciler.lead()
        finally:
            self._metrics.leading.set(0)

    async def _fill(self) -> None:
        started = time.monotonic()
        await self._auditor.fill()
        self._filled.set()
        listed = sum(self._store.counts().values())
        _log.info("listed %d objects in %.1f s", listed, time.monotonic() - started)

    async def _report(self) -> None:
        # Else every status would first say that no data plane is known.
        await self._planes.first_answers(FIRST_ANSWERS_SECONDS)
        await self._status.run()

    async def _watch(self) -> None:
        try:
            async with asyncio.timeout(WATCH_AT_THE_LATEST_SECONDS):
                await self._reconciler.first_publication.wait()
        except TimeoutError:
            if not self._filled.is_set():
                await self._fill()
        self._streams.start()

    def _make_stager(self, staging: Staging | None) -> Stager | None:
        if staging is None:
            return None
        return Stager(
            staging,
            reports=self._planes.reports,
            urls=lambda: self._planes.urls,
            on_outcome=self._changes.mark,
            on_stop=lambda gate: self._metrics.stopped.labels(gate).inc(),
        )

    def _uses_of(self, key: ObjectKey) -> Mapping[str, int]:
        return self._key_uses.of(key)

    def _figures_of(self, key: ObjectKey, entry: QuotaEntry) -> QuotaFigures | None:
        return self._quotas.of(key, entry)

    def _lease_seen(self, version: int) -> None:
        if self._watchdog.expect(version):
            self._auditor.request_all()

    def _notes(self) -> Mapping[str, str]:
        """What the Lease says besides, for `tidegate fleet`."""
        summary = summarise(self._planes.reports(), published=self._publisher.revision, silent=self._planes.silent)
        return {PLANES_ANNOTATION: encode_summary(summary)}

    def _uid_of(self, key: ObjectKey) -> str:
        resource = self._store.resource(key) if self._status.knows(key) else None
        return "" if resource is None else resource.uid

    def _planes_changed(self) -> None:
        self._status.planes_changed()
        if self._planes.highest_revision > self._publisher.highest:
            # A data plane runs what was never published here: only a higher revision brings it back.
            self._changes.mark()

    def _not_live(self) -> str:
        watchdog = self._watchdog
        return "" if watchdog.alive else f"the watch has not echoed the operator's Lease for {watchdog.age:.0f} s"

    def _render(self) -> bytes:
        self._metrics.heartbeat_age.set(self._watchdog.age)
        return self._metrics.render()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _stop_signal() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT. Those that follow say nothing new, and are not to meet a loop that closes."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def ask(_number: int, _frame: FrameType | None) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        # The loop is closed when something else ended the operator.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(stop.set)

    for number in numbers:
        signal.signal(number, ask)
    return stop
