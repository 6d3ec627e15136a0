"""Declares worlds of any size: routes, consumers, policies, quotas and backends as a platform team would write them.

Every namespace (a team) has at most 100 routes, a backend, a policy with the whole catalogue on, and a quota.
The keys are made from the consumer's number: they protect nothing but loopback ports of a benchmark.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tidegate_operator.world import Facts, Kind, ObjectKey, Resource, World

Manifest = dict[str, Any]

API_VERSION = "tidegate.dev/v1alpha1"
PATH = "/v1/chat/completions"
PLURALS = {
    "AIBackend": "aibackends",
    "AIConsumer": "aiconsumers",
    "AIPolicy": "aipolicies",
    "AIRoute": "airoutes",
    "Quota": "quotas",
}
ROUTES_PER_NAMESPACE = 100
BODY_BYTES = 600
FACTS = Facts()
_CREATED = 1767225600


@dataclass(frozen=True)
class Size:
    """How much is declared. A world has at least one of each; `endpoint` is the upstream (None: a Mock backend)."""

    routes: int
    consumers: int
    endpoint: str | None = None

    @property
    def namespaces(self) -> int:
        return -(-self.routes // ROUTES_PER_NAMESPACE)

    @property
    def objects(self) -> int:
        """How many objects it takes: routes, consumers, and for each namespace a backend, a policy and a quota."""
        return self.routes + self.consumers + 3 * self.namespaces


def namespace_of(number: int) -> str:
    """The namespace of route `number`."""
    return f"team-{number // ROUTES_PER_NAMESPACE:03d}"


def model_of(number: int) -> str:
    """The model name that route `number` answers for; no other route does."""
    return f"chat-{number:05d}"


def route_name(number: int) -> str:
    """The name of route `number`."""
    return f"route-{number:05d}"


def api_key(consumer: int) -> str:
    """The key of consumer `consumer`, of the shape of OpenAI's (51 characters)."""
    digest = hashlib.sha256(f"bench consumer {consumer}".encode()).digest()
    return "sk-" + base64.urlsafe_b64encode(digest + digest[:4]).decode().rstrip("=")


def consumer_for(number: int, size: Size) -> int:
    """A consumer of the namespace of route `number` (they go round the namespaces)."""
    consumer = number // ROUTES_PER_NAMESPACE
    if consumer >= size.consumers:
        raise ValueError(f"{size} has no consumer in {namespace_of(number)}")
    return consumer


