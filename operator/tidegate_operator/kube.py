"""The Kubernetes API as this operator uses it: raw JSON over the official client's asyncio side.

The official client brings kubeconfig, in-cluster tokens and their renewal, and TLS; its models are left aside because
decoding 10,000 objects into them costs more than everything else the operator does.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Self, TypeVar
from urllib.parse import urlencode

import aiohttp
import msgspec
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

FIELD_MANAGER = "tidegate-operator"
STATUS_FIELD_MANAGER = "tidegate-operator-status"
PAGE = 500
# A connection that has silently died is found out by its silence.
_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5, sock_read=10)
_APPLY = "application/apply-patch+yaml"
_JSON = "application/json"

T = TypeVar("T")


class ApiError(Exception):
    """The API server refused. `status` is the HTTP code, `reason` the Status' machine-readable word."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message

    @property
    def conflict(self) -> bool:
        """Somebody else wrote in between (or the object is another one of the same name)."""
        return self.status == 409

    @property
    def missing(self) -> bool:
        return self.status == 404


# What a request may fail with when the API server is away or refuses.
API_FAILURES = (ApiError, aiohttp.ClientError, TimeoutError, OSError)


class ClusterReplaced(Exception):
    """The API server's etcd is another one than before: wiped, or restored from a backup.

    A complete list is never older than one that was read before it, and a Lease is never another one or gone, unless
    that has happened (or somebody deleted the Lease). Then nothing that is remembered by resourceVersion holds any
    more, and the operator must begin anew.
    """


class ListMeta(msgspec.Struct):
    """metav1.ListMeta, as far as it is read."""

    resource_version: str = msgspec.field(name="resourceVersion", default="0")
    continue_token: str = msgspec.field(name="continue", default="")


class Listing(msgspec.Struct, Generic[T]):
    """One page of a list."""

    metadata: ListMeta
    items: list[T] = []


class _Status(msgspec.Struct):
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Resource:
    """Where a kind lives in the API, for example apis/tidegate.dev/v1alpha1 airoutes."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The collection's path (cluster-wide without a namespace), or an object's."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")


CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS = Resource("", "v1", "secrets", "Secret")
EVENTS = Resource("", "v1", "events", "Event")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")


async def load_configuration(kubeconfig: Path | None) -> Configuration:
    """Read a kubeconfig, or the Pod's own ServiceAccount without one; raises kubernetes' ConfigException."""
    configuration = Configuration()
    if kubeconfig is None:
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # theirs
    else:
        await config.load_kube_config(  # type: ignore[no-untyped-call]  # theirs
            config_file=str(kubeconfig), client_configuration=configuration, persist_config=False
        )
    return configuration


class Api:
    """JSON requests under one identity. Every method may raise one of API_FAILURES."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._client: Any = ApiClient(configuration=configuration)

    @classmethod
    async def connect(cls, kubeconfig: Path | None) -> Self:
        """A client for a kubeconfig, or for the Pod's own ServiceAccount."""
        return cls(await load_configuration(kubeconfig))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def get(self, path: str, kind: type[T], **query: str) -> T:
        """Read one object as `kind` (a msgspec type; fields that it does not name are skipped)."""
        return msgspec.json.decode(await self.request("GET", path, query=query), type=kind)

    async def pages(self, path: str, kind: type[Listing[T]], **query: str) -> AsyncIterator[Listing[T]]:
        """A collection page by page. All pages are of one moment: the resourceVersion of the first."""
        token = ""
        while True:
            more = {"continue": token} if token else {}
            page = await self.get(path, kind, limit=str(PAGE), **query, **more)
            yield page
            token = page.metadata.continue_token
            if not token:
                return

    async def create(self, path: str, body: Mapping[str, Any]) -> bytes:
        """POST to a collection; a conflict when the name is taken."""
        return await self.request("POST", path, body=body, query={"fieldManager": FIELD_MANAGER})

    async def replace(self, path: str, body: Mapping[str, Any]) -> bytes:
        """PUT an object; a conflict unless metadata.resourceVersion is still its own."""
        return await self.request("PUT", path, body=body, query={"fieldManager": FIELD_MANAGER})

    async def apply(self, path: str, body: Mapping[str, Any], *, manager: str = FIELD_MANAGER) -> bytes:
        """Server-side apply with force. With metadata.resourceVersion it conflicts unless that is the newest."""
        return await self.request(
            "PATCH", path, body=body, query={"fieldManager": manager, "force": "true"}, content_type=_APPLY
        )

    async def delete(self, path: str, *, resource_version: str) -> None:
        """Delete exactly this version of an object; what is gone already is no error."""
        body = {"preconditions": {"resourceVersion": resource_version}}
        try:
            await self.request("DELETE", path, body=body)
        except ApiError as error:
            if not error.missing:
                raise

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = _JSON,
    ) -> bytes:
        """Send one request and return the body of the answer."""
        return (await self.exchange(method, path, query=query, body=body, content_type=content_type))[1]

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> tuple[Mapping[str, str], bytes]:
        """As `request`; returns the headers too."""
        url = f"{self._configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": FIELD_MANAGER}
        headers |= await authorization(self._configuration)
        response = await self._client.rest_client.request(
            method, url, headers=headers, body=body, _request_timeout=_TIMEOUT
        )
        answer: bytes = await response.read()
        if response.status >= 400:
            raise _error(response.status, answer)
        return response.headers, answer

    async def lines(self, path: str, query: Mapping[str, str], *, silence: float) -> AsyncIterator[bytes]:
        """The JSON lines of a watch, until the server ends it; TimeoutError when none comes for `silence` seconds."""
        headers = {"Accept": _JSON, "User-Agent": FIELD_MANAGER, **await authorization(self._configuration)}
        response = await self._client.rest_client.request(
            "GET",
            f"{self._configuration.host}{path}?{urlencode(query)}",
            headers=headers,
            _request_timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=silence),
        )
        try:
            if response.status >= 400:
                raise _error(response.status, await response.read())
            async for line in response.response.content:
                yield line
        finally:
            response.response.close()


async def authorization(configuration: Configuration) -> dict[str, str]:
    """The Authorization header, with a token that was renewed if need be; empty for client certificates."""
    settings = await configuration.auth_settings()
    bearer = settings.get("BearerToken")
    value = bearer["value"] if bearer else None
    return {"Authorization": value} if value else {}


async def watch_session(configuration: Configuration, trace: aiohttp.TraceConfig) -> aiohttp.ClientSession:
    """A session for kopf: the same identity and TLS, and `trace` to observe its lists and watches."""
    client: Any = ApiClient(configuration=configuration)
    connector = aiohttp.TCPConnector(limit=0, ssl=client.rest_client.ssl_context)
    return aiohttp.ClientSession(
        connector=connector,
        headers={**await authorization(configuration), "User-Agent": FIELD_MANAGER},
        trace_configs=[trace],
        read_bufsize=2**21,
    )


def _error(status: int, answer: bytes) -> ApiError:
    try:
        said = msgspec.json.decode(answer, type=_Status)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ApiError(status, "", answer[:300].decode(errors="replace"))
    return ApiError(status, said.reason, said.message)
