"""A whole data plane: its parts put together, started and stopped in the right order."""

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from socket import gethostname

from tidegate_dataplane.admin import Admin
from tidegate_dataplane.alerts.alerts import Alerts
from tidegate_dataplane.alerts.claims import ProcessClaims, StoreClaims
from tidegate_dataplane.alerts.delivery import Deliveries
from tidegate_dataplane.alerts.webhook import Webhook
from tidegate_dataplane.app import Traffic
from tidegate_dataplane.audit import open_log
from tidegate_dataplane.authenticate.authenticator import Authenticator
from tidegate_dataplane.authenticate.failures import FailureLimiter
from tidegate_dataplane.authenticate.report import families, statuses
from tidegate_dataplane.authenticate.tokens import Tokens
from tidegate_dataplane.behaviour import Behaviour
from tidegate_dataplane.credentials import Credentials
from tidegate_dataplane.key_report import KeyReport
from tidegate_dataplane.key_uses import KeyUses
from tidegate_dataplane.listener import Listener
from tidegate_dataplane.metrics import Metrics
from tidegate_dataplane.open_ledger import open_ledger, open_store
from tidegate_dataplane.plane_metrics import read_parts
from tidegate_dataplane.pressure.gates import Gates
from tidegate_dataplane.pressure.report import PressureReport
from tidegate_dataplane.pressure.turns import Turns
from tidegate_dataplane.pressure.waiting import QuotaLines
from tidegate_dataplane.providers.connectors import Connectors
from tidegate_dataplane.proxy.accounts import Accounts
from tidegate_dataplane.proxy.explain import explain_json
from tidegate_dataplane.proxy.forward import Forwarder
from tidegate_dataplane.proxy.relay import Relay
from tidegate_dataplane.proxy.reserving import Reserver
from tidegate_dataplane.proxy.shedding import Shedding
from tidegate_dataplane.quota_report import QuotaReport
from tidegate_dataplane.reload import Outcome, Reloader
from tidegate_dataplane.runtime.providers import Providers
from tidegate_dataplane.settings import Address, Settings
from tidegate_dataplane.source.api_client import ApiClient
from tidegate_dataplane.source.directory import CredentialsDirectory, DirectorySource
from tidegate_dataplane.source.file import FileSource
from tidegate_dataplane.source.follow import Source, follow
from tidegate_dataplane.source.kubernetes import KubernetesSource
from tidegate_dataplane.source.state import SourceState
from tidegate_dataplane.store.protocol import StoreState
from tidegate_dataplane.transport.connections import Connections
from tidegate_dataplane.transport.tls import ServerTls
from tidegate_dataplane.trial import Trial
from tidegate_dataplane.upstream import UpstreamClient

_log = logging.getLogger(__name__)


