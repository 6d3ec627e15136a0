"""Reads clusters through their contexts in a kubeconfig, side by side. It only lists and gets, and never a Secret."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import msgspec
from kubernetes.aio import config
from kubernetes.aio.client import Configuration
from kubernetes.aio.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION, KubeConfigMerger

from tidegate_operator.fleet.cluster import ClusterView, FleetObject, GatewayView, GitSync, Read, Unreachable
from tidegate_operator.fleet.items import fleet_object, gateway_view, git_sync
from tidegate_operator.ingest import ConfigMapObject, CustomListing, Meta
from tidegate_operator.kube import API_FAILURES, CONFIG_MAPS, LEASES, Api, ApiError, Listing
from tidegate_operator.kube import Resource as ApiResource
from tidegate_operator.leadership import LeaseObject
from tidegate_operator.outputs import GATEWAY_LABEL, Gateway
from tidegate_operator.resources import RESOURCES
from tidegate_operator.world import Kind

APPLICATIONS: Final = ApiResource("argoproj.io", "v1alpha1", "applications", "Application")
IN_CLUSTER: Final = frozenset({"https://kubernetes.default.svc", "in-cluster"})
"""How an Application names the cluster that it stands in itself."""

_KINDS_AT_ONCE = 3
_NAMES_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

OnObjects = Callable[[str, int], None]


class _Named(msgspec.Struct):
    metadata: Meta


@dataclass(frozen=True, slots=True)
class Where:
    """What to read. `gateways` empty: each that is found in `namespace`. `patience` is seconds for a first answer."""

    namespace: str = "tidegate-system"
    gateways: tuple[str, ...] = ()
    patience: float = 5.0


class NoContext(Exception):
    """The kubeconfig cannot be used, or has no such context; the message says which it has."""


def context_names(kubeconfig: str | None) -> tuple[list[str], str]:
    """The contexts of a kubeconfig (None: as kubectl finds it), and the current one. Raises NoContext."""
    path = kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION
    try:
        merged = KubeConfigMerger(path).config  # type: ignore[no-untyped-call]  # theirs
        names = [str(entry["name"]) for entry in merged.safe_get("contexts") or ()] if merged is not None else []
        current = str(merged.safe_get("current-context") or "") if merged is not None else ""
    except Exception as error:  # noqa: BLE001 - theirs raises whatever YAML and the file system raise
        raise NoContext(f"{path} cannot be read as a kubeconfig: {error}") from None
    if not names:
        raise NoContext(f"{path} has no contexts; give --kubeconfig, or set KUBECONFIG")
    return names, current


async def read_fleet(
    contexts: Sequence[str],
    where: Where,
    *,
    kubeconfig: str | None = None,
    argocd: str | None = None,
    on_objects: OnObjects = lambda _, __: None,
) -> list[Read]:
    """Read every context; each is a view, or says why it could not be read. `argocd` is the context of a hub.

    `on_objects` hears how many more objects of a context have been read.
    """
    reads, (hub, fault) = await asyncio.gather(
        asyncio.gather(*(_guarded(name, where, kubeconfig, on_objects) for name in contexts)),
        _hub_applications(argocd if argocd not in contexts else None, where, kubeconfig),
    )
    return assign_applications(reads, hub, fault)


def assign_applications(reads: Iterable[Read], hub: Sequence[GitSync] = (), fault: str | None = None) -> list[Read]:
    """Give each Application to the cluster that it delivers to, wherever it stands. `fault`: why `hub` is empty."""
    listed = list(reads)
    everywhere = [*hub, *(sync for read in listed if isinstance(read, ClusterView) for sync in read.applications)]
    return [
        replace(
            read,
            applications=tuple(
                sync
                for sync in dict.fromkeys(everywhere)
                if _delivers_to(sync, read) and not (_stays(sync) and sync not in read.applications)
            ),
            notes=(*read.notes, fault) if fault else read.notes,
        )
        if isinstance(read, ClusterView)
        else read
        for read in listed
    ]


def _stays(sync: GitSync) -> bool:
    return sync.destination_server in IN_CLUSTER or sync.destination_name in IN_CLUSTER


def _delivers_to(sync: GitSync, view: ClusterView) -> bool:
    facts = view.facts
    names = {view.name, facts.name if facts is not None else ""} - {""}
    return (
        (_stays(sync) and sync in view.applications)
        or (bool(sync.destination_server) and sync.destination_server.rstrip("/") == view.server.rstrip("/"))
        or sync.destination_name in names
    )


async def _guarded(name: str, where: Where, kubeconfig: str | None, on_objects: OnObjects) -> Read:
    server = ""
    try:
        async with asyncio.timeout(where.patience):
            configuration = await _configuration(kubeconfig, name)
        server = str(configuration.host)
        api = Api(configuration)
        try:
            return await _Cluster(name, server, api, where, on_objects).read()
        finally:
            await api.close()
    except Exception as error:  # noqa: BLE001 - a broken entry of a kubeconfig must not hide the other clusters
        return Unreachable(name, _reason(error, where.patience), server)


async def _configuration(kubeconfig: str | None, context: str) -> Configuration:
    configuration = Configuration()
    await config.load_kube_config(  # type: ignore[no-untyped-call]  # theirs
        config_file=kubeconfig,
        context=context,
        client_configuration=configuration,
        persist_config=False,
    )
    return configuration


def _reason(error: Exception, patience: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {patience:g} s"
    if isinstance(error, ApiError):
        hint = {
            HTTPStatus.UNAUTHORIZED: "; log in to this cluster again",
            HTTPStatus.FORBIDDEN: "; bind the ClusterRole tidegate-fleet-viewer (see docs/how-to/fleet.md)",
        }
        return f"{error.message or error.reason}{hint.get(HTTPStatus(error.status), '')}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted: {error.certificate_error}"
    return str(error) or type(error).__name__


class _Cluster:
    """Reads one cluster."""

    def __init__(self, name: str, server: str, api: Api, where: Where, on_objects: OnObjects) -> None:
        self._name = name
        self._server = server
        self._api = api
        self._where = where
        self._on_objects = on_objects
        self._at_once = asyncio.Semaphore(_KINDS_AT_ONCE)
        self._notes: list[str] = []

    async def read(self) -> ClusterView:
        started = time.monotonic()
        async with asyncio.timeout(self._where.patience):
            names = await self._gateway_names()
        kinds, gateways, applications = await asyncio.gather(
            self._objects(), asyncio.gather(*(self._gateway(name) for name in names)), self._applications()
        )
        missing = tuple(kind.value for kind, listed in kinds.items() if listed is None)
        objects = {found.key: found for listed in kinds.values() for found in listed or ()}
        if len(missing) == len(Kind):
            raise LookupError("Tidegate is not installed there: it has none of the CRDs of tidegate.dev")
        return ClusterView(
            name=self._name,
            server=self._server,
            gateways=tuple(gateway for gateway in gateways if gateway is not None),
            objects=objects,
            applications=applications,
            missing_kinds=missing,
            notes=tuple(self._notes),
            seconds=time.monotonic() - started,
        )

    async def _gateway_names(self) -> list[str]:
        """From the labels of the operator's ConfigMaps, without what they hold."""
        if self._where.gateways:
            await self._api.request("GET", "/version")
            return list(self._where.gateways)
        path = CONFIG_MAPS.path(self._where.namespace)
        query = {"labelSelector": GATEWAY_LABEL}
        _, answer = await self._api.exchange("GET", path, query=query, accept=_NAMES_ONLY)
        listed = msgspec.json.decode(answer, type=Listing[_Named]).items
        return sorted({(item.metadata.labels or {}).get(GATEWAY_LABEL, "") for item in listed} - {""})

    async def _gateway(self, name: str) -> GatewayView | None:
        gateway = Gateway(name, self._where.namespace)
        try:
            index = await self._api.get(CONFIG_MAPS.path(gateway.namespace, gateway.index_name), ConfigMapObject)
        except ApiError as error:
            if error.missing:
                return None
            raise
        lease, now = await self._lease(gateway)
        return gateway_view(index, lease, now)

    async def _lease(self, gateway: Gateway) -> tuple[LeaseObject | None, datetime | None]:
        try:
            headers, answer = await self._api.exchange("GET", LEASES.path(gateway.namespace, gateway.index_name))
        except ApiError as error:
            if not error.missing:
                self._notes.append(f"the Lease cannot be read: {error.message}")
            return None, None
        return msgspec.json.decode(answer, type=LeaseObject), _date(headers)

    async def _objects(self) -> Mapping[Kind, list[FleetObject] | None]:
        """The objects of each kind; None for a kind that is not installed."""
        listed = await asyncio.gather(*(self._kind(kind) for kind in Kind))
        return dict(zip(Kind, listed, strict=True))

    async def _kind(self, kind: Kind) -> list[FleetObject] | None:
        found: list[FleetObject] = []
        try:
            async with self._at_once:
                async for page in self._api.pages(RESOURCES[kind].path(), CustomListing):
                    found += [fleet_object(kind, item) for item in page.items]
                    self._on_objects(self._name, len(page.items))
        except ApiError as error:
            if error.missing:
                return None
            raise
        return found

    async def _applications(self) -> tuple[GitSync, ...]:
        try:
            return await applications(self._api)
        except ApiError as error:
            if not error.missing:
                self._notes.append(f"Argo CD's Applications cannot be read: {error.message}")
            return ()


