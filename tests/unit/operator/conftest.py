"""An API server in memory: versions, server-side apply of one manager, preconditions, and failures on demand."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import pytest

from tidegate_operator.kube import Api, ApiError


class MemoryApi(Api):
    """Just enough of the API for the operator's outputs and statuses. `log` holds "METHOD path" of every write."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.log: list[str] = []
        self.version = 100
        self.fail: Callable[[str, str], Exception | None] = lambda method, path: None
        self.after: Callable[[str, str], None] = lambda method, path: None

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        if method == "GET":
            return json.dumps(self._read(path)).encode()
        self.log.append(f"{method} {path}")
        failure = self.fail(method, path)
        if failure is not None:
            raise failure
        sent = json.loads(json.dumps(body))
        if method == "POST":
            path = f"{path}/{sent['metadata']['name']}"
            if path in self.objects:
                raise ApiError(409, "AlreadyExists", path)
            answer = self._store(path, sent)
        elif method == "DELETE":
            self._check(path, sent["preconditions"]["resourceVersion"])
            answer = self.objects.pop(path)
        elif path.endswith("/status"):
            answer = self._store_status(path.removesuffix("/status"), sent)
        else:
            self._check(path, sent["metadata"].get("resourceVersion"))
            answer = self._store(path, sent)
        self.after(method, path)
        return json.dumps(answer).encode()

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> tuple[Mapping[str, str], bytes]:
        return {}, await self.request(method, path, query=query, body=body, content_type=content_type)

    def edit(self, path: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Somebody else changes an object."""
        item = copy.deepcopy(self.objects[path])
        change(item)
        self._store(path, item)

    def _read(self, path: str) -> dict[str, Any]:
        if path in self.objects:
            return self.objects[path]
        items = [item for key, item in sorted(self.objects.items()) if key.startswith(f"{path}/")]
        if path.endswith(("configmaps", "secrets")):
            return {"metadata": {"resourceVersion": str(self.version)}, "items": items}
        raise ApiError(404, "NotFound", path)

    def _check(self, path: str, version: str | None) -> None:
        if path not in self.objects:
            if version is not None:
                raise ApiError(409, "Conflict", path)
        elif version is not None and self.objects[path]["metadata"]["resourceVersion"] != version:
            raise ApiError(409, "Conflict", path)

    def _store_status(self, path: str, sent: dict[str, Any]) -> dict[str, Any]:
        known = self.objects.get(path)
        if known is None:
            raise ApiError(404, "NotFound", path)
        if known["metadata"]["uid"] != sent["metadata"]["uid"]:
            raise ApiError(409, "Conflict", path)
        item = copy.deepcopy(known)
        item["status"] = sent["status"]
        return self._store(path, item)

    def _store(self, path: str, item: dict[str, Any]) -> dict[str, Any]:
        known = self.objects.get(path)
        meta = item["metadata"]
        meta.pop("resourceVersion", None)
        meta["uid"] = meta.get("uid") or (known or item)["metadata"].get("uid") or str(uuid4())
        if known is not None:
            before = copy.deepcopy(known)
            version = before["metadata"].pop("resourceVersion")
            if before == item:
                meta["resourceVersion"] = version
                return known
        self.version += 1
        meta["resourceVersion"] = str(self.version)
        self.objects[path] = item
        return item


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi()
