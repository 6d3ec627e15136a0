"""An API server with one Secret and one ValidatingWebhookConfiguration, which refuses what names an old version."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from tidegate_operator.kube import ApiError

T = TypeVar("T")


class FakeApi:
    """As much of `Api` as the keeper uses. `pause` lets others run between a request and its effect."""

    def __init__(self) -> None:
        self.secret: dict[str, Any] | None = None
        client = {"service": {"name": "tidegate-webhook", "namespace": "tidegate-system"}}
        self.configuration: dict[str, Any] | None = {
            "metadata": {"name": "tidegate-webhook", "resourceVersion": "1"},
            "webhooks": [{"name": "changes.tidegate.dev", "clientConfig": client}],
        }
        self.writes: list[str] = []
        self._version = 1

    async def get(self, path: str, kind: type[T]) -> T:
        await asyncio.sleep(0)
        if self.secret is None:
            raise ApiError(404, "NotFound", "no such Secret")
        return msgspec.json.decode(json.dumps(self.secret), type=kind)

    async def create(self, path: str, body: Mapping[str, Any]) -> bytes:
        await asyncio.sleep(0)
        if self.secret is not None:
            raise ApiError(409, "AlreadyExists", "somebody was faster")
        return self._store(body)

    async def replace(self, path: str, body: Mapping[str, Any]) -> bytes:
        await asyncio.sleep(0)
        if self.secret is None or body["metadata"]["resourceVersion"] != self.secret["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "another version is stored")
        return self._store(body)

    async def request(self, method: str, path: str, *, body: Any = None, content_type: str = "") -> bytes:
        await asyncio.sleep(0)
        if self.configuration is None:
            raise ApiError(404, "NotFound", "no such configuration")
        if method == "PATCH":
            for one in body:
                self._patch(one)
            self._version += 1
            self.configuration["metadata"]["resourceVersion"] = str(self._version)
            self.writes.append("configuration")
        return json.dumps(self.configuration).encode()

    def _patch(self, one: Mapping[str, Any]) -> None:
        *steps, last = one["path"].strip("/").split("/")
        node: Any = self.configuration
        for step in steps:
            node = node[int(step)] if isinstance(node, list) else node[step]
        if one["op"] == "test" and node[last] != one["value"]:
            raise ApiError(422, "Invalid", "the test failed")
        node[last] = one["value"]

    def _store(self, body: Mapping[str, Any]) -> bytes:
        self._version += 1
        self.secret = copy.deepcopy(dict(body))
        self.secret["metadata"]["resourceVersion"] = str(self._version)
        self.writes.append("secret")
        return json.dumps(self.secret).encode()