class DataPlane:
    """Serves callers from the snapshots it is given: by its sources, or by `reloader.offer`.

    `run` does everything; `start`, `wait_closed` and `stop` are for a program that embeds it. One event loop.
    """

    def __init__(self, settings: Settings) -> None:
        """Open the audit file; nothing listens yet. Raises OSError when the audit file cannot be opened, and ValueError
        when its key cannot be used."""
        self._settings = settings
        self.metrics = Metrics()
        self.reloader = Reloader(settings.gateway, on_outcome=self._offered)
        self.credentials = Credentials()
        self.key_uses = KeyUses()
        self._client = UpstreamClient()
        self.tokens = Tokens(self._client, self.credentials)
        self._journal, self._store = open_store(settings)
        self.alerts = self._make_alerts()
        self.ledger = open_ledger(settings, self._journal, self._store, self.alerts)
        self._quota_report = QuotaReport(self.ledger.reports, self.alerts, self._store_state)
        self.behaviour = Behaviour()
        self.gates = Gates(settings.pressure)
        self.turns = Turns(settings.pressure)
        self.quota_lines = QuotaLines(settings.pressure.quota_queue)
        self._shedding = Shedding()
        self._pressure = PressureReport(self.gates, self.turns, self.quota_lines, self._shedding.counter)
        self._providers: Providers | None = None
        self._audit = (
            open_log(settings.audit, settings.audit_options, gateway=settings.gateway) if settings.audit else None
        )
        self._reserver = Reserver(self.ledger, self.quota_lines)
        self._accounts = Accounts(settings.gateway, self.ledger, self._reserver, self._audit, self.metrics)
        self._trial = Trial(lambda: self.reloader.revision)
        self._accounts.count_trials(self._trial)
        self._draining = False
        self._closing = asyncio.Event()
        self._closed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._tls = None if settings.tls is None else ServerTls(settings.tls)
        self._sources = self._make_sources()
        self._traffic = Listener(
            self._make_traffic(), settings.listen, settings.limits, self._tls, self._accounts.refused
        )
        self._admin = Listener(self._make_admin().app(), settings.admin_listen, settings.limits)
        self._read_metrics()

    @property
    def address(self) -> Address:
        """Where callers are served, once started."""
        return self._traffic.address

    @property
    def admin_address(self) -> Address:
        """Where the admin port is, once started."""
        return self._admin.address

    @property
    def ready(self) -> bool:
        return self.reloader.runtime is not None and not self._draining and not self._accounts.gate.closed

    def set_credentials(self, values: Mapping[str, bytes]) -> None:
        """Replace all provider keys, for requests from now on; they win over those of any source."""
        self.credentials.replace("memory", values)

    async def run(self) -> None:
        """Start, serve until SIGTERM or SIGINT, and stop in order."""
        await self.start()
        await self.wait_closed()

    async def start(self) -> None:
        """Listen, and follow the sources. Raises OSError when an address cannot be bound."""
        if self._audit is not None:
            self._audit.start()
        try:
            await self._admin.start()
            await self._traffic.start()
        except OSError:
            await self._admin.stop(0)
            await self._stop_audit()
            raise
        self.alerts.start()
        if self.ledger.shared is not None:
            await self.ledger.shared.start()
        loop = asyncio.get_running_loop()
        for source in self._sources:
            self._tasks.append(loop.create_task(follow(source), name=type(source).__name__))
        _log.info("serving %s, admin on %s", self.address, self.admin_address)

    async def wait_closed(self) -> None:
        """Return when the data plane was told to stop, by SIGTERM, SIGINT or `stop`, and has stopped."""
        with _signals(self._closing.set):
            await self._closing.wait()
            await self.stop()

    async def stop(self) -> None:
        """Say so in `/-/ready`, go on for the drain delay, then accept nothing more, finish what is being served (at
        most `grace` seconds), and write out the audit log."""
        if self._draining:
            await self._closed.wait()
            return
        self._draining = True
        self._closing.set()
        self.reloader.wake()
        self._traffic.drain()
        _log.info("draining, %d requests are being served", self._traffic.serving)
        await asyncio.sleep(self._settings.drain_delay)
        await self._traffic.stop(self._settings.grace)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.tokens.aclose()
        await self.alerts.aclose()
        self._quota_report.close()
        if self.ledger.shared is not None:
            await self.ledger.shared.aclose()
        await self._client.aclose()
        self.reloader.close()
        await self._stop_audit()
        await self._admin.stop(0)
        self._closed.set()

    def _offered(self, outcome: Outcome) -> None:
        self.metrics.reloads.add((outcome.value,))
        runtime = self.reloader.runtime
        if runtime is not None:
            self.gates.follow(runtime.backends)
            self._reserver.follow(runtime)
        if runtime is not None and runtime.providers is not self._providers:
            self._providers = runtime.providers
            self.tokens.follow({key: provider.entry for key, provider in runtime.providers.by_key.items()})

    async def _stop_audit(self) -> None:
        if self._audit is not None:
            await asyncio.to_thread(self._audit.stop)

    def _make_sources(self) -> list[Source]:
        settings, reloader, credentials = self._settings, self.reloader, self.credentials
        sources: list[Source] = []
        if settings.api is not None:
            api = ApiClient(settings.api, self._client)
            sources.append(
                KubernetesSource(
                    api,
                    gateway=settings.gateway,
                    namespace=settings.namespace,
                    reloader=reloader,
                    credentials=credentials,
                    instance=self._instance,
                    on_trial=self._trial.follow,
                )
            )
        if settings.credentials_dir is not None:
            sources.append(CredentialsDirectory(settings.credentials_dir, credentials=credentials))
        if settings.snapshot_dir is not None:
            sources.append(DirectorySource(settings.snapshot_dir, reloader=reloader))
        if settings.snapshot_file is not None:
            sources.append(FileSource(settings.snapshot_file, reloader=reloader))
        if self._tls is not None:
            sources.append(self._tls)
        return sources

    def _make_traffic(self) -> Traffic:
        limits = self._settings.limits
        failures = FailureLimiter(
            self._settings.failures_per_address,
            self._settings.failures_per_prefix,
            on_failure=lambda reason: self.metrics.authentication_failures.add((reason,)),
        )
        return Traffic(
            reloader=self.reloader,
            reserver=self._reserver,
            forwarder=Forwarder(Connectors(self._client, self.credentials), self.metrics, self.gates, self._shedding),
            relay=Relay(limits.response_bytes),
            accounts=self._accounts,
            metrics=self.metrics,
            body_bytes=limits.body_bytes,
            authenticator=Authenticator(self.tokens, failures, self.behaviour),
            behaviour=self.behaviour,
            key_uses=self.key_uses,
            turns=self.turns,
            shedding=self._shedding,
            connections=self._make_connections(),
            strangers_bytes=limits.strangers_bytes,
        )

    def _make_alerts(self) -> Alerts:
        return Alerts(
            gateway=self._settings.gateway,
            cluster=self._cluster_name,
            claims=ProcessClaims() if self._store is None else StoreClaims(self._store),
            deliveries=Deliveries(Webhook(self._client, self.credentials, now=time.time)),
        )

    def _store_state(self) -> StoreState | None:
        return None if self._store is None else self._store.state

    def _cluster_name(self) -> str:
        loaded = self.reloader.loaded
        return "" if loaded is None else loaded.index.cluster.name

    def _make_connections(self) -> Connections | None:
        settings = self._settings
        if self._tls is None and settings.proxies is None:
            return None
        return Connections(
            proxies=settings.proxies, forwarded_certificates=settings.forwarded_certificates, verifier=self._tls
        )

    def _make_admin(self) -> Admin:
        return Admin(
            gateway=self._settings.gateway,
            version=_version(),
            reloader=self.reloader,
            metrics=self.metrics,
            sources=self._source_states,
            draining=lambda: self._draining,
            explain=partial(explain_json, observed=self.behaviour),
            pending=lambda: self.behaviour.pending,
            audit=self._audit,
            identity_providers=lambda: statuses(self.tokens),
            pressure=self._pressure.status,
            keys=KeyReport(self.reloader, self.key_uses),
            quotas=self._quota_report,
            trial=self._trial,
            instance=self._instance,
        )

    def _instance(self) -> str:
        """In Kubernetes the pod's name, with the admin port, which tells apart what runs on one workstation."""
        return "" if self._settings.api is None else f"{gethostname()}:{self.admin_address.port}"

    def _source_states(self) -> list[SourceState]:
        return [state for source in self._sources for state in source.states]

    def _read_metrics(self) -> None:
        self.metrics.read_families(lambda: families(self.tokens))
        self.metrics.read_families(self._pressure.families)
        self.metrics.read_families(self.alerts.families)
        read_parts(
            self.metrics,
            reloader=self.reloader,
            ledger=self.ledger,
            store=self._store,
            audit=self._audit,
            ready=lambda: self.ready,
        )


@contextmanager
def _signals(stop: Callable[[], object]) -> Iterator[None]:
    """Only a main thread may listen to signals; elsewhere whoever embeds us calls `stop`."""
    loop = asyncio.get_running_loop()
    main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGTERM, signal.SIGINT) if main else ()
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _version() -> str:
    try:
        return version("tidegate")
    except PackageNotFoundError:
        return "unknown"
