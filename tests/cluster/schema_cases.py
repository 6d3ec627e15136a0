"""Manifests, right and wrong in every way that the schemas know, for comparing offline judge and API server."""

import copy
from dataclasses import dataclass
from typing import Any

from tidegate_operator.field_path import field_path

REMOVED = object()
"""Stands for a field that a case takes away."""

VALID: dict[str, dict[str, Any]] = {
    "AIBackend": {
        "provider": "OpenAI",
        "endpoint": "https://api.openai.com/v1",
        "credential": {"secretRef": {"name": "openai", "key": "api-key"}},
        "models": [{"name": "gpt-4o"}, {"name": "gpt-4o-mini"}],
        "allowedNamespaces": ["team-b", "*"],
        "placement": {"clusterSelector": {"matchLabels": {"cloud": "azure"}}},
    },
    "AIRoute": {
        "hostnames": ["ai.example.com", "*.example.com"],
        "models": ["chat-fast", "gpt-*"],
        "operations": ["Chat", "Embeddings", "FineTune"],
        "match": {"headers": [{"name": "x-experiment", "value": "b"}]},
        "targets": [{"backendRef": {"name": "openai"}, "weight": 90}, {"backendRef": {"name": "other"}, "priority": 1}],
        "retry": {"attempts": 2, "conditions": ["Connect", "429", "5xx"]},
    },
    "AIConsumer": {
        "team": "search",
        "roles": ["inference"],
        "attributes": {"department": "research"},
        "credentials": {
            "apiKeys": [
                {"name": "a", "secretRef": {"name": "key", "key": "token"}, "notAfter": "2027-01-31T00:00:00Z"},
                {"name": "b", "sha256": "0123456789abcdef" * 4},
            ]
        },
    },
    "AIPolicy": {
        "targetRefs": [{"kind": "AIRoute", "name": "chat"}, {"kind": "Namespace"}],
        "authentication": {"methods": ["APIKey"]},
        "authorization": {
            "rules": [
                {
                    "name": "all",
                    "effect": "Allow",
                    "models": ["gpt-*"],
                    "operations": ["Chat", "Models"],
                    "versions": ["2024-*"],
                    "when": "true",
                }
            ]
        },
        "rateLimits": [{"name": "per-app", "requests": 100}],
    },
    "Quota": {
        "targetRefs": [{"kind": "Namespace"}],
        "consumers": {"tiers": ["free"]},
        "limits": [
            {"unit": "Tokens", "amount": "5000000", "window": {"calendar": "Month", "timeZone": "Europe/Berlin"}},
            {"unit": "Requests", "amount": "0", "window": {"sliding": "24h"}, "onExceed": "Alert"},
            {
                "unit": "Cost",
                "amount": "10.50",
                "tierAmounts": {"free": "0.25", "premium": "100"},
                "window": {"calendar": "Day"},
                "onExceed": "Charge",
                "overagePrice": "1500000",
                "alertAt": [80, 100, 150],
                "midStream": "End",
                "defaultPrice": {"input": "2.5", "output": "10"},
            },
            {"unit": "Concurrent", "amount": "4", "onExceed": "Queue", "queue": {"timeout": "5s"}},
            {
                "unit": "Expression",
                "amount": "1000",
                "window": {"calendar": "Minute"},
                "expression": "usage.inputTokens + 4 * usage.outputTokens",
                "onExceed": "Fallback",
            },
        ],
        "accuracy": "Leased",
        "failureMode": "Local",
        "parent": "whole-team",
        "share": {"aws-eu": 60, "gcp-us": 40},
        "safeShare": {"aws-eu": 50},
        "grants": [
            {
                "name": "launch-week",
                "unit": "Tokens",
                "amount": "1000000",
                "reason": "the launch",
                "notBefore": "2026-12-01T00:00:00Z",
                "notAfter": "2026-12-08T00:00:00Z",
                "for": "team-a/search",
            }
        ],
        "notify": {"url": "https://hooks.example.com/quota", "secretRef": {"name": "hook", "key": "hmac"}},
    },
    "AISubscription": {
        "consumerRef": {"name": "search"},
        "routeRef": {"namespace": "models", "name": "chat"},
        "plan": "gold",
        "reason": "to rank results",
        "notAfter": "2027-01-31T00:00:00Z",
    },
    "AIApproval": {
        "subscription": {
            "namespace": "team-a",
            "name": "search-chat",
            "consumer": "search",
            "route": "chat",
            "plan": "gold",
        },
        "notAfter": "2027-01-31T00:00:00Z",
    },
}
_REQUEST = {"request": {"id": "apr-mfrggzdfmztwq2lk", "route": "chat"}, "notAfter": "2027-01-31T00:00:00Z"}
_PLANS = {"plans": [{"name": "basic", "rateLimit": {"requests": 60, "burst": 10}}, {"name": "gold"}]}


