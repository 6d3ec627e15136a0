"""Objects that the operator's tests declare: small, valid, one of each kind."""

from __future__ import annotations

import base64
from typing import Any

from cluster.harness.rest import Rest

BACKEND: dict[str, Any] = {"provider": "Mock", "mock": {"reply": "hello"}}
ALLOW = {"name": "everyone", "effect": "Allow", "roles": ["inference"]}
POLICY: dict[str, Any] = {
    "targetRefs": [{"kind": "Namespace"}],
    "authentication": {"methods": ["APIKey"]},
    "authorization": {"rules": [ALLOW]},
}
# Only the compiler finds out that this is no CEL: the API server takes it.
NOT_CEL: dict[str, Any] = {"authorization": {"rules": [{**ALLOW, "when": "request.model =="}]}}


def route(model: str, **more: Any) -> dict[str, Any]:
    """A route's spec that answers for `model` from the backend `mock`."""
    return {"models": [model], "targets": [{"backendRef": {"name": "mock"}, "model": "small"}], **more}


def consumer(secret: str) -> dict[str, Any]:
    """A consumer's spec with one key, kept in `secret`."""
    keys = [{"name": "first", "secretRef": {"name": secret, "key": "token"}}]
    return {"team": "search", "credentials": {"apiKeys": keys}}


def remote_backend(secret: str) -> dict[str, Any]:
    """A backend's spec that needs a credential from `secret`."""
    return {
        "provider": "OpenAICompatible",
        "endpoint": "https://models.example.com/v1",
        "credential": {"secretRef": {"name": secret, "key": "token"}},
    }


def put_secret(rest: Rest, namespace: str, name: str, token: str) -> None:
    """Create or change an Opaque Secret with the key `token`."""
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": name},
        "data": {"token": base64.b64encode(token.encode()).decode()},
    }
    rest.apply(f"/api/v1/namespaces/{namespace}/secrets/{name}", body)
