"""Specs that are wrong in ways the CRD schemas do not see, for comparing policies and compiler."""

from __future__ import annotations

from typing import Any

CA = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
NO_CA = "-----BEGIN NOTHING-----\n"
PRIVATE = CA + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
BACKEND: dict[str, Any] = {"provider": "OpenAI", "endpoint": "https://api.example.com/v1"}
MOCK: dict[str, Any] = {"provider": "Mock"}
ROUTE: dict[str, Any] = {"models": ["chat"], "targets": [{"backendRef": {"name": "mock"}}]}
HERE = [{"kind": "Namespace"}]
LIMITS = [{"name": "calls", "requests": 10}]
POLICY: dict[str, Any] = {"targetRefs": HERE, "rateLimits": LIMITS}
MONTH = {"calendar": "Month"}
LIMIT: dict[str, Any] = {"unit": "Tokens", "amount": "5", "window": MONTH}
QUOTA: dict[str, Any] = {"targetRefs": HERE, "limits": [LIMIT]}
SECRET = {"name": "keys", "key": "token"}
SHA = "0123456789abcdef" * 4
JWT: dict[str, Any] = {"name": "idp", "issuer": "https://idp.example.com", "audiences": ["gateway"]}
ASKED: dict[str, Any] = {
    "name": "as",
    "endpoint": "https://idp.example.com/introspect",
    "clientId": "gateway",
    "clientSecretRef": SECRET,
}
GRANT: dict[str, Any] = {
    "name": "launch",
    "unit": "Tokens",
    "amount": "1",
    "reason": "a launch",
    "notBefore": "2027-01-02T00:00:00Z",
    "notAfter": "2027-01-01T00:00:00Z",
}

Case = tuple[str, dict[str, Any], str]


def _url(url: str) -> dict[str, Any]:
    return {**BACKEND, "endpoint": url}


def _jwt(**changes: Any) -> dict[str, Any]:
    return {"targetRefs": HERE, "authentication": {"methods": ["JWT"], "jwt": [{**JWT, **changes}]}}


def _asked(jwt: bool = False, **changes: Any) -> dict[str, Any]:
    section: dict[str, Any] = {"methods": ["Introspection"], "introspection": [{**ASKED, **changes}]}
    if jwt:
        section |= {"methods": ["Introspection", "JWT"], "jwt": [JWT]}
    return {"targetRefs": HERE, "authentication": section}


def _network(*networks: str) -> dict[str, Any]:
    return {"targetRefs": HERE, "network": {"allow": ["10.0.0.0/8", *networks]}}


def _signal(**signal: Any) -> dict[str, Any]:
    return {
        "targetRefs": HERE,
        "risk": {"signals": [{"name": "odd", "weight": 1, **signal}], "thresholds": {"deny": 5}},
    }


def _key(**key: Any) -> dict[str, Any]:
    return {"credentials": {"apiKeys": [{"name": "fine", "sha256": SHA}, {"name": "ci", **key}]}}


def _generated(**generate: Any) -> dict[str, Any]:
    return _key(secretRef=SECRET, generate=generate)


def _limit(**changes: Any) -> dict[str, Any]:
    return {**QUOTA, "limits": [LIMIT, {**LIMIT, "unit": "InputTokens", **changes}]}