async def applications(api: Api) -> tuple[GitSync, ...]:
    """The Argo CD Applications in a cluster that deliver objects of Tidegate's kinds; raises ApiError."""
    found: list[GitSync] = []
    async for page in api.pages(APPLICATIONS.path(), Listing[dict[str, Any]]):
        found += [sync for item in page.items if (sync := git_sync(item)) is not None]
    return tuple(found)


async def _hub_applications(
    context: str | None, where: Where, kubeconfig: str | None
) -> tuple[tuple[GitSync, ...], str | None]:
    """The Applications of a cluster that is not shown itself, and why there are none."""
    if context is None:
        return (), None
    try:
        async with asyncio.timeout(where.patience):
            api = Api(await _configuration(kubeconfig, context))
        try:
            async with asyncio.timeout(where.patience):
                return await applications(api), None
        finally:
            await api.close()
    except (*API_FAILURES, config.ConfigException) as error:
        return (), f"Argo CD in {context} cannot be read: {_reason(error, where.patience)}"


def _date(headers: Mapping[str, str]) -> datetime | None:
    """The server's clock (RFC 9110, section 6.6.1), so that a wrong clock here ages no Lease."""
    try:
        return parsedate_to_datetime(headers.get("Date", "")).astimezone(UTC)
    except (TypeError, ValueError):
        return None
