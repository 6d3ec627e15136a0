"""Follows the ConfigMap in which people say what is to be held back, by its name, whatever labels it carries."""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from tidegate_operator.ingest import ConfigMapListing, ConfigMapObject
from tidegate_operator.kube import CONFIG_MAPS, Api
from tidegate_operator.outputs import Gateway
from tidegate_operator.release.hold import NO_HOLD, Hold, hold_name, read_hold

_log = logging.getLogger(__name__)

WATCH_SECONDS = 60
RETRY_SECONDS = 2.0


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class HoldWatch:
    """`hold` is what is wished now. `on_change` is called when that changes."""

    def __init__(self, api: Api, gateway: Gateway, *, on_change: Callable[[], None]) -> None:
        self._api = api
        self._path = CONFIG_MAPS.path(gateway.namespace)
        self._name = hold_name(gateway.name)
        self._on_change = on_change
        self._version = ""
        self.hold: Hold = NO_HOLD

    async def read(self) -> Hold:
        """Ask now; raises one of API_FAILURES."""
        page = await self._api.get(self._path, ConfigMapListing, fieldSelector=f"metadata.name={self._name}")
        self._version = page.metadata.resource_version
        self._take(page.items[0] if page.items else None)
        return self.hold

    async def run(self) -> None:
        """Follow until cancelled; while the API is away, what was wished last holds."""
        while True:
            try:
                await self.read()
                await self._watch()
            except Exception as error:  # noqa: BLE001 - whatever stands there, it must never end the operator
                _log.debug("ConfigMap %s cannot be followed, trying again: %s", self._name, error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _watch(self) -> None:
        query = {
            "watch": "1",
            "fieldSelector": f"metadata.name={self._name}",
            "resourceVersion": self._version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        async for line in self._api.lines(self._path, query, silence=WATCH_SECONDS + 10):
            event = msgspec.json.decode(line, type=_Event)
            if event.type == "ERROR":
                return
            if event.type in ("ADDED", "MODIFIED", "DELETED"):
                item = msgspec.json.decode(event.object, type=ConfigMapObject)
                self._take(None if event.type == "DELETED" else item)

    def _take(self, item: ConfigMapObject | None) -> None:
        found = read_hold(None if item is None else item.data or {}, self.hold)
        if found == self.hold:
            return
        for fault in set(found.faults) - set(self.hold.faults):
            _log.error("ConfigMap %s is not understood, nothing changes by it: %s", self._name, fault)
        self.hold = found
        self._on_change()
