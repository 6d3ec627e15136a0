"""Whether Argo CD leaves alone what it has synced: nothing out of sync, no further sync, no write to an object."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from delivery.argo_cd import Object

_POLL = 0.25


def unrest(applications: Callable[[], list[Object]], seconds: float) -> list[str]:
    """What happened in that time to Applications that were in sync; nothing, if all is well."""
    began = _operations(applications())
    seen: dict[str, None] = {}
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        found = applications()
        for each in found:
            status = each["status"]["sync"]["status"]
            if status != "Synced":
                seen[f"{_name(each)} is {status}: {_out_of_sync(each)}"] = None
        for name, started in _operations(found).items():
            if started != began[name]:
                seen[f"{name} was synced again at {started}"] = None
        time.sleep(_POLL)
    return list(seen)


def syncs(application: Mapping[str, object]) -> str:
    """Tells one sync from the next."""
    return _operations([dict(application)]).popitem()[1]


def _operations(applications: list[Object]) -> dict[str, str]:
    return {_name(each): str(each["status"].get("operationState", {}).get("startedAt")) for each in applications}


def _out_of_sync(application: Object) -> str:
    resources = application["status"].get("resources", [])
    return ", ".join(f"{each['kind']} {each['name']}" for each in resources if each.get("status") == "OutOfSync")


def _name(application: Object) -> str:
    return str(application["metadata"]["name"])
