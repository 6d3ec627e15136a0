"""Finds, in a folder of examples, a call that will be answered, to print it as a curl line."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class SampleCall:
    """A chat request that the examples allow, and the key with which they allow it."""

    namespace: str
    route: str
    path: str
    host: str | None
    model: str
    api_key: str | None

    def curl(self, url: str) -> str:
        """One line for a shell."""
        body = {"model": self.model, "messages": [{"role": "user", "content": "Hello!"}]}
        words = ["curl", "-sS", f"{url}{self.path}/chat/completions", "-H", "content-type: application/json"]
        if self.host:
            words += ["-H", f"host: {self.host}"]
        if self.api_key:
            words += ["-H", f"authorization: Bearer {self.api_key}"]
        return shlex.join([*words, "-d", json.dumps(body)])


def sample_call(folder: Path) -> SampleCall | None:
    """The first chat route that names a model; the key is the first in its namespace whose Secret is there too.

    None when the folder holds no such route.
    """
    manifests = [
        document for file in sorted(folder.rglob("*.yaml")) for document in yaml.safe_load_all(file.read_text())
    ]
    manifests = [document for document in manifests if document]
    for route in _of_kind(manifests, "AIRoute"):
        spec = route["spec"]
        models = [model for model in spec.get("models", []) if "*" not in model]
        if not models or "Chat" not in spec.get("operations", ["Chat"]):
            continue
        namespace = _namespace(route)
        hosts = [host for host in spec.get("hostnames", []) if "*" not in host]
        return SampleCall(
            namespace=namespace,
            route=route["metadata"]["name"],
            path=spec.get("pathPrefix", "/v1").rstrip("/"),
            host=hosts[0] if hosts else None,
            model=models[0],
            api_key=next(_keys(manifests, namespace), None),
        )
    return None


def _keys(manifests: Sequence[Manifest], namespace: str) -> Iterator[str]:
    secrets = {
        secret["metadata"]["name"]: _values(secret)
        for secret in _of_kind(manifests, "Secret")
        if _namespace(secret) == namespace
    }
    for consumer in _of_kind(manifests, "AIConsumer"):
        spec = consumer["spec"]
        if _namespace(consumer) != namespace or spec.get("suspended"):
            continue
        for key in spec.get("credentials", {}).get("apiKeys", []):
            reference = key.get("secretRef", {})
            value = secrets.get(reference.get("name"), {}).get(reference.get("key"))
            if value:
                yield value


def _values(secret: Manifest) -> dict[str, str]:
    decoded = {key: base64.b64decode(value).decode() for key, value in secret.get("data", {}).items()}
    return {**decoded, **secret.get("stringData", {})}


def _of_kind(manifests: Sequence[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest.get("kind") == kind]


def _namespace(manifest: Manifest) -> str:
    return str(manifest["metadata"].get("namespace", "default"))
