"""Puts the operator together and runs it until it is told to stop."""

import asyncio
import logging
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tidegate_operator.audit import Auditor
from tidegate_operator.handlers import Event
from tidegate_operator.health import Health
from tidegate_operator.ingest import ConfigMapObject, CustomObject, Meta, SecretObject, seen_object, seen_secret
from tidegate_operator.kube import CONFIG_MAPS, ENDPOINT_SLICES, LEASES, SECRETS, Api
from tidegate_operator.leadership import Alone, Election, Leadership
from tidegate_operator.loop import Debounce, Reconciler
from tidegate_operator.metrics import Metrics
from tidegate_operator.outputs import Gateway
from tidegate_operator.planes import FIRST_ANSWERS_SECONDS, EndpointSlice, Planes
from tidegate_operator.publish import Publisher
from tidegate_operator.resources import RESOURCES
from tidegate_operator.status import StatusWriter
from tidegate_operator.store import Store
from tidegate_operator.streams import Streams
from tidegate_operator.watchdog import Watchdog
from tidegate_operator.world import Facts, Kind, SecretKey

_log = logging.getLogger(__name__)

# Kopf's own first lists cost as much again as everything before: they wait for the first publication. A standby,
# which publishes nothing, fills its store and watches after so many seconds.
WATCH_AT_THE_LATEST_SECONDS = 5.0
_KINDS = {resource: kind for kind, resource in RESOURCES.items()}


@dataclass(frozen=True, slots=True)
class Options:
    """How an operator runs. `kubeconfig` None: in the cluster. `health` is (host, port)."""

    facts: Facts
    namespace: str
    identity: str
    kubeconfig: Path | None = None
    data_plane_urls: tuple[str, ...] = ()
    data_plane_service: str | None = None
    health: tuple[str, int] | None = None
    elect: bool = True


class _HasMeta(msgspec.Struct):
    metadata: Meta


@dataclass(slots=True)
class _Parts:
    """What events are dealt to."""

    gateway: Gateway
    store: Store
    publisher: Publisher
    planes: Planes
    status: StatusWriter
    watchdog: Watchdog
    changes: Debounce


async def run(options: Options) -> None:
    """Run until SIGTERM or SIGINT; raises what ended it otherwise."""
    api = await Api.connect(options.kubeconfig)
    try:
        await _run(options, api)
    finally:
        await api.close()


async def _run(options: Options, api: Api) -> None:
    gateway = Gateway(options.facts.gateway, options.namespace)
    store, metrics, watchdog = Store(), Metrics(), Watchdog(time.monotonic)
    publisher = Publisher(api, gateway)
    may_write, changes = asyncio.Event(), Debounce()
    planes = Planes(
        options.data_plane_urls,
        target=lambda: publisher.revision,
        on_change=lambda: _planes_changed(status, planes, publisher, changes),
    )
    status = StatusWriter(
        api,
        store,
        planes=planes.reports,
        now=lambda: datetime.now(UTC),
        may_write=may_write,
        on_change=changes.mark,
    )
    make: type[Election] | type[Alone] = Election if options.elect else Alone
    leadership: Leadership = make(api, gateway, identity=options.identity, on_version=watchdog.expect)
    reconciler = Reconciler(
        store=store,
        publisher=publisher,
        status=status,
        planes=planes,
        facts=options.facts,
        metrics=metrics,
        may_write_status=may_write,
        still_leading=leadership.verify,
        changes=changes,
    )
    auditor = Auditor(
        api,
        store,
        publisher,
        planes,
        service=options.data_plane_service,
        metrics=metrics,
        on_repair=changes.mark,
    )
    parts = _Parts(gateway, store, publisher, planes, status, watchdog, changes)

    streams = Streams(
        kubeconfig=options.kubeconfig,
        gateway=gateway,
        service=options.data_plane_service,
        on_event=lambda event: deal(event, parts),
        on_relist=auditor.request,
    )
    health = Health(
        live=lambda: _not_live(watchdog),
        ready=lambda: "" if filled.is_set() else "not everything is listed yet",
        metrics=lambda: _render(metrics, watchdog),
    )
    filled = asyncio.Event()

    async def watch() -> None:
        try:
            async with asyncio.timeout(WATCH_AT_THE_LATEST_SECONDS):
                await reconciler.first_publication.wait()
        except TimeoutError:
            if not filled.is_set():
                await fill()
        streams.start()

    async def fill() -> None:
        started = time.monotonic()
        await auditor.fill()
        filled.set()
        _log.info("listed %d objects in %.1f s", sum(store.counts().values()), time.monotonic() - started)

    async def report() -> None:
        # Else every status would first say that no data plane is known.
        await planes.first_answers(FIRST_ANSWERS_SECONDS)
        await status.run()

    async def lead() -> None:
        metrics.leading.set(1)
        try:
            # Even a warm store may be behind what the leader before has published: nothing may ever go back.
            await fill()
            await reconciler.lead()
        finally:
            metrics.leading.set(0)

    stop = _stop_signal()
    try:
        if options.health is not None:
            await health.start(*options.health)
        await planes.start()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(leadership.run(lead), name="leadership"),
                group.create_task(report(), name="status"),
                group.create_task(auditor.run(), name="audit"),
                group.create_task(watch(), name="watch"),
            ]
            await stop.wait()
            _log.info("stopping")
            for task in tasks:
                task.cancel()
    finally:
        await streams.stop()
        await planes.stop()
        reconciler.close()
        await health.stop()


