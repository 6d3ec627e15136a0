"""Snapshots for tests of the data plane, made from the contract's own structs: no compiler is involved."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.codec import digest, encode_index, encode_shard
from tidegate_dataplane.snapshot.entries import (
    SCHEMA_VERSION,
    Attachment,
    AuthenticationEntry,
    BackendEntry,
    ClusterFacts,
    ConsumerEntry,
    Index,
    KeyEntry,
    Method,
    MockAnswer,
    Operation,
    PolicyEntry,
    Provider,
    QuotaEntry,
    RateLimitEntry,
    RetryOn,
    RouteEntry,
    RuleEntry,
    Section,
    Shard,
    ShardRef,
    Source,
    TargetEntry,
    TargetKind,
    TargetRef,
)

NAMESPACE = "team-a"
KEY = "sk-test-key-of-search-0123456789"
OTHER_KEY = "sk-test-key-of-nobody-987654321"
REPLY = "Hello from the mock, word by word."


def source(name: str, *, generation: int = 1) -> Source:
    return Source(namespace=NAMESPACE, name=name, generation=generation)


def mock_backend(
    name: str = "mock", *, reply: str = REPLY, latency_ms: int = 0, chunk_delay_ms: int = 0
) -> BackendEntry:
    answer = MockAnswer(reply=reply, latency_ms=latency_ms, chunk_delay_ms=chunk_delay_ms)
    return BackendEntry(source=source(name), provider=Provider.MOCK, mock=answer)


def http_backend(
    name: str,
    endpoint: str,
    *,
    provider: Provider = Provider.OPEN_AI,
    credential: str = "",
    api_version: str = "",
    connect_timeout_ms: int = 1_000,
) -> BackendEntry:
    return BackendEntry(
        source=source(name),
        provider=provider,
        endpoint=endpoint,
        credential=credential,
        api_version=api_version,
        connect_timeout_ms=connect_timeout_ms,
    )


def target(backend: str = "mock", *, model: str = "", weight: int = 1, priority: int = 0) -> TargetEntry:
    return TargetEntry(backend=f"{NAMESPACE}/{backend}", model=model, weight=weight, priority=priority)


def route(
    name: str = "chat",
    *,
    models: tuple[str, ...] = ("chat-fast",),
    operations: tuple[Operation, ...] = tuple(Operation),
    targets: tuple[TargetEntry, ...] = (),
    timeout_ms: int = 5_000,
    stream_idle_timeout_ms: int = 5_000,
    retry_attempts: int = 2,
    retry_on: tuple[RetryOn, ...] = tuple(RetryOn),
    policies: tuple[str, ...] = ("open",),
    quotas: tuple[str, ...] = (),
    hostnames: tuple[str, ...] = (),
) -> RouteEntry:
    return RouteEntry(
        source=source(name),
        models=models,
        operations=operations,
        targets=targets or (target(),),
        hostnames=hostnames,
        timeout_ms=timeout_ms,
        stream_idle_timeout_ms=stream_idle_timeout_ms,
        retry_attempts=retry_attempts,
        retry_on=retry_on,
        policies=tuple(Attachment(policy=f"{NAMESPACE}/{each}", sections=tuple(Section)) for each in policies),
        quotas=tuple(f"{NAMESPACE}/{each}" for each in quotas),
    )


def policy(
    name: str = "open",
    *,
    methods: tuple[Method, ...] = (Method.API_KEY,),
    rules: tuple[RuleEntry, ...] | None = None,
    rate_limits: tuple[RateLimitEntry, ...] | None = None,
) -> PolicyEntry:
    return PolicyEntry(
        source=source(name),
        target_refs=(TargetRef(kind=TargetKind.NAMESPACE),),
        authentication=AuthenticationEntry(methods=methods),
        rules=rules,
        rate_limits=rate_limits,
    )


def consumer(name: str = "search", *, key: str = KEY, suspended: bool = False) -> ConsumerEntry:
    hashed = hashlib.sha256(key.encode()).hexdigest()
    return ConsumerEntry(
        source=source(name),
        team="search",
        tier="premium",
        suspended=suspended,
        keys=(KeyEntry(name="main", sha256=hashed),),
    )


def shard(
    *,
    backends: Sequence[BackendEntry] = (),
    routes: Sequence[RouteEntry] = (),
    policies: Sequence[PolicyEntry] = (),
    quotas: Sequence[QuotaEntry] = (),
    consumers: Sequence[ConsumerEntry] = (),
) -> Shard:
    """What is left out is one route `chat-fast` to a Mock backend, open to the consumer that holds KEY."""
    return Shard(
        schema_version=SCHEMA_VERSION,
        backends=tuple(backends) or (mock_backend(),),
        routes=tuple(routes) or (route(),),
        policies=tuple(policies) or (policy(),),
        quotas=tuple(quotas),
        consumers=tuple(consumers) or (consumer(),),
    )


def bundle_of(
    *shards: Shard, revision: int = 1, gateway: str = "default", schema_version: int = SCHEMA_VERSION
) -> Bundle:
    data = {f"{number:02}": encode_shard(each) for number, each in enumerate(shards)}
    refs = tuple(ShardRef(name=name, sha256=digest(each), size=len(each)) for name, each in data.items())
    index = Index(
        schema_version=schema_version,
        revision=revision,
        gateway=gateway,
        cluster=ClusterFacts(name="test"),
        shards=refs,
    )
    return Bundle(encode_index(index), data)
