"""Manifests of Tidegate's kinds as short Python, and where each stands in the API."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

Manifest = dict[str, Any]

API = "tidegate.dev/v1alpha1"
PLURALS = {
    "AIBackend": "aibackends",
    "AIConsumer": "aiconsumers",
    "AIPolicy": "aipolicies",
    "AIRoute": "airoutes",
    "Quota": "quotas",
    "AISubscription": "aisubscriptions",
    "AIApproval": "aiapprovals",
}


def custom(kind: str, namespace: str, name: str, spec: Mapping[str, Any]) -> Manifest:
    """An object of one of Tidegate's kinds."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": dict(spec)}


def secret(namespace: str, name: str, values: Mapping[str, str]) -> Manifest:
    """An Opaque Secret."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def mock_backend(namespace: str, name: str = "mock", *, reply: str = "Hello.", **more: Any) -> Manifest:
    """A backend that answers `reply` by itself."""
    return custom("AIBackend", namespace, name, {"provider": "Mock", "mock": {"reply": reply}, **more})


def route(
    namespace: str, name: str, *, models: list[str], backend: str = "mock", backend_namespace: str = "", **more: Any
) -> Manifest:
    """A route to one backend."""
    reference = {"name": backend} | ({"namespace": backend_namespace} if backend_namespace else {})
    return custom("AIRoute", namespace, name, {"models": models, "targets": [{"backendRef": reference}], **more})


def consumer(namespace: str, name: str, *, secret_name: str = "", sha256: str = "", **more: Any) -> Manifest:
    """A consumer with one key: the value `token` of a Secret, or a hash."""
    held = {"sha256": sha256} if sha256 else {"secretRef": {"name": secret_name or name, "key": "token"}}
    keys = [{"name": "main", **held}]
    return custom("AIConsumer", namespace, name, {"credentials": {"apiKeys": keys}, **more})


def key_policy(namespace: str, name: str = "keys", **more: Any) -> Manifest:
    """A policy for the whole namespace: callers bring a key."""
    spec = {"targetRefs": [{"kind": "Namespace"}], "authentication": {"methods": ["APIKey"]}, **more}
    return custom("AIPolicy", namespace, name, spec)


def tenant(namespace: str, key: str, *, reply: str = "Hello.", model: str = "chat") -> list[Manifest]:
    """Everything that one caller needs: `key` opens `model`, which answers `reply`."""
    return [
        secret(namespace, "caller", {"token": key}),
        mock_backend(namespace, reply=reply),
        route(namespace, "chat", models=[model]),
        consumer(namespace, "caller"),
        key_policy(namespace),
    ]


def collection_of(manifest: Manifest) -> str:
    """Path of the collection that it belongs into."""
    namespace, kind = manifest["metadata"]["namespace"], manifest["kind"]
    if manifest["apiVersion"] == "v1":
        return f"/api/v1/namespaces/{namespace}/{kind.lower()}s"
    return f"/apis/{manifest['apiVersion']}/namespaces/{namespace}/{PLURALS[kind]}"


def path_of(manifest: Manifest) -> str:
    """Path of the object itself."""
    return f"{collection_of(manifest)}/{manifest['metadata']['name']}"
