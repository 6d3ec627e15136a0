"""The admin port: liveness, readiness, status, metrics, and explanations. For operators of the gateway, not for
callers."""

import asyncio
from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate_dataplane.audit import AuditLog
from tidegate_dataplane.authenticate.report import ProviderStatus
from tidegate_dataplane.behaviour import Pending
from tidegate_dataplane.engine.explain import Explanation
from tidegate_dataplane.engine.explain_text import render
from tidegate_dataplane.key_report import KeyReport
from tidegate_dataplane.metrics import Metrics
from tidegate_dataplane.pressure.report import PressureStatus
from tidegate_dataplane.quota_report import AlertRow, QuotaReport, StoreReport
from tidegate_dataplane.reload import Reloader
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.lists import NO_LISTS
from tidegate_dataplane.snapshot.entries import ClusterFacts
from tidegate_dataplane.source.state import SourceState
from tidegate_dataplane.trial import Trial

MAX_WAIT_SECONDS = 60.0
_MAX_EXPLAIN_BYTES = 1024 * 1024
# So many of the latest alerts are in the status; `/-/quotas` has more.
_ALERTS = 20


class SourceStatus(Struct, frozen=True, rename="camel"):
    """How a source of snapshots or credentials fares."""

    name: str
    state: str
    message: str
    since: float


class RefusalStatus(Struct, frozen=True, rename="camel"):
    """Why the last refused snapshot was refused; `at` in seconds since the epoch."""

    reason: str
    message: str
    revision: int | None
    source: str
    at: float


class Counts(Struct, frozen=True, rename="camel"):
    """How many objects of each kind are served; `list_entries` are those of all lists together."""

    routes: int = 0
    backends: int = 0
    consumers: int = 0
    policies: int = 0
    quotas: int = 0
    lists: int = 0
    list_entries: int = 0


class AuditStatus(Struct, frozen=True, rename="camel"):
    """How the audit log fares, and how far it is written: `tidegate audit verify --expect SEQ:CHAIN` finds out later
    whether all of that is still there. `failure` is empty when all is well; counts are of records."""

    log: str
    file: int
    writer: str
    seq: int
    chain: str
    key_id: str
    written: int
    waiting: int
    dropped: int
    failure: str


class StatusReport(Struct, frozen=True, rename="camel"):
    """The body of `/-/status`. `revision` is 0 before the first snapshot; times are seconds since the epoch.

    `store` is None where no shared store is used; `alerts` are the latest, the newest first. `instance` is the name by
    which this data plane may be chosen to try a revision first, empty where it could not learn of that.
    """

    gateway: str
    version: str
    revision: int
    ready: bool
    draining: bool
    cluster: ClusterFacts | None
    counts: Counts
    loaded_at: float | None
    load_seconds: float | None
    source: str | None
    sources: tuple[SourceStatus, ...]
    last_refusal: RefusalStatus | None
    refusals: int
    audit: AuditStatus | None
    identity_providers: tuple[ProviderStatus, ...] = ()
    pressure: PressureStatus | None = None
    store: StoreReport | None = None
    alerts: tuple[AlertRow, ...] = ()
    instance: str = ""