@dataclass(frozen=True)
class Case:
    """A valid object of `kind`, changed by `changes`; `field` is where both judges shall complain (None: valid)."""

    kind: str
    changes: tuple[tuple[str, Any], ...]
    field: str | None

    def __str__(self) -> str:
        shown = ",".join(
            f"{path}={'(removed)' if value is REMOVED else repr(value)[:40]}" for path, value in self.changes
        )
        return f"{self.kind}:{shown or 'as it is'}"

    def manifest(self) -> dict[str, Any]:
        """The object."""
        manifest = base_manifest(self.kind)
        for path, value in self.changes:
            _change(manifest, path, value)
        return manifest


def base_manifest(kind: str) -> dict[str, Any]:
    """A valid object of `kind`, for the caller to change."""
    return {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "case", "namespace": "default"},
        "spec": copy.deepcopy(VALID[kind]),
    }


def _change(manifest: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = field_path(path)
    node: Any = manifest
    for step in parents:
        node = node[step] if isinstance(step, int) else node.setdefault(step, {})
    if value is REMOVED:
        del node[last]
    elif isinstance(last, int) and last == len(node):
        node.append(value)
    else:
        node[last] = value


def _valid(kind: str, *changes: tuple[str, Any]) -> Case:
    return Case(kind, changes, None)


def _wrong(kind: str, field: str, *changes: tuple[str, Any]) -> Case:
    """Wrong at `field`; without changes named, the field is the one that is changed."""
    return Case(kind, changes, field)


def _set(kind: str, path: str, value: Any) -> Case:
    """Wrong because `path` has `value`."""
    return Case(kind, ((path, value),), path)


_LONG_NAME = ".".join(["a" * 60] * 5)
_REF = {"backendRef": {"name": "openai"}}
_LONG_CONTEXT = {"above": 200_000, "input": "0.3", "output": "0.9", "cachedInput": "0.15"}
_PRICE = {
    "input": "0.15",
    "output": "0.6",
    **dict.fromkeys(("cachedInput", "cacheWrite", "reasoning", "inputAudio", "outputAudio"), "0.000001"),
    "image": "0.04",
    "request": "0.0001",
    "longContext": [_LONG_CONTEXT],
}

CASES: tuple[Case, ...] = (
    # valid
    *(_valid(kind) for kind in VALID),
    _valid("AIBackend", ("spec", {"provider": "Mock"})),
    _valid("AIBackend", ("spec", {"provider": "Mock", "mock": {}})),
    _valid("AIBackend", ("spec", {"provider": "Mock", "mock": {"reply": "hi", "latency": "20ms"}})),
    _valid("AIBackend", ("spec.provider", "AzureOpenAI"), ("spec.apiVersion", "2024-10-21")),
    _valid("AIBackend", ("spec.models", [])),
    _valid("AIBackend", ("spec.models[0].price", _PRICE)),
    _valid("AIBackend", ("spec.models[0].price", {"input": "0", "output": "999999999.999999"})),
    _valid("AIBackend", ("spec.models[0].price", {**_PRICE, "longContext": []})),
    _valid("AIBackend", ("spec.placement.clusterSelector", {})),
    _valid("AIBackend", ("spec.tls", {"caBundle": "-----BEGIN CERTIFICATE-----\n"})),
    _valid("AIRoute", ("spec", {"models": ["*"], "targets": [_REF]})),
    _valid("AIRoute", ("spec.retry", {})),
    _valid("AIRoute", ("spec.retry", None)),
    _valid("AIRoute", ("spec.pathPrefix", None), ("spec.timeout", None), ("spec.match", None)),
    _valid("AIRoute", ("spec.targets[0].weight", None)),
    _valid("AIRoute", ("spec.targets[0].weight", 0), ("spec.targets[1].weight", 5)),
    _valid("AIRoute", ("spec.targets[0].weight", 0)),
    _valid("AIRoute", ("spec.hostnames", None)),
    _valid("AIRoute", ("spec.match.headers[0].value", "")),
    _valid("AIRoute", ("metadata.labels", {"app.kubernetes.io/name": "chat", "empty": ""})),
    _valid("AIRoute", ("metadata.annotations", {"a/b": "any\ntext"})),
    _valid("AIRoute", ("metadata.labels", None)),
    _valid("AIRoute", ("metadata.labels", {"a": None}), ("metadata.annotations", {"a": None})),
    _valid("AIRoute", ("metadata.finalizers", ["example.com/keep"])),
    _valid("AIRoute", ("metadata.name", "a.b-c.d1")),
    _valid("AIRoute", ("status", {})),
    _valid("AIRoute", ("status", {"observedGeneration": 3, "conditions": []})),
    _valid("AIConsumer", ("spec", {})),
    _valid("AIConsumer", ("spec.team", None)),
    _valid("AIConsumer", ("spec.credentials.apiKeys[0].notBefore", "2026-10-01t00:00:00.5+02:00")),
    _valid("AIConsumer", ("spec.attributes", {"a b": "x", "": "y"})),
    _valid("AIConsumer", ("spec.attributes", {"key": ""})),
    _valid("AIConsumer", ("spec.attributes.department", None)),
    _valid("AIConsumer", ("spec.attributes", {"snow": "\u2603" * 256})),
    _valid("AIPolicy", ("spec.targetRefs", [{"kind": "Gateway"}])),
    _valid("AIPolicy", ("spec.targetRefs", [{"kind": "Namespace"}, {"kind": "Namespace"}])),
    _valid("Quota", ("spec.limits[0].window", {"sliding": "1s"})),
    _valid("Quota", ("spec.limits[0].window", {"sliding": "1s", "timeZone": None})),
    *(_valid("Quota", ("spec.per", per)) for per in ("Backend", "Model", "Address")),
    _valid("Quota", ("spec.per", "Key"), ("spec.key", {"expression": "consumer.attributes['project']"})),
    _valid("Quota", ("spec.per", "Key"), ("spec.key", {"expression": "'x'", "maxValues": 100_000})),
    _valid("Quota", ("spec.accuracy", None), ("spec.failureMode", None)),
    _valid("Quota", ("spec.share", {}), ("spec.safeShare", {"": 0})),
    _valid("Quota", ("spec.share", {"a": 100, "b": 100})),  # the sum is the operator's business
    _valid("Quota", ("spec.grants", [])),
    _valid("Quota", ("spec.grants[0].notBefore", REMOVED), ("spec.grants[0].for", REMOVED)),
    _valid("Quota", ("spec.notify.secretRef", REMOVED)),
    _valid("Quota", ("spec.notify.tls", {"caBundle": "-----BEGIN CERTIFICATE-----"})),
    _valid("Quota", ("spec.limits[0].unit", "CachedTokens")),
    _valid("Quota", ("spec.limits[0].unit", "ComputeSeconds"), ("spec.limits[0].amount", "0.001")),
    _valid("Quota", ("spec.limits[0].amount", "9" * 18)),
    _valid("Quota", ("spec.limits[2].amount", "9" * 18 + ".999999")),
    _valid("Quota", ("spec.limits[3].queue", {})),
    _valid("Quota", ("spec.limits[3].queue", REMOVED)),
    _valid("Quota", ("spec.limits[2].tierAmounts", {})),
    _valid("AIRoute", ("spec.targets[1].fallback", True)),
    *(_valid("AIPolicy", ("spec.rateLimits[0].per", per)) for per in ("Team", "Namespace", "Model")),
    _valid("AIPolicy", ("spec.rateLimits[0].accuracy", "Exact"), ("spec.rateLimits[0].failureMode", "Open")),
    _valid("AIRoute", ("spec.subscription", _PLANS)),
    _valid("AIRoute", ("spec.subscription", {"plans": [{"name": "a", "rateLimit": {"requests": 1}}]})),
    _valid("AISubscription", ("spec.routeRef.namespace", None), ("spec.notAfter", None)),
    _valid("AISubscription", ("spec.reason", "first line\nsecond line: \u2603\n")),
    _valid("AISubscription", ("status", {"expires": "2027-01-31T00:00:00Z"})),
    _valid("AIApproval", ("spec", _REQUEST)),
    _valid("AIApproval", ("spec.revoked", True), ("spec.notAfter", None)),
    # subscriptions and approvals
    _set("AISubscription", "spec.routeRef.kind", "AIRoute"),
    _set("AIApproval", "spec.subscription.uid", "x"),
    _set("AIRoute", "spec.subscription", {**_PLANS, "approvers": []}),
    _set("AISubscription", "spec.reason", "bell \u0007"),
    _set("AISubscription", "spec.reason", "escape \u001b[2J"),
    _set("AISubscription", "spec.reason", "control \u009b"),
    _set("AISubscription", "spec.reason", ""),
    _set("AISubscription", "spec.reason", REMOVED),
    _set("AISubscription", "spec.plan", "Gold"),
    _set("AISubscription", "spec.consumerRef.name", "a/b"),
    _set("AISubscription", "spec.notAfter", "soon"),
    _set("AIApproval", "spec.subscription.plan", REMOVED),
    _set("AIApproval", "spec.subscription.consumer", ""),
    _set("AIApproval", "spec.revoked", "true"),
    _wrong("AIApproval", "spec", ("spec", {})),
    _wrong("AIApproval", "spec", ("spec.request", _REQUEST["request"])),
    _wrong("AIApproval", "spec", ("spec", {"request": _REQUEST["request"]})),
    _wrong(
        "AIApproval", "spec.request.id", ("spec", {**_REQUEST, "request": {"id": "mfrggzdfmztwq2lk", "route": "c"}})
    ),
    _wrong("AIApproval", "spec.request.id", ("spec", {**_REQUEST, "request": {"id": "apr-aaaaaaa1", "route": "c"}})),
    _wrong("AIRoute", "spec.subscription.plans", ("spec.subscription", {"plans": []})),
    _wrong(
        "AIRoute", "spec.subscription.plans", ("spec.subscription", {"plans": [{"name": f"p{n}"} for n in range(17)]})
    ),
    _wrong("AIRoute", "spec.subscription.plans[1]", ("spec.subscription", {"plans": [{"name": "p"}, {"name": "p"}]})),
    _wrong(
        "AIRoute",
        "spec.subscription.plans[0].rateLimit.requests",
        ("spec.subscription", {"plans": [{"name": "p", "rateLimit": {"requests": 0}}]}),
    ),
    # prices
    _wrong("AIBackend", "spec.models[0].price.output", ("spec.models[0].price", {"input": "1"})),
    _wrong("AIBackend", "spec.models[0].price.input", ("spec.models[0].price", {**_PRICE, "input": 0.15})),
    *(
        _wrong("AIBackend", "spec.models[0].price.image", ("spec.models[0].price", {**_PRICE, "image": text}))
        for text in ("", "-1", "+1", "1.", ".5", "01", "1e3", "1,5", "0.1234567", "$1", "1 ", "1000000000")
    ),
    _wrong("AIBackend", "spec.models[0].price.cached", ("spec.models[0].price", {**_PRICE, "cached": "1"})),
    *(
        _wrong(
            "AIBackend",
            "spec.models[0].price.longContext[0].above",
            ("spec.models[0].price", {**_PRICE, "longContext": [{"above": above, "input": "1", "output": "1"}]}),
        )
        for above in (0, 1_000_000_001, "1")
    ),
    _wrong(
        "AIBackend",
        "spec.models[0].price.longContext[1]",
        ("spec.models[0].price", {**_PRICE, "longContext": [_LONG_CONTEXT, _LONG_CONTEXT]}),
    ),
    # unknown fields
    _set("AIBackend", "spec.endpont", "https://x.example"),
    _wrong("AIBackend", "spec.tls.insecure", ("spec.tls", {"caBundle": "x", "insecure": True})),
    _set("AIRoute", "spec.path_prefix", "/v1"),
    _set("AIRoute", "spec.targets[0].wieght", 4),
    _set("AIRoute", "spec.match.headers[0].Value", "b"),
    _set("AIRoute", "spec.nothing", None),
    _set("AIRoute", "data", {"a": "b"}),
    _set("AIRoute", "metadata.label", {"a": "b"}),
    _set("AIRoute", "status.ready", True),
    _wrong("AIRoute", "status.conditions[0].state", ("status", {"conditions": [{"type": "Ready", "state": "x"}]})),
    _set("AIConsumer", "spec.credentials.apiKeys[0].value", "x"),
    _set("AIPolicy", "spec.authorization.rules[0].subjects", []),
    _set("Quota", "spec.limits[1].window.kalendar", "Month"),
    # wrong types
    _wrong("AIRoute", "spec", ("spec", REMOVED)),
    _wrong("AIRoute", "spec", ("spec", None)),
    _set("AIRoute", "spec", []),
    _set("AIRoute", "spec", "text"),
    _set("AIRoute", "spec.models", "chat"),
    _set("AIRoute", "spec.models[0]", 3),
    _set("AIRoute", "spec.models[0]", None),
    _set("AIRoute", "spec.targets", {}),
    _set("AIRoute", "spec.targets[0]", "openai"),
    _set("AIRoute", "spec.targets[0]", None),
    _set("AIRoute", "spec.targets[0].weight", "1"),
    _set("AIRoute", "spec.targets[0].weight", 1.5),
    _set("AIRoute", "spec.targets[0].weight", True),
    _set("AIRoute", "spec.pathPrefix", 1),
    _set("AIRoute", "spec.retry", []),
    _set("AIRoute", "spec.retry.conditions[1]", 429),
    _set("AIConsumer", "spec.suspended", "false"),
    _set("AIConsumer", "spec.suspended", 0),
    _set("AIConsumer", "spec.attributes", []),
    _set("AIConsumer", "spec.attributes.clearance", 2),
    _set("Quota", "spec.limits[0].amount", 5000000),
    _wrong("AIRoute", "metadata.labels", ("metadata.labels", {"version": 2})),
    # required
    _wrong("AIBackend", "spec.provider", ("spec.provider", REMOVED)),
    _wrong("AIBackend", "spec.credential.secretRef.key", ("spec.credential.secretRef.key", REMOVED)),
    _wrong("AIBackend", "spec.models[1].name", ("spec.models[1]", {})),
    _wrong("AIBackend", "spec.placement.clusterSelector", ("spec.placement", {})),
    _wrong("AIBackend", "spec.credential.secretRef", ("spec.credential", {"secretRef": None})),
    _wrong("AIRoute", "spec.models", ("spec.models", REMOVED)),
    _wrong("AIRoute", "spec.models", ("spec.models", None)),
    _wrong("AIRoute", "spec.targets[0].backendRef", ("spec.targets[0].backendRef", REMOVED)),
    _wrong("AIConsumer", "spec.credentials.apiKeys[0].name", ("spec.credentials.apiKeys[0].name", REMOVED)),
    _wrong("AIPolicy", "spec.rateLimits[0].requests", ("spec.rateLimits[0].requests", REMOVED)),
    _wrong("Quota", "spec.key.expression", ("spec.per", "Key"), ("spec.key", {"maxValues": 5})),
    _set("Quota", "spec.grants[0].reason", REMOVED),
    _set("Quota", "spec.grants[0].notAfter", REMOVED),
    _set("Quota", "spec.notify.url", REMOVED),
    _set("Quota", "spec.limits[2].defaultPrice.output", REMOVED),
    _wrong("AIRoute", "metadata.name", ("metadata.name", REMOVED)),
    _wrong("AIRoute", "metadata.name", ("metadata.name", None)),
    _wrong("AIRoute", "metadata.name", ("metadata.name", "")),
    # enums
    _set("AIBackend", "spec.provider", "openai"),
    _set("AIRoute", "spec.operations[1]", "Chats"),
    _set("AIRoute", "spec.operations[1]", "Models"),
    _set("AIPolicy", "spec.authorization.rules[0].operations[1]", "Model"),
    _set("AIRoute", "spec.retry.conditions[0]", "500"),
    _set("AIConsumer", "spec.type", ""),
    _set("AIPolicy", "spec.mode", "enforce"),
    _set("AIPolicy", "spec.strength", "Optional"),
    _set("AIPolicy", "spec.authentication.methods[0]", "Basic"),
    _set("AIPolicy", "spec.authorization.rules[0].effect", "Permit"),
    _set("AIPolicy", "spec.rateLimits[0].per", "Backend"),
    _set("AIPolicy", "spec.rateLimits[0].accuracy", "exact"),
    _set("AIPolicy", "spec.rateLimits[0].failureMode", "Ignore"),
    _set("Quota", "spec.per", "User"),
    _set("Quota", "spec.accuracy", "Global"),
    _set("Quota", "spec.failureMode", "closed"),
    _set("Quota", "spec.limits[0].unit", "Dollars"),
    _set("Quota", "spec.limits[0].window.calendar", "Decade"),
    _set("Quota", "spec.limits[1].onExceed", "Deny"),
    _set("Quota", "spec.limits[0].midStream", "Abort"),
    _set("Quota", "spec.grants[0].unit", "USD"),
    # patterns and formats
    _set("AIBackend", "spec.endpoint", "ftp://example.com/"),
    _set("AIBackend", "spec.endpoint", "https://user@example.com/v1"),
    _set("AIBackend", "spec.endpoint", "https://example.com/v1?x=1"),
    _set("AIBackend", "spec.endpoint", "https://example.com/v1\n"),
    _set("AIBackend", "spec.models[0].name", "gpt 4"),
    _set("AIBackend", "spec.models[0].name", "gpt-*"),
    _set("AIBackend", "spec.connectTimeout", "5"),
    _set("AIBackend", "spec.connectTimeout", "1.5s"),
    _set("AIBackend", "spec.connectTimeout", "-5s"),
    _set("AIBackend", "spec.credential.secretRef.name", "Open_AI"),
    _set("AIBackend", "spec.credential.secretRef.key", "api key"),
    _set("AIBackend", "spec.allowedNamespaces[0]", "team-*"),
    _set("AIRoute", "spec.hostnames[0]", "AI.example.com"),
    _set("AIRoute", "spec.hostnames[0]", "ai.example.com:443"),
    _set("AIRoute", "spec.hostnames[0]", "a.*.example.com"),
    _set("AIRoute", "spec.pathPrefix", "v1"),
    _set("AIRoute", "spec.pathPrefix", "/v1/"),
    _set("AIRoute", "spec.models[0]", "a*b"),
    _set("AIRoute", "spec.match.headers[0].name", "X-Experiment"),
    _set("AIRoute", "spec.match.headers[0].value", "tab\there"),
    _set("AIConsumer", "spec.team", " search"),
    _set("AIConsumer", "spec.team", "search\n"),
    _set("AIConsumer", "spec.roles[0]", "a,b"),
    _set("AIConsumer", "spec.credentials.apiKeys[1].sha256", "0123456789ABCDEF" * 4),
    _set("AIConsumer", "spec.credentials.apiKeys[0].notAfter", "2027-01-31"),
    _set("AIConsumer", "spec.credentials.apiKeys[0].notAfter", "2027-02-30T00:00:00Z"),
    _set("AIConsumer", "spec.credentials.apiKeys[0].notAfter", "2027-01-31T24:00:00Z"),
    _set("AIConsumer", "spec.credentials.apiKeys[0].notAfter", "2027-01-31T00:00:00"),
    _set("Quota", "spec.limits[0].amount", "5e6"),
    _set("Quota", "spec.limits[0].amount", "007"),
    _set("Quota", "spec.limits[0].amount", "1_000"),
    _set("Quota", "spec.limits[2].amount", "-1"),
    _set("Quota", "spec.limits[2].amount", "+1"),
    _set("Quota", "spec.limits[2].amount", "01.5"),
    _set("Quota", "spec.limits[2].amount", "10.1234567"),
    _set("Quota", "spec.limits[2].amount", "10."),
    _set("Quota", "spec.limits[2].amount", ".5"),
    _set("Quota", "spec.limits[2].amount", "10,50"),
    _set("Quota", "spec.limits[2].amount", "NaN"),
    _set("Quota", "spec.limits[2].amount", "10\n"),
    _set("Quota", "spec.limits[2].amount", "\u0661\u0660"),
    _wrong("Quota", "spec.limits[2].tierAmounts.free", ("spec.limits[2].tierAmounts", {"free": "1e5"})),
    _set("Quota", "spec.limits[2].overagePrice", "1e3"),
    _set("Quota", "spec.limits[2].defaultPrice.input", "0.1234567"),
    _set("Quota", "spec.grants[0].amount", "-5"),
    _set("Quota", "spec.grants[0].name", "Launch Week"),
    _set("Quota", "spec.grants[0].notAfter", "next week"),
    _set("Quota", "spec.notify.url", "ftp://hooks.example.com/"),
    _set("Quota", "spec.notify.tls", {}),
    _set("Quota", "spec.notify.url", "https://user:secret@hooks.example.com/"),
    _set("Quota", "spec.parent", "team-b/whole"),
    _set("Quota", "spec.limits[3].queue.timeout", "0.5s"),
    _set("Quota", "spec.limits[0].window.timeZone", "+02:00"),
    _set("AIRoute", "metadata.name", "Chat"),
    _set("AIRoute", "metadata.name", "a_b"),
    _set("AIRoute", "metadata.name", _LONG_NAME),
    _wrong("AIRoute", "metadata.labels", ("metadata.labels", {"a": "not a value"})),
    _wrong("AIRoute", "metadata.labels", ("metadata.labels", {"not a name": "b"})),
    _wrong("AIRoute", "metadata.annotations", ("metadata.annotations", {"not a name": "b"})),
    _wrong("AIRoute", "metadata.annotations", ("metadata.annotations", {"big": "x" * 270_000})),
    # limits
    _set("AIBackend", "spec.endpoint", "http://"),
    _set("AIBackend", "spec.endpoint", "https://a/" + "a" * 1024),
    _set("AIBackend", "spec.apiVersion", ""),
    _set("AIBackend", "spec.models", [{"name": f"m{index}"} for index in range(257)]),
    _set("AIBackend", "spec.placement.clusterSelector.matchLabels", {f"k{index}": "v" for index in range(17)}),
    _set("AIRoute", "spec.models", []),
    _set("AIRoute", "spec.models[0]", "a" * 129),
    _set("AIRoute", "spec.models", [f"m{index}" for index in range(65)]),
    _set("AIRoute", "spec.operations", []),
    _set("AIRoute", "spec.targets", []),
    _set("AIRoute", "spec.targets", [_REF] * 17),
    _set("AIRoute", "spec.targets[0].weight", -1),
    _set("AIRoute", "spec.targets[0].weight", 1_000_001),
    _set("AIRoute", "spec.targets[0].weight", 10**20),
    _set("AIRoute", "spec.targets[0].priority", 16),
    _set("AIRoute", "spec.retry.attempts", 9),
    _set("AIConsumer", "spec.team", ""),
    _set("AIConsumer", "spec.attributes.long", "x" * 257),
    _set("AIConsumer", "spec.attributes", {f"k{index}": "v" for index in range(33)}),
    _set("AIPolicy", "spec.targetRefs", []),
    _set("AIPolicy", "spec.authentication.methods", []),
    _set("AIPolicy", "spec.authorization.rules[0].when", ""),
    _set("AIPolicy", "spec.rateLimits", []),
    _set("AIPolicy", "spec.rateLimits[0].requests", 0),
    _set("Quota", "spec.limits", []),
    _set("Quota", "spec.limits[0].amount", "1" * 19),
    _set("Quota", "spec.limits[2].amount", "1" * 20 + ".000000"),
    _set("Quota", "spec.limits[2].overagePrice", "1" * 10),
    _set("Quota", "spec.limits[2].alertAt[0]", 0),
    _set("Quota", "spec.limits[2].alertAt[0]", 1001),
    _set("Quota", "spec.limits[2].alertAt[0]", "80"),
    _set("Quota", "spec.limits[2].alertAt", [10, 20, 30, 40, 50, 60, 70, 80, 90]),
    _set("Quota", "spec.limits[2].tierAmounts", {f"t{index}": "1" for index in range(17)}),
    _set("Quota", "spec.limits[4].expression", ""),
    _set("Quota", "spec.limits[4].expression", "1" * 2049),
    _wrong("Quota", "spec.key.maxValues", ("spec.per", "Key"), ("spec.key", {"expression": "'x'", "maxValues": 0})),
    _wrong("Quota", "spec.share.aws-eu", ("spec.share", {"aws-eu": 101})),
    _wrong("Quota", "spec.share.aws-eu", ("spec.share", {"aws-eu": -1})),
    _wrong("Quota", "spec.share.aws-eu", ("spec.share", {"aws-eu": "60%"})),
    _set("Quota", "spec.share", {f"c{index}": 1 for index in range(65)}),
    _wrong("Quota", "spec.safeShare.aws-eu", ("spec.safeShare", {"aws-eu": 1000})),
    _set("Quota", "spec.grants[0].reason", ""),
    _set("Quota", "spec.grants[0].for", ""),
    # duplicates
    _wrong("AIBackend", "spec.models[2]", ("spec.models[2]", {"name": "gpt-4o"})),
    _wrong("AIBackend", "spec.allowedNamespaces[2]", ("spec.allowedNamespaces[2]", "*")),
    _wrong("AIRoute", "spec.models[2]", ("spec.models[2]", "gpt-*")),
    _wrong("AIRoute", "spec.operations[3]", ("spec.operations[3]", "Chat")),
    _wrong("AIConsumer", "spec.credentials.apiKeys[1]", ("spec.credentials.apiKeys[1].name", "a")),
    _wrong("AIPolicy", "spec.rateLimits[1]", ("spec.rateLimits[1]", {"name": "per-app", "requests": 5})),
    _wrong("Quota", "spec.limits[2].alertAt[3]", ("spec.limits[2].alertAt[3]", 80)),
    _wrong(
        "Quota",
        "spec.grants[1]",
        (
            "spec.grants[1]",
            {"name": "launch-week", "unit": "Cost", "amount": "1", "reason": "x", "notAfter": "2027-01-01T00:00:00Z"},
        ),
    ),
    # CEL rules
    _wrong("AIBackend", "spec", ("spec.endpoint", REMOVED)),
    _wrong("AIBackend", "spec", ("spec.endpoint", None)),
    _wrong("AIBackend", "spec", ("spec.provider", "Mock")),
    _wrong("AIBackend", "spec", ("spec", {"provider": "Mock", "tls": {"caBundle": "x"}})),
    _wrong("AIBackend", "spec", ("spec.mock", {})),
    _wrong("AIBackend", "spec", ("spec.provider", "AzureOpenAI")),
    _wrong("AIBackend", "spec", ("spec.apiVersion", "2024-10-21")),
    _wrong("AIRoute", "spec.targets", ("spec.targets", [{**_REF, "weight": 0}])),
    _wrong("AIConsumer", "spec.credentials.apiKeys[0]", ("spec.credentials.apiKeys[0].secretRef", REMOVED)),
    _wrong("AIConsumer", "spec.credentials.apiKeys[0]", ("spec.credentials.apiKeys[0].sha256", "0" * 64)),
    _wrong("AIPolicy", "spec.targetRefs[0]", ("spec.targetRefs[0].name", REMOVED)),
    _wrong("AIPolicy", "spec.targetRefs[1]", ("spec.targetRefs[1].name", "team-a")),
    _wrong("AIPolicy", "spec", ("spec", {"targetRefs": [{"kind": "Namespace"}]})),
    _wrong("Quota", "spec.limits[0].window", ("spec.limits[0].window", {})),
    _wrong("Quota", "spec.limits[0].window", ("spec.limits[0].window.sliding", "24h")),
    _wrong("Quota", "spec.limits[1].window", ("spec.limits[1].window.timeZone", "Europe/Berlin")),
    _wrong("Quota", "spec.targetRefs[0]", ("spec.targetRefs[0]", {"kind": "AIRoute"})),
    _wrong("Quota", "spec.limits[0]", ("spec.limits[0].window", REMOVED)),
    _wrong("Quota", "spec.limits[3]", ("spec.limits[3].window", {"calendar": "Day"})),
    _wrong("Quota", "spec.limits[0]", ("spec.limits[0].expression", "usage.tokens")),
    _wrong("Quota", "spec.limits[4]", ("spec.limits[4].expression", REMOVED)),
    _wrong("Quota", "spec.limits[0]", ("spec.limits[0].amount", "1.5")),
    _wrong("Quota", "spec.limits[3]", ("spec.limits[3].amount", "1.0")),
    _wrong("Quota", "spec.limits[0]", ("spec.limits[0].tierAmounts", {"a": "1", "free": "1.5"})),
    _wrong("Quota", "spec.limits[2]", ("spec.limits[2].overagePrice", REMOVED)),
    _wrong("Quota", "spec.limits[2]", ("spec.limits[2].onExceed", REMOVED)),
    _wrong("Quota", "spec.limits[0]", ("spec.limits[0].overagePrice", "1")),
    _wrong("Quota", "spec.limits[3]", ("spec.limits[3].onExceed", "Block")),
    _wrong("Quota", "spec.limits[0]", ("spec.limits[0].queue", {})),
    _wrong("Quota", "spec.limits[0]", ("spec.limits[0].defaultPrice", {"input": "1", "output": "1"})),
    _wrong("Quota", "spec.grants[0]", ("spec.grants[0].amount", "1.5")),
    _wrong("Quota", "spec", ("spec.per", "Key")),
    _wrong("Quota", "spec", ("spec.key", {"expression": "consumer.name"})),
    _wrong("AIRoute", "spec.targets", ("spec.targets", [{**_REF, "fallback": True}])),
)
