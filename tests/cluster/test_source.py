"""A data plane follows ConfigMaps and a Secret on a real API server, under the role that the chart gives it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cluster.harness.apiserver import ApiServer
from cluster.harness.gateway import DATA_PLANE_ACCOUNT
from cluster.harness.install import SYSTEM_NAMESPACE, apply_rbac
from dataplane.factory import bundle_of, mock_backend, shard
from dataplane.waiting import until
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.settings import Address, Settings
from tidegate_dataplane.snapshot.bundle import (
    INDEX_KEY,
    Bundle,
    credentials_secret,
    index_config_map,
    shard_config_map,
    shard_key,
)
from tidegate_dataplane.snapshot.codec import digest
from tidegate_dataplane.source.api_access import from_kubeconfig

GATEWAY = "default"
RBAC = Path(__file__).resolve().parents[2] / "charts" / "tidegate" / "rbac"


def bundle(revision: int) -> Bundle:
    return bundle_of(shard(backends=[mock_backend(reply=f"reply {revision}")]), revision=revision)


def publish(server: ApiServer, found: Bundle) -> None:
    for name, data in found.shards.items():
        value = base64.b64encode(data).decode()
        _apply(server, shard_config_map(GATEWAY, name), {"binaryData": {shard_key(name, digest(data)): value}})
    _apply(server, index_config_map(GATEWAY), {"data": {INDEX_KEY: found.index.decode()}})


def set_credential(server: ApiServer, value: str) -> None:
    path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/secrets/{credentials_secret(GATEWAY)}"
    secret = {"metadata": {"name": credentials_secret(GATEWAY)}, "stringData": {"team-a.openai": value}}
    server.admin.apply(path, {"apiVersion": "v1", "kind": "Secret", **secret})


def _apply(server: ApiServer, name: str, content: dict[str, object]) -> None:
    path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps/{name}"
    server.admin.apply(path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **content})


@asynccontextmanager
async def data_plane(server: ApiServer) -> AsyncIterator[DataPlane]:
    kubeconfig = server.kubeconfig_for_serviceaccount(SYSTEM_NAMESPACE, DATA_PLANE_ACCOUNT)
    plane = DataPlane(
        Settings(
            gateway=GATEWAY,
            namespace=SYSTEM_NAMESPACE,
            api=from_kubeconfig(kubeconfig),
            listen=Address("127.0.0.1", 0),
            admin_listen=Address("127.0.0.1", 0),
        )
    )
    await plane.start()
    try:
        yield plane
    finally:
        await plane.stop()


async def at(plane: DataPlane, revision: int) -> None:
    await until(lambda: plane.reloader.revision == revision, seconds=30)


async def test_published_then_changed_then_the_server_restarts(own_api_server: ApiServer) -> None:
    server = own_api_server
    apply_rbac(server, RBAC)
    publish(server, bundle(1))
    async with data_plane(server) as plane:
        await at(plane, 1)
        await asyncio.to_thread(publish, server, bundle(2))
        await at(plane, 2)
        await asyncio.to_thread(set_credential, server, "one")
        await credential(plane, b"one")
        await asyncio.to_thread(server.kill_api)
        await asyncio.sleep(0.2)
        assert plane.ready
        await asyncio.to_thread(server.start_api)
        await asyncio.to_thread(publish, server, bundle(3))
        await at(plane, 3)
        await asyncio.to_thread(set_credential, server, "two")
        await credential(plane, b"two")


async def credential(plane: DataPlane, value: bytes) -> None:
    await until(lambda: plane.credentials.get("team-a.openai") == value, seconds=30)