CASES: tuple[Case, ...] = (
    ("AIBackend", _url("https://api.example.com:0/v1"), "spec.endpoint"),
    ("AIBackend", _url("https://api.example.com:70000/v1"), "spec.endpoint"),
    ("AIBackend", _url("https://api.example.com:/v1"), "spec.endpoint"),
    ("AIBackend", _url("https://-api-.example.com/v1"), "spec.endpoint"),
    ("AIBackend", _url("https://a..b/v1"), "spec.endpoint"),
    ("AIBackend", _url("https://api.example.com/v1/../admin"), "spec.endpoint"),
    ("AIBackend", {**BACKEND, "endpoint": "http://api.example.com", "tls": {"caBundle": CA}}, "spec.tls"),
    ("AIBackend", {**BACKEND, "tls": {"caBundle": NO_CA}}, "spec.tls.caBundle"),
    ("AIBackend", {**BACKEND, "tls": {"caBundle": PRIVATE}}, "spec.tls.caBundle"),
    ("AIBackend", {**BACKEND, "connectTimeout": "2h"}, "spec.connectTimeout"),
    ("AIBackend", {**MOCK, "mock": {"latency": "61m"}}, "spec.mock.latency"),
    ("AIBackend", {**MOCK, "mock": {"chunkDelay": "1d"}}, "spec.mock.chunkDelay"),
    (
        "AIBackend",
        {**MOCK, "models": [{"name": "a"}, {"name": "b", "price": {"input": "150000", "output": "1"}}]},
        "spec.models[1].price.input",
    ),
    (
        "AIBackend",
        {**MOCK, "models": [{"name": "b", "price": {"input": "1", "output": "1", "image": "1000.5"}}]},
        "spec.models[0].price.image",
    ),
    ("AIRoute", {**ROUTE, "timeout": "61m"}, "spec.timeout"),
    ("AIRoute", {**ROUTE, "timeout": "0s"}, "spec.timeout"),
    ("AIRoute", {**ROUTE, "streamIdleTimeout": "1d"}, "spec.streamIdleTimeout"),
    (
        "AIRoute",
        {
            **ROUTE,
            "subscription": {
                "plans": [{"name": "a"}, {"name": "basic", "rateLimit": {"requests": 1, "period": "32d"}}]
            },
        },
        "spec.subscription.plans[1].rateLimit.period",
    ),
    (
        "AIConsumer",
        _key(sha256=SHA, notBefore="2027-01-02T00:00:00Z", notAfter="2027-01-01T00:00:00Z"),
        "spec.credentials.apiKeys[1].notAfter",
    ),
    ("AIConsumer", _generated(rotateEvery="5m"), "spec.credentials.apiKeys[1].generate.rotateEvery"),
    ("AIConsumer", _generated(rotateEvery="10h", overlap="10h"), "spec.credentials.apiKeys[1].generate.overlap"),
    (
        "AIConsumer",
        _key(secretRef={"name": "keys", "key": "k" * 244}, generate={}),
        "spec.credentials.apiKeys[1].generate",
    ),
    ("AIPolicy", {**POLICY, "targetRefs": [*HERE, {"kind": "Gateway"}]}, "spec.targetRefs[1].kind"),
    ("AIPolicy", {**POLICY, "rateLimits": [{**LIMITS[0], "period": "32d"}]}, "spec.rateLimits[0].period"),
    ("AIPolicy", _network("10.0.0.1/8"), "spec.network.allow[1]"),
    ("AIPolicy", _network("300.0.0.1"), "spec.network.allow[1]"),
    ("AIPolicy", _network("2001:db8::1/32"), "spec.network.allow[1]"),
    ("AIPolicy", _network("10.0.0.0/33"), "spec.network.allow[1]"),
    ("AIPolicy", {"targetRefs": HERE, "network": {"deny": ["1.2.3"]}}, "spec.network.deny[0]"),
    ("AIPolicy", _jwt(jwksUri="https://idp.example.com:0/keys"), "spec.authentication.jwt[0].jwksUri"),
    ("AIPolicy", _jwt(issuer="https://idp.example.com:99999"), "spec.authentication.jwt[0].issuer"),
    ("AIPolicy", _jwt(clockSkew="6m"), "spec.authentication.jwt[0].clockSkew"),
    ("AIPolicy", _jwt(refresh="29s"), "spec.authentication.jwt[0].refresh"),
    ("AIPolicy", _jwt(maxKeyAge="31d"), "spec.authentication.jwt[0].maxKeyAge"),
    ("AIPolicy", _jwt(tls={"caBundle": NO_CA}), "spec.authentication.jwt[0].tls.caBundle"),
    ("AIPolicy", _asked(endpoint="https://-idp/introspect"), "spec.authentication.introspection[0].endpoint"),
    ("AIPolicy", _asked(cache="301s"), "spec.authentication.introspection[0].cache"),
    ("AIPolicy", _asked(jwt=True, name="idp"), "spec.authentication.introspection[0].name"),
    (
        "AIPolicy",
        _signal(type="Burst", count=5, period="25h"),
        "spec.risk.signals[0].period",
    ),
    ("AIPolicy", _signal(type="UnusualHour", timeZone="Europe/Berln"), "spec.risk.signals[0].timeZone"),
    ("Quota", {**QUOTA, "targetRefs": [{"kind": "Gateway"}]}, "spec.targetRefs[0].kind"),
    ("Quota", {**QUOTA, "parent": "wrong"}, "spec.parent"),
    ("Quota", {**QUOTA, "share": {"eu": 60, "us": 50}}, "spec.share"),
    ("Quota", {**QUOTA, "safeShare": {"eu": 60, "us": 50}}, "spec.safeShare"),
    ("Quota", _limit(unit="ComputeSeconds", amount="1.2345"), "spec.limits[1].amount"),
    ("Quota", {**_limit(unit="Cost", amount="9000000001"), "accuracy": "Exact"}, "spec.limits[1].amount"),
    ("Quota", _limit(unit="Cost", amount="9000000000001"), "spec.limits[1].amount"),
    ("Quota", _limit(window={"sliding": "367d"}), "spec.limits[1].window.sliding"),
    ("Quota", _limit(window={"calendar": "Day", "timeZone": "Berlin"}), "spec.limits[1].window.timeZone"),
    ("Quota", _limit(onExceed="Queue", queue={"timeout": "6m"}), "spec.limits[1].queue.timeout"),
    ("Quota", _limit(unit="Tokens"), "spec.limits[1]"),
    (
        "Quota",
        {**QUOTA, "limits": [{**LIMIT, "window": {"sliding": "24h"}}, {**LIMIT, "window": {"sliding": "1d"}}]},
        "spec.limits[1]",
    ),
    ("Quota", {**QUOTA, "grants": [GRANT]}, "spec.grants[0].notAfter"),
    ("Quota", {**QUOTA, "notify": {"url": "https://hooks.example.com:0/x"}}, "spec.notify.url"),
    (
        "Quota",
        {**QUOTA, "notify": {"url": "https://hooks.example.com", "tls": {"caBundle": PRIVATE}}},
        "spec.notify.tls.caBundle",
    ),
)
"""Kind, spec, and the field that both must name; of an object called `wrong` in a tenant's namespace."""