def chat_body(model: str, *, size: int = BODY_BYTES) -> bytes:
    """A chat request of exactly `size` bytes."""
    text = "Explain in two sentences how a tide gate keeps the sea out of a polder, and what it does at low water. "
    messages = [{"role": "system", "content": "You answer briefly."}, {"role": "user", "content": ""}]
    body = {"model": model, "messages": messages, "temperature": 0.2, "max_tokens": 64}
    room = size - len(json.dumps(body))
    messages[1]["content"] = (text * (room // len(text) + 1))[:room]
    return json.dumps(body).encode()


def manifests(size: Size) -> Iterator[Manifest]:
    """Every object of the world. Consumer n belongs to namespace n modulo the number of namespaces."""
    for index in range(size.namespaces):
        namespace = namespace_of(index * ROUTES_PER_NAMESPACE)
        yield backend(namespace, size.endpoint)
        yield policy(namespace)
        yield quota(namespace)
    for number in range(size.routes):
        yield route(number)
    for number in range(size.consumers):
        yield consumer(number, namespace_of((number % size.namespaces) * ROUTES_PER_NAMESPACE))


def backend(namespace: str, endpoint: str | None) -> Manifest:
    """Where the models of a namespace live."""
    if endpoint is None:
        spec: Manifest = {"provider": "Mock", "mock": {"reply": "The gate is open."}}
    else:
        spec = {"provider": "OpenAICompatible", "endpoint": endpoint, "models": [{"name": "bench-model"}]}
    return _manifest("AIBackend", namespace, "models", spec)


def policy(namespace: str) -> Manifest:
    """API keys, two authorization rules of which one is CEL, and a rate limit that no benchmark reaches."""
    rules = [
        {"name": "inference", "effect": "Allow", "roles": ["inference"], "models": ["chat-*"], "operations": ["Chat"]},
        {
            "name": "blocked-department",
            "effect": "Deny",
            "when": "consumer.attributes.department == 'suspended' || request.model.endsWith('-internal')",
        },
    ]
    limit = {"name": "per-app", "per": "Consumer", "requests": 1_000_000_000, "period": "1m"}
    spec = {
        "targetRefs": [{"kind": "Namespace"}],
        "authentication": {"methods": ["APIKey"]},
        "authorization": {"rules": rules},
        "rateLimits": [limit],
    }
    return _manifest("AIPolicy", namespace, "callers", spec)


def quota(namespace: str) -> Manifest:
    """A request and a token quota for each consumer and month, which no benchmark reaches."""
    month = {"calendar": "Month", "timeZone": "Europe/Berlin"}
    limits = [{"unit": unit, "amount": "900000000000000", "window": month} for unit in ("Requests", "Tokens")]
    spec = {"targetRefs": [{"kind": "Namespace"}], "per": "Consumer", "limits": limits}
    return _manifest("Quota", namespace, "monthly", spec)


def route(number: int) -> Manifest:
    """A route that answers for one model of its own."""
    spec = {
        "models": [model_of(number)],
        "operations": ["Chat"],
        "targets": [{"backendRef": {"name": "models"}, "model": "bench-model"}],
        "timeout": "30s",
    }
    return _manifest("AIRoute", namespace_of(number), route_name(number), spec)


def consumer(number: int, namespace: str) -> Manifest:
    """An application with one key."""
    key = hashlib.sha256(api_key(number).encode()).hexdigest()
    spec = {
        "team": "search",
        "tier": "premium",
        "roles": ["inference"],
        "attributes": {"department": "research", "clearance": "2"},
        "credentials": {"apiKeys": [{"name": "current", "sha256": key}]},
    }
    return _manifest("AIConsumer", namespace, f"app-{number:05d}", spec)


def freeze(number: int, *, frozen: bool) -> Manifest:
    """A policy on route `number` alone, whose edit flips a decision: while `frozen` its model is denied (403)."""
    denied = model_of(number) if frozen else "chat-retired"
    spec = {
        "targetRefs": [{"kind": "AIRoute", "name": route_name(number)}],
        "authorization": {"rules": [{"name": "freeze", "effect": "Deny", "models": [denied]}]},
    }
    return _manifest("AIPolicy", namespace_of(number), "freeze", spec)


def collection(manifest: Manifest) -> str:
    """The API path of the collection that the object belongs to."""
    namespace = manifest["metadata"]["namespace"]
    return f"/apis/{API_VERSION}/namespaces/{namespace}/{PLURALS[manifest['kind']]}"


def object_path(manifest: Manifest) -> str:
    """The API path of the object."""
    return f"{collection(manifest)}/{manifest['metadata']['name']}"


def resource(manifest: Manifest, *, generation: int = 1) -> Resource:
    """The object as the compiler takes it."""
    metadata = manifest["metadata"]
    key = ObjectKey(Kind(manifest["kind"]), metadata["namespace"], metadata["name"])
    uid = hashlib.md5(str(key).encode(), usedforsecurity=False).hexdigest()
    return Resource(key, manifest["spec"], generation=generation, uid=uid, created=_CREATED)


def world(objects: Iterable[Manifest]) -> World:
    """Objects as the compiler takes them."""
    resources = (resource(manifest) for manifest in objects)
    return World({item.key: item for item in resources})


def _manifest(kind: str, namespace: str, name: str, spec: Manifest) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"namespace": namespace, "name": name},
        "spec": spec,
    }
