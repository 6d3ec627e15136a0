"""Complete lists of everything watched: the first fills the store, later ones prove that the watches missed nothing."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TypeVar

from tidegate_operator.ingest import (
    ConfigMapListing,
    CustomListing,
    SecretListing,
    seen_config_map,
    seen_object,
    seen_secret,
)
from tidegate_operator.kube import (
    API_FAILURES,
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    SECRETS,
    Api,
    ApiError,
    ClusterReplaced,
    Listing,
)
from tidegate_operator.metrics import Metrics
from tidegate_operator.outputs import Gateway
from tidegate_operator.planes import EndpointSlice, Planes
from tidegate_operator.publish import Publisher
from tidegate_operator.resources import RESOURCES
from tidegate_operator.store import SeenConfigMap, SeenObject, SeenSecret, Store
from tidegate_operator.world import LIST_LABEL, Kind, SecretKey

_log = logging.getLogger(__name__)

T = TypeVar("T")

INTERVAL_SECONDS = 300.0
JITTER = 0.1
RETRY_SECONDS = (1.0, 2.0, 5.0)


class Auditor:
    """Compares the store with the API: at the start, when a watch had to begin anew, and every five minutes."""

    def __init__(
        self,
        api: Api,
        store: Store,
        publisher: Publisher,
        planes: Planes,
        *,
        service: str | None,
        metrics: Metrics,
        on_repair: Callable[[], None],
        interval: float = INTERVAL_SECONDS,
    ) -> None:
        self._api = api
        self._store = store
        self._publisher = publisher
        self._planes = planes
        self._service = service
        self._metrics = metrics
        self._on_repair = on_repair
        self._interval = interval
        self._requested: set[str] = set()
        self._wakeup = asyncio.Event()
        self._audits = self._plan(publisher.gateway)
        self._newest: dict[str, int] = {}

    async def fill(self) -> None:
        """The first complete lists. Waits for CRDs that are not installed yet and for an API server that is away.

        Raises ClusterReplaced, as `run` does.
        """
        await asyncio.gather(*(self._fill(path) for path in self._audits))

    def request(self, path: str) -> None:
        """Audit one collection soon."""
        self._requested.add(path)
        self._wakeup.set()

    def request_all(self) -> None:
        """Audit everything soon."""
        for path in self._audits:
            self.request(path)

    async def run(self) -> None:
        """Audit until cancelled."""
        while True:
            # Many operators that were started together must not all list at once.
            pause = self._interval * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
            try:
                async with asyncio.timeout(pause):
                    await self._wakeup.wait()
            except TimeoutError:
                self._requested.update(self._audits)
            self._wakeup.clear()
            paths, self._requested = self._requested, set()
            for path in sorted(paths & self._audits.keys()):
                await self._audit(path)

    async def _audit(self, path: str) -> None:
        try:
            repairs = await self._audits[path]()
        except API_FAILURES as error:
            _log.warning("the audit of %s failed and will be tried again: %s", path, error or type(error).__name__)
            asyncio.get_running_loop().call_later(RETRY_SECONDS[-1], self.request, path)
            return
        if repairs:
            self._metrics.repairs.inc(len(repairs))
            shown = "; ".join(repairs[:5]) + (f"; and {len(repairs) - 5} more" if len(repairs) > 5 else "")
            _log.warning("the audit repaired what the watch of %s had missed: %s", path, shown)
            self._on_repair()

    async def _fill(self, path: str) -> None:
        failures = 0
        while True:
            try:
                await self._audits[path]()
                return
            except API_FAILURES as error:
                delay = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                hint = " (are the CRDs installed?)" if isinstance(error, ApiError) and error.missing else ""
                _log.warning("cannot list %s%s, next attempt in %g s: %s", path, hint, delay, error)
                failures += 1
                await asyncio.sleep(delay)

    async def _pages(self, path: str, kind: type[Listing[T]], **query: str) -> AsyncIterator[Listing[T]]:
        """As `Api.pages`; raises ClusterReplaced for a list that is older than one that had come when it began."""
        known = self._newest.get(path, 0)
        async for page in self._api.pages(path, kind, **query):
            version = int(page.metadata.resource_version)
            if version < known:
                raise ClusterReplaced(
                    f"{path} is at resourceVersion {version} and was at {known}: etcd was wiped or restored;"
                    " the operator must begin anew"
                )
            self._newest[path] = max(version, self._newest.get(path, 0))
            yield page

    def _plan(self, gateway: Gateway) -> Mapping[str, Callable[[], Awaitable[list[str]]]]:
        plan: dict[str, Callable[[], Awaitable[list[str]]]] = {
            resource.path(): lambda kind=kind: self._audit_kind(kind)  # type: ignore[misc]
            for kind, resource in RESOURCES.items()
        }
        plan[SECRETS.path()] = self._audit_secrets
        plan[CONFIG_MAPS.path()] = self._audit_lists
        plan[CONFIG_MAPS.path(gateway.namespace)] = self._audit_outputs
        if self._service is not None:
            plan[ENDPOINT_SLICES.path(gateway.namespace)] = self._audit_slices
        return plan

    async def _audit_kind(self, kind: Kind) -> list[str]:
        listed: list[SeenObject] = []
        version = 0
        async for page in self._pages(RESOURCES[kind].path(), CustomListing):
            version = int(page.metadata.resource_version)
            listed += [seen_object(kind, item) for item in page.items]
        return self._store.audit(kind, listed, version)

    async def _audit_secrets(self) -> list[str]:
        gateway = self._publisher.gateway
        own = SecretKey(gateway.namespace, gateway.credentials_name)
        listed: list[SeenSecret] = []
        version = 0
        async for page in self._pages(SECRETS.path(), SecretListing, fieldSelector="type=Opaque"):
            version = int(page.metadata.resource_version)
            listed += [seen for item in page.items if (seen := seen_secret(item)).key != own]
        return self._store.audit_secrets(listed, version)

    async def _audit_lists(self) -> list[str]:
        listed: list[SeenConfigMap] = []
        version = 0
        async for page in self._pages(CONFIG_MAPS.path(), ConfigMapListing, labelSelector=f"{LIST_LABEL}=true"):
            version = int(page.metadata.resource_version)
            listed += map(seen_config_map, page.items)
        return self._store.audit_config_maps(listed, version)

    async def _audit_outputs(self) -> list[str]:
        wrong = await self._publisher.audit()
        return [f"{name} was not as published" for name in wrong]

    async def _audit_slices(self) -> list[str]:
        path = ENDPOINT_SLICES.path(self._publisher.gateway.namespace)
        items: list[EndpointSlice] = []
        selector = f"kubernetes.io/service-name={self._service}"
        async for page in self._api.pages(path, Listing[EndpointSlice], labelSelector=selector):
            items += page.items
        self._planes.set_slices(items)
        return []
