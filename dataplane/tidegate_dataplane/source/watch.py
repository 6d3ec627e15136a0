"""Following one named object of the Kubernetes API.

List, then watch from there; bookmarks move the resource version on; 410 Gone means to list again; a watch that says
nothing beyond its own end is taken for dead. With `resourceNames` in RBAC, list and watch are allowed only under the
field selector `metadata.name` (kubernetes.io, "Using RBAC Authorization").
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from tidegate_dataplane.source.api_client import MAX_OBJECT_BYTES, ApiClient, ApiRefused
from tidegate_dataplane.source.backoff import Backoff
from tidegate_dataplane.source.state import Health, SourceState
from tidegate_dataplane.upstream import ResponseTimeout, UpstreamError, UpstreamResponse

WATCH_SECONDS = 30
SILENCE_SECONDS = WATCH_SECONDS + 5.0
# A watch that ended sooner is not opened again at once, however it ended.
_STEADY_SECONDS = 1.0
_GONE = 410
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NamedObject:
    """A ConfigMap's or Secret's values by key."""

    values: dict[str, bytes] = field(repr=False)


class _Meta(Struct, rename="camel"):
    resource_version: str = ""


class ConfigMap(Struct, rename="camel"):
    """The parts of a ConfigMap that are read."""

    metadata: _Meta
    data: dict[str, str] = {}
    binary_data: dict[str, bytes] = {}

    def named(self) -> NamedObject:
        return NamedObject({key: value.encode() for key, value in self.data.items()} | self.binary_data)


class Secret(Struct, rename="camel"):
    """The parts of a Secret that are read."""

    metadata: _Meta
    data: dict[str, bytes] = {}

    def named(self) -> NamedObject:
        return NamedObject(self.data)


class _ListMeta(Struct, rename="camel"):
    resource_version: str


class _ConfigMapList(Struct):
    metadata: _ListMeta
    items: list[ConfigMap] = []


class _SecretList(Struct):
    metadata: _ListMeta
    items: list[Secret] = []


class _Event(Struct):
    type: str
    object: msgspec.Raw


class _ErrorStatus(Struct):
    code: int = 0
    message: str = ""


class _Bookmark(Struct):
    metadata: _Meta


class _Gone(Exception):
    """The resource version is too old to continue from."""


class ObjectWatch:
    """Follows the ConfigMap or Secret `name` and reports it, or None when it does not exist.

    `on_change` must not wait and must not raise; it hears only of changes. `kind` is "configmaps" or "secrets";
    `silence` is the number of seconds after which a watch without a word is dead.
    """

    def __init__(
        self,
        api: ApiClient,
        *,
        namespace: str,
        kind: str,
        name: str,
        on_change: Callable[[NamedObject | None], None],
        state: SourceState,
        silence: float = SILENCE_SECONDS,
    ) -> None:
        self._api = api
        self._path = f"/api/v1/namespaces/{namespace}/{kind}"
        self._selector = {"fieldSelector": f"metadata.name={name}"}
        self._what = f"{kind[:-1]} {namespace}/{name}"
        self._list_type: type[_ConfigMapList] | type[_SecretList] = (
            _ConfigMapList if kind == "configmaps" else _SecretList
        )
        self._item_type: type[ConfigMap] | type[Secret] = ConfigMap if kind == "configmaps" else Secret
        self._on_change = on_change
        self._state = state
        self._silence = silence
        self._version = ""
        self._seen = ""
        self._backoff = Backoff()

    async def run(self) -> None:
        """Follow until cancelled, whatever happens to the API server."""
        while True:
            began = time.monotonic()
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except _Gone:
                self._version = ""
            except (UpstreamError, ApiRefused, OSError, msgspec.DecodeError, ValueError) as error:
                stalled = isinstance(error, ResponseTimeout)
                if stalled or (isinstance(error, ApiRefused) and error.status == _GONE):
                    self._version = ""  # trust nothing that was heard: list
                self._state.set(Health.FAILING, f"{self._what}: {error}")
                _log.warning("cannot follow %s, trying again: %s", self._what, error)
            if time.monotonic() - began > _STEADY_SECONDS:
                self._backoff.reset()
            else:
                await asyncio.sleep(self._backoff.wait())

    async def _list(self) -> None:
        found = msgspec.json.decode(await self._api.get(self._path, self._selector), type=self._list_type)
        self._version = found.metadata.resource_version
        self._report(found.items[0] if found.items else None)
        self._healthy()

    async def _watch(self) -> None:
        # So that replicas do not all come back at once.
        seconds = WATCH_SECONDS - random.randint(0, 5)  # noqa: S311 - protects nothing
        query = {
            **self._selector,
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        response = await self._api.watch(self._path, query)
        self._healthy()
        heard = False
        async with response:
            async for line in _lines(response, self._silence):
                self._handle(msgspec.json.decode(line, type=_Event))
                heard = True
        if not heard:
            # Not even a bookmark: so is a watch from a resourceVersion that is still to come, after etcd was wiped.
            self._version = ""

    def _handle(self, event: _Event) -> None:
        if event.type == "ERROR":
            status = msgspec.json.decode(event.object, type=_ErrorStatus)
            if status.code == _GONE:
                raise _Gone
            raise ApiRefused(status.code, status.message)
        if event.type == "BOOKMARK":
            self._advance(msgspec.json.decode(event.object, type=_Bookmark).metadata.resource_version)
            return
        item = msgspec.json.decode(event.object, type=self._item_type)
        self._advance(item.metadata.resource_version)
        self._report(None if event.type == "DELETED" else item)

    def _advance(self, version: str) -> None:
        """A version that goes back is one of another etcd: whatever happened in between was never told."""
        if version.isdecimal() and self._version.isdecimal() and int(version) < int(self._version):
            raise _Gone
        self._version = version

    def _report(self, item: ConfigMap | Secret | None) -> None:
        version = "(absent)" if item is None else item.metadata.resource_version
        if version == self._seen:
            return
        self._seen = version
        self._on_change(None if item is None else item.named())

    def _healthy(self) -> None:
        self._state.set(Health.FOLLOWING)


async def _lines(response: UpstreamResponse, silence: float) -> AsyncIterator[bytes]:
    pending = b""
    async for chunk in response.chunks(idle_timeout=silence):
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line
        if len(pending) > MAX_OBJECT_BYTES:
            raise ValueError("a watch event is larger than any ConfigMap")