def _planes_changed(status: StatusWriter, planes: Planes, publisher: Publisher, changes: Debounce) -> None:
    status.planes_changed()
    if planes.highest_revision > publisher.revision:
        # A data plane runs what was never published here: only a higher revision brings it back.
        changes.mark()


def deal(event: Event, parts: _Parts) -> None:
    """Give an event to whom it concerns, and mark the World when it changed it. Never raises: an event is only news."""
    try:
        changed = _deal(event, parts)
    except (msgspec.ValidationError, ValueError) as error:
        # Not the error's text: it may quote a Secret.
        _log.error("an event of %s could not be read: %s", event.resource.plural, type(error).__name__)
        return
    if changed:
        parts.changes.mark()


def _deal(event: Event, parts: _Parts) -> bool:
    if event.resource in _KINDS:
        return _deal_object(_KINDS[event.resource], event, parts)
    if event.resource == SECRETS:
        return _deal_secret(event, parts)
    if event.resource == CONFIG_MAPS:
        item = msgspec.convert(event.body, ConfigMapObject)
        if event.deleted:
            return parts.publisher.forget_config_map(item.metadata.name, item.metadata.version)
        return parts.publisher.see_config_map(item)
    if event.resource == LEASES:
        parts.watchdog.echo(msgspec.convert(event.body, _HasMeta).metadata.version)
    elif event.resource == ENDPOINT_SLICES:
        endpoint_slice = msgspec.convert(event.body, EndpointSlice)
        if event.deleted:
            parts.planes.forget_slice(str(endpoint_slice.metadata["name"]))
        else:
            parts.planes.see_slice(endpoint_slice)
    return False


def _deal_object(kind: Kind, event: Event, parts: _Parts) -> bool:
    seen = seen_object(kind, msgspec.convert(event.body, CustomObject))
    key = seen.resource.key
    if event.deleted:
        return parts.store.forget(key, seen.version)
    before = parts.store.status(key)
    changed = parts.store.see(seen)
    if parts.store.status(key) != before:
        parts.status.touched(key)
    return changed


def _deal_secret(event: Event, parts: _Parts) -> bool:
    item = msgspec.convert(event.body, SecretObject)
    key = SecretKey(item.metadata.namespace, item.metadata.name)
    if key == (parts.gateway.namespace, parts.gateway.credentials_name):
        if event.deleted:
            return parts.publisher.forget_secret(key.name, item.metadata.version)
        return parts.publisher.see_secret(item)
    if event.deleted:
        return parts.store.forget_secret(key, item.metadata.version)
    return parts.store.see_secret(seen_secret(item))


def _not_live(watchdog: Watchdog) -> str:
    return "" if watchdog.alive else f"the watch has not echoed the operator's Lease for {watchdog.age:.0f} s"


def _render(metrics: Metrics, watchdog: Watchdog) -> bytes:
    metrics.heartbeat_age.set(watchdog.age)
    return metrics.render()


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
