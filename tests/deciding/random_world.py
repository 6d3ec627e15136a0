"""Random worlds of declared objects, and random requests to them: small enough to collide, rich enough to decide.

Everything comes from one `random.Random`, so that a number names a world for ever. Objects are as their authors would
write them, and all of them are valid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Any, TypeVar

from oidc.signing import AUDIENCE, ISSUER, key_set, signers
from tidegate_operator.world import ConfigMapKey, Facts, Kind, ObjectKey, Resource, SecretKey, World

T = TypeVar("T")
Spec = dict[str, Any]

PLATFORM = "platform"
ISSUERS = (ISSUER, "https://other.example.com")
FACTS = Facts(platform_namespace=PLATFORM)
NAMESPACES = ("team-a", "team-b")
HOSTS = ("ai.example.com", "x.example.com", "other.org")
MODELS = ("gpt-4o", "gpt-4o-mini", "llama")
PATTERNS = (*MODELS, "gpt-*", "*")
OPERATIONS = {"Chat": "chat/completions", "Embeddings": "embeddings", "Completion": "completions"}
ROLES = ("r1", "r2", "r3")
ADDRESSES = ("10.0.0.7", "10.9.0.7", "192.0.2.7", "2001:db8::7")
NETWORKS = ("10.0.0.0/8", "10.9.0.0/16", "192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0")
HEADERS = {"x-a": ("1", "2"), "x-team": ("red",)}
WHENS = (
    "request.model == 'gpt-4o'",
    "request.model.startsWith('gpt-')",
    "consumer.team == 'red'",
    "consumer.tier == 'gold' || consumer.namespace == 'team-a'",
    "'r2' in consumer.roles",
    "consumer.attributes['site'] == 'berlin'",
    "'x-a' in request.headers && request.headers['x-a'] == '1'",
    "request.headers['x-team'] == 'red'",
    "request.bodyBytes > 300",
    "now.getHours('Europe/Berlin') < 7",
    "now.getDayOfWeek() in [0, 6]",
    "request.address.startsWith('10.')",
    "token.subject == 'app-1'",
    "'JWT' in consumer.methods",
    "backend.region == 'eu'",
    "backend.name == 'b0' && backend.version == '1'",
    "route.namespace == consumer.namespace",
)
SIGNALS: tuple[Spec, ...] = (
    {"type": "Expression", "when": "request.model == 'gpt-4o'"},
    {"type": "Expression", "when": "request.headers['x-a'] == '2'"},
    {"type": "NewAddress", "after": 1},
    {"type": "UnusualModel", "after": 1},
    {"type": "UnusualHour", "timeZone": "Europe/Berlin", "after": 1},
    {"type": "Burst", "count": 2, "period": "1h"},
    {"type": "FailedAuthentications", "count": 1, "period": "1h"},
    {"type": "ListedAddress", "lists": [{"configMapRef": {"name": "feed"}}]},
    {"type": "NewCountry", "header": "x-country", "after": 1},
)
MONDAY = 1_782_691_200  # 2026-06-29T00:00:00Z
WEEK = 7 * 86_400


@dataclass(frozen=True)
class Request:
    """One request as it is sent. `token` are the claims of its token, None when it has none; `key` is an API key;
    `certificate` is the URI in the certificate that its connection showed, "" for none."""

    path: str
    host: str
    headers: Mapping[str, str]
    address: str
    model: str
    padding: int
    now: float
    consumer: str
    key: str
    token: Mapping[str, Any] | None
    certificate: str = ""


class WorldMaker:
    """Draws worlds, policies and requests from one source of chance."""

    def __init__(self, seed: int, *, shared: bool = False) -> None:
        """`shared`: consumers of several tenants may claim one token."""
        self._random = Random(seed)
        self._shared = shared

    def world(self, *, defaults: bool = True) -> World:
        """A whole world; with `defaults` some policies are of strength Default."""
        resources = list(self._resources(defaults=defaults))
        kept = {resource.key: resource for resource in resources}
        lists = {ConfigMapKey(namespace, "feed"): {"a": b"10.9.0.0/16\n"} for namespace in (*NAMESPACES, PLATFORM)}
        leaked = sha256(key_of("team-a", 0).encode()).hexdigest().encode()
        lists |= {ConfigMapKey(namespace, "leaks"): {"a": leaked + b"\n"} for namespace in (*NAMESPACES, PLATFORM)}
        return World(kept, secrets(), config_maps=lists)

    def policy(self, key: ObjectKey, routes: Sequence[str], *, strength: str, mode: str | None = None) -> Resource:
        """A policy with any mix of sections, for any of the targets that its namespace may name."""
        spec: Spec = {"targetRefs": self._targets(key.namespace, routes), "strength": strength}
        spec["mode"] = mode or self._one(("Enforce", "Enforce", "Enforce", "Shadow"))
        sections = {
            "authentication": self._authentication,
            "authorization": self._authorization,
            "rateLimits": lambda: [{"name": "fast", "per": "Consumer", "requests": 1_000_000, "period": "1s"}],
            "network": self._network,
            "risk": self._risk,
        }
        chances = {"authentication": 0.35, "authorization": 0.7, "rateLimits": 0.2, "network": 0.25, "risk": 0.2}
        for name, make in sections.items():
            if self._random.random() < chances[name]:
                spec[name] = make()
        if not sections.keys() & spec.keys():
            spec["authorization"] = self._authorization()
        return Resource(key, spec)

    def requests(self, count: int, now: float | None = None) -> Iterator[Request]:
        """Requests that mostly come as far as the policies; times rise, as in life."""
        at = float(MONDAY + self._random.randrange(WEEK)) if now is None else now
        for _ in range(count):
            at += self._random.randrange(3_600) if now is None else 0
            yield self._request(at)

    # --- objects ---

    def _resources(self, *, defaults: bool) -> Iterator[Resource]:
        for namespace in NAMESPACES:
            yield from self._backends(namespace)
        routes = {namespace: tuple(f"route-{number}" for number in range(2)) for namespace in NAMESPACES}
        for namespace, names in routes.items():
            for number, name in enumerate(names):
                yield self._route(ObjectKey(Kind.ROUTE, namespace, name), number)
            for number in range(2):
                yield self._consumer(namespace, number)
            yield from self._subscriptions(namespace, names)
        # Somebody says how callers prove who they are; else every route would be closed.
        methods = self._often(["APIKey", "JWT"], lambda: self._some(("APIKey", "JWT", "Anonymous", "MTLS"), least=1))
        opening: Spec = {"methods": methods}
        if "JWT" in methods:
            opening["jwt"] = [_provider("idp")]
        yield Resource(
            ObjectKey(Kind.POLICY, PLATFORM, "opening"),
            {"targetRefs": [{"kind": "Gateway"}], "authentication": opening},
        )
        for number in range(self._random.randrange(4)):
            namespace = self._one((*NAMESPACES, PLATFORM))
            strength = self._one(("Required", "Required", "Default")) if defaults else "Required"
            key = ObjectKey(Kind.POLICY, namespace, f"policy-{number}")
            yield self.policy(key, routes.get(namespace, ()), strength=strength)

    def _backends(self, namespace: str) -> Iterator[Resource]:
        for number in range(2):
            spec = {
                "provider": "Mock",
                "mock": {"reply": "Hello."},
                "models": [{"name": "m", "version": str(number)}],
                "location": {"region": self._one(("eu", "us"))},
                "allowedNamespaces": ["*"],
            }
            yield Resource(ObjectKey(Kind.BACKEND, namespace, f"b{number}"), spec)

    def _route(self, key: ObjectKey, number: int) -> Resource:
        targets = [
            {
                "backendRef": {"name": f"b{self._random.randrange(2)}"},
                "model": "m",
                "weight": self._random.randrange(1, 3),
                "priority": self._random.randrange(2),
            }
            for _ in range(self._random.randrange(1, 3))
        ]
        spec: Spec = {
            "models": self._some(PATTERNS, least=1),
            "operations": self._some(tuple(OPERATIONS), least=2),
            "targets": targets,
            "allowedNamespaces": self._often(["*"], lambda: self._some(NAMESPACES)),
        }
        if number:
            # The first route of a namespace takes what the others leave, so that most requests find one.
            spec["hostnames"] = self._some((*HOSTS, "*.example.com"), least=1)
            if self._random.random() < 0.3:
                spec["match"] = {"headers": [{"name": "x-a", "value": "1"}]}
        else:
            spec |= {"models": ["*"], "operations": list(OPERATIONS), "pathPrefix": f"/{key.namespace}"}
        if self._random.random() < 0.15:
            spec["subscription"] = {"plans": [{"name": "basic"}, {"name": "gold"}]}
        return Resource(key, spec, created=self._random.randrange(3))

    def _consumer(self, namespace: str, number: int) -> Resource:
        keys: list[Spec] = [{"name": "main", "sha256": sha256(key_of(namespace, number).encode()).hexdigest()}]
        tokens = [{"name": "idp", "issuer": ISSUER, "match": {"sub": self._subject(namespace, number)}}]
        if self._random.random() < 0.5:
            tokens.append({"name": "other", "issuer": ISSUERS[1], "match": {"sub": self._subject(namespace, number)}})
        spec: Spec = {
            "team": self._one(("red", "blue")),
            "tier": self._one(("gold", "free")),
            "roles": self._some(ROLES),
            "attributes": self._one(({}, {"site": "berlin"}, {"site": "rome"})),
            "suspended": self._random.random() < 0.08,
            "credentials": {
                "apiKeys": keys,
                "jwt": tokens,
                "mtls": [{"name": "mesh", "uri": identity_of(namespace, number)}],
            },
        }
        if self._random.random() < 0.1:
            keys[0]["notAfter"] = "2026-07-02T00:00:00Z"
        return Resource(ObjectKey(Kind.CONSUMER, namespace, f"c{number}"), spec)

    def _subscriptions(self, namespace: str, routes: Sequence[str]) -> Iterator[Resource]:
        for number in range(2):
            if self._random.random() < 0.5:
                name, route, plan = f"sub-{number}", self._one(routes), self._one(("basic", "gold"))
                asked = {
                    "consumerRef": {"name": f"c{number}"},
                    "routeRef": {"name": route, "namespace": namespace},
                    "plan": plan,
                    "reason": "a test",
                }
                yield Resource(ObjectKey(Kind.SUBSCRIPTION, namespace, name), asked)
                granted = {
                    "subscription": {
                        "namespace": namespace,
                        "name": name,
                        "consumer": f"c{number}",
                        "route": route,
                        "plan": plan,
                    }
                }
                if self._random.random() < 0.7:
                    yield Resource(ObjectKey(Kind.APPROVAL, namespace, name), granted)

    # --- sections ---

    def _targets(self, namespace: str, routes: Sequence[str]) -> list[Spec]:
        if namespace == PLATFORM:
            return [{"kind": "Gateway"}]
        if self._random.random() < 0.5:
            return [{"kind": "Namespace"}]
        return [{"kind": "AIRoute", "name": name} for name in self._some(routes, least=1)]

    def _authentication(self) -> Spec:
        methods = self._often(["APIKey", "JWT"], lambda: self._some(("APIKey", "JWT", "MTLS", "Anonymous"), least=2))
        section: Spec = {"methods": methods}
        if self._random.random() < 0.2:
            section["allOf"] = self._some(("JWT", "APIKey"), least=1)
        if "JWT" in (*methods, *section.get("allOf", ())) and self._random.random() < 0.6:
            claims = {"roles": "token.claims.groups", "team": "token.claims.team"}
            provider = _provider("own", claims if self._random.random() < 0.5 else None)
            section["jwt"] = [provider | {"issuer": self._one(ISSUERS)}]
        if self._random.random() < 0.2:
            section["leakedKeys"] = [{"configMapRef": {"name": "leaks"}}]
        return section

    def _authorization(self) -> Spec:
        rules = []
        for number in range(self._random.randrange(1, 4)):
            rule: Spec = {"name": f"rule-{number}", "effect": self._one(("Allow", "Allow", "Deny"))}
            narrow = rule["effect"] == "Deny"
            for name, values in (("roles", ROLES), ("models", PATTERNS), ("operations", tuple(OPERATIONS))):
                if self._random.random() < 0.35:
                    rule[name] = self._some(values, least=1)
            if self._random.random() < (0.8 if narrow else 0.4):
                rule["when"] = self._one(WHENS)
            if self._random.random() < 0.1:
                rule["versions"] = [self._one(("0", "1", "*"))]
            rules.append(rule)
        return {"rules": rules}

    def _network(self) -> Spec:
        section: Spec = {}
        if self._random.random() < 0.5:
            section["allow"] = self._some(NETWORKS, least=2)
        if self._random.random() < 0.5:
            section["deny"] = self._some(NETWORKS[1:4], least=1)
        if not section or self._random.random() < 0.2:
            section["denyLists"] = [{"configMapRef": {"name": "feed"}}]
        return section

    def _risk(self) -> Spec:
        signals = [
            {"name": f"signal-{number}", "weight": self._one((20, 40, 60)), **self._one(SIGNALS)}
            for number in range(self._random.randrange(1, 4))
        ]
        thresholds = {name: self._one((30, 60, 90)) for name in self._some(("stepUp", "approval", "deny"), least=1)}
        section: Spec = {"signals": signals, "thresholds": thresholds}
        if "stepUp" in thresholds:
            section["stepUp"] = self._one(({"maxAge": "10m"}, {"acrValues": ["high"]}))
        return section

    # --- requests ---

    def _request(self, now: float) -> Request:
        namespace, number = self._one(NAMESPACES), self._random.randrange(2)
        how = self._one(("key", "key", "key", "key", "key", "token", "token", "both", "both", "none", "wrong"))
        base = self._often(f"/{self._one(NAMESPACES)}", lambda: "/v1")
        headers = {name: self._one(values) for name, values in HEADERS.items() if self._random.random() < 0.4}
        token: Spec | None = None
        if how in ("token", "both"):
            token = {"sub": self._subject(namespace, number), "iss": self._one((ISSUER, *ISSUERS)), "aud": AUDIENCE}
            token |= self._one(({}, {"groups": self._some(ROLES), "team": "red"}, {"acr": "high"}))
            token["auth_time"] = int(now) - self._one((60, 7_200))
        return Request(
            path=f"{base}/{self._one(tuple(OPERATIONS.values()))}",
            host=self._one(HOSTS),
            headers=headers,
            address=self._one(ADDRESSES),
            model=self._one((*MODELS, "none")),
            padding=self._one((0, 600)),
            now=now,
            consumer=f"{namespace}/c{number}" if how != "none" else "",
            key="" if how in ("token", "none") else "wrong" if how == "wrong" else key_of(namespace, number),
            token=token,
            certificate=identity_of(namespace, number) if how != "none" and self._random.random() < 0.25 else "",
        )

    def _subject(self, namespace: str, number: int) -> str:
        own = f"app-{number}" if namespace == NAMESPACES[0] else f"other-{number}"
        return "shared" if self._shared and self._random.random() < 0.3 else own

    def _one(self, values: Sequence[T]) -> T:
        return self._random.choice(values)

    def _some(self, values: Sequence[str], *, least: int = 0) -> list[str]:
        return self._random.sample(values, self._random.randint(min(least, len(values)), len(values)))

    def _often(self, usual: T, other: Any) -> T:
        """Mostly the usual: else hardly any request would come as far as the rules."""
        value: T = usual if self._random.random() < 0.7 else other()
        return value


def key_of(namespace: str, number: int) -> str:
    return f"key-of-{namespace}-{number}"


def identity_of(namespace: str, number: int) -> str:
    """What a service mesh would write into the consumer's certificate."""
    return f"spiffe://example.org/{namespace}/c{number}"


def _provider(name: str, claims: Spec | None = None) -> Spec:
    provider: Spec = {
        "name": name,
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "jwksSecretRef": {"name": "jwks", "key": "k"},
    }
    return provider if claims is None else {**provider, "claims": claims}


def secrets() -> dict[SecretKey, Mapping[str, bytes]]:
    """The keys of the identity provider, in a Secret of each namespace."""
    keys = key_set(signers()["ES256"]).encode()
    return {SecretKey(namespace, "jwks"): {"k": keys} for namespace in (*NAMESPACES, PLATFORM)}