# What CEL reads otherwise than the compiler, or only one of them: it must pass here whenever the compiler takes it.
ODD: tuple[tuple[str, dict[str, Any]], ...] = (
    *(
        ("AIPolicy", _network(text))
        for text in ("10.0.0.0/08", "1.2.3.4", "2001:DB8::/32", "::ffff:1.2.3.4", "::/0", "0.0.0.0/0", "fe80::/10")
    ),
    *(
        ("AIBackend", _url(url))
        for url in (
            "http://localhost:11434",
            "https://[::1]:8443/v1",
            "https://a_b.example.com.:0443/v1/",
            "https://1.2.3.4",
            "https://x/.well-known",
        )
    ),
    ("AIRoute", {**ROUTE, "timeout": "1ms"}),
    ("AIRoute", {**ROUTE, "timeout": "59m60s", "streamIdleTimeout": "999ms"}),
    ("AIPolicy", {**POLICY, "rateLimits": [{**LIMITS[0], "period": "31d"}]}),
    ("AIPolicy", _signal(type="UnusualHour", timeZone="+05:30")),
    ("AIPolicy", _signal(type="UnusualHour", timeZone="Asia/Kolkata")),
    ("Quota", _limit(unit="ComputeSeconds", amount="1.234000")),
    ("Quota", _limit(unit="Cost", amount="9000000000000")),
    ("Quota", {**QUOTA, "share": {"eu": 50, "us": 50}, "safeShare": {"eu": 100, "us": 100}}),
    ("Quota", _limit(window={"calendar": "Month", "timeZone": "Europe/Berlin"}, unit="Tokens")),
    ("AIConsumer", _generated(rotateEvery="10m", overlap="9m")),
    ("AIConsumer", {"type": "User"}),
)