class Admin:
    """Answers for one data plane. `explain` answers a question in JSON, or raises ValueError."""

    def __init__(
        self,
        *,
        gateway: str,
        version: str,
        reloader: Reloader,
        metrics: Metrics,
        sources: Callable[[], Iterable[SourceState]],
        draining: Callable[[], bool],
        explain: Callable[[Runtime, bytes], Explanation],
        audit: AuditLog | None = None,
        identity_providers: Callable[[], tuple[ProviderStatus, ...]] = tuple,
        keys: KeyReport,
        pressure: Callable[[], PressureStatus | None] = lambda: None,
        quotas: QuotaReport,
        pending: Callable[[], list[Pending]] = list,
        trial: Trial,
        instance: Callable[[], str] = str,
    ) -> None:
        self._gateway = gateway
        self._version = version
        self._reloader = reloader
        self._metrics = metrics
        self._sources = sources
        self._draining = draining
        self._explain = explain
        self._audit = audit
        self._identity_providers = identity_providers
        self._keys = keys
        self._pressure = pressure
        self._quotas = quotas
        self._pending = pending
        self._trial = trial
        self._instance = instance

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/-/live", self._live),
                Route("/-/ready", self._ready),
                Route("/-/status", self._status),
                Route("/-/keys", self._keys.answer),
                Route("/-/quotas", self._quotas.answer),
                Route("/-/explain", self._explanation, methods=["POST"]),
                Route("/-/approvals", self._approvals),
                Route("/-/rollout", self._trial.answer),
                Route("/metrics", self._scrape),
            ]
        )

    def report(self) -> StatusReport:
        """What `/-/status` says now."""
        loaded, refusal = self._reloader.loaded, self._reloader.last_refusal
        return StatusReport(
            gateway=self._gateway,
            version=self._version,
            revision=self._reloader.revision,
            ready=self._is_ready(),
            draining=self._draining(),
            cluster=None if loaded is None else loaded.index.cluster,
            counts=self._counts(),
            loaded_at=None if loaded is None else loaded.at,
            load_seconds=None if loaded is None else loaded.seconds,
            source=None if loaded is None else loaded.source,
            sources=tuple(SourceStatus(each.name, each.health, each.message, each.since) for each in self._sources()),
            last_refusal=None
            if refusal is None
            else RefusalStatus(refusal.reason, refusal.message, refusal.revision, refusal.source, refusal.at),
            refusals=self._reloader.refusals,
            audit=None if self._audit is None else _audit_status(self._audit),
            identity_providers=self._identity_providers(),
            pressure=self._pressure(),
            store=self._quotas.store,
            alerts=self._quotas.alerts(_ALERTS),
            instance=self._instance(),
        )

    def _counts(self) -> Counts:
        loaded = self._reloader.loaded
        shards = [] if loaded is None else list(loaded.shards.values())
        lists = NO_LISTS if loaded is None else loaded.runtime.lists
        return Counts(
            routes=sum(len(shard.routes) for shard in shards),
            backends=sum(len(shard.backends) for shard in shards),
            consumers=sum(len(shard.consumers) for shard in shards),
            policies=sum(len(shard.policies) for shard in shards),
            quotas=sum(len(shard.quotas) for shard in shards),
            lists=len(lists),
            list_entries=sum(found.count for found in lists.values()),
        )

    def _is_ready(self) -> bool:
        return self._reloader.runtime is not None and not self._draining() and not self._unaudited()

    def _unaudited(self) -> str:
        """Why no call is served for want of an audit log."""
        if self._audit is None:
            return ""
        self._audit.look()
        return self._audit.gate.closed

    async def _live(self, request: Request) -> Response:
        return _text(200, "live")

    async def _ready(self, request: Request) -> Response:
        if self._is_ready():
            store = self._quotas.store
            if store is None or store.connected:
                return _text(200, "ready")
            return _text(
                200, f"ready, without the shared store ({store.reason}): limits do what their failureMode says"
            )
        return _text(
            503, "draining" if self._draining() else self._unaudited() or "no snapshot loaded yet, see /-/status"
        )

    async def _status(self, request: Request) -> Response:
        """With `waitRevision=N&timeoutSeconds=T`: as soon as N or a later one is served, or N is refused."""
        try:
            wanted = int(request.query_params.get("waitRevision", 0))
            seconds = min(float(request.query_params.get("timeoutSeconds", 10)), MAX_WAIT_SECONDS)
        except ValueError:
            return _json(400, {"error": "waitRevision is an integer, timeoutSeconds a number"})
        if wanted:
            await self._wait_for(wanted, seconds)
        return _json(200, self.report())

    async def _wait_for(self, revision: int, seconds: float) -> None:
        reloader = self._reloader
        try:
            async with asyncio.timeout(seconds):
                while reloader.revision < revision and not self._draining():
                    refusal = reloader.last_refusal
                    if refusal is not None and refusal.revision == revision:
                        return
                    await reloader.wait_for_change()
        except (TimeoutError, asyncio.CancelledError):
            # Only the listener cancels: the asker is gone, or we stop. Both get what is known now.
            return

    async def _scrape(self, request: Request) -> Response:
        body = await asyncio.to_thread(self._metrics.render)
        return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _approvals(self, request: Request) -> Response:
        """Calls that wait for somebody's approval, the latest first."""
        return _json(200, {"pending": self._pending()})

    async def _explanation(self, request: Request) -> Response:
        runtime = self._reloader.runtime
        if runtime is None:
            return _json(503, {"error": "no snapshot loaded yet, see /-/status"})
        try:
            body = await request.body()
            if len(body) > _MAX_EXPLAIN_BYTES:
                return _json(413, {"error": f"more than {_MAX_EXPLAIN_BYTES} bytes"})
            explanation = self._explain(runtime, body)
            if "text/plain" in request.headers.get("accept", ""):
                return _text(200, render(explanation))
            return _json(200, explanation)
        except ValueError as error:
            return _json(400, {"error": str(error)})


def _audit_status(audit: AuditLog) -> AuditStatus:
    head = audit.head
    return AuditStatus(
        log=head.log,
        file=head.file,
        writer=audit.writer.id,
        seq=head.seq,
        chain=head.chain,
        key_id=audit.writer.key_id,
        written=audit.written,
        waiting=audit.waiting,
        dropped=audit.dropped,
        failure=audit.failure,
    )


def _json(status: int, body: object) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def _text(status: int, text: str) -> Response:
    return Response(f"{text}\n", status, media_type="text/plain")
