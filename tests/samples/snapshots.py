"""Entries and snapshots for tests of the engine: short to write, complete, with true digests."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.runtime import Runtime, build
from tidegate_dataplane.snapshot.codec import encode_shard
from tidegate_dataplane.snapshot.entries import (
    SCHEMA_VERSION,
    Attachment,
    AuthenticationEntry,
    BackendEntry,
    CalendarPeriod,
    ClusterFacts,
    ConsumerEntry,
    Effect,
    Index,
    KeyEntry,
    LimitEntry,
    Method,
    Operation,
    PolicyEntry,
    Provider,
    QuotaEntry,
    QuotaScope,
    RateLimitEntry,
    RateLimitScope,
    RouteEntry,
    RuleEntry,
    Section,
    Shard,
    ShardRef,
    Source,
    TargetEntry,
    TargetKind,
    TargetRef,
    Unit,
    WindowEntry,
)

Entry = BackendEntry | ConsumerEntry | PolicyEntry | QuotaEntry | RouteEntry

NOON = 1_782_907_200.0  # 2026-07-01T12:00:00Z
ALL_SECTIONS = tuple(Section)
_HERE = (TargetRef(kind=TargetKind.NAMESPACE),)


def source(key: str, *, generation: int = 1, created: int = 0) -> Source:
    namespace, _, name = key.partition("/")
    return Source(namespace=namespace, name=name, generation=generation, created=created)


def backend(key: str = "team-a/mock", **fields: Any) -> BackendEntry:
    return BackendEntry(source=source(key), provider=Provider.MOCK, **fields)


def attach(*policies: str, sections: tuple[Section, ...] = ALL_SECTIONS) -> tuple[Attachment, ...]:
    return tuple(Attachment(policy=policy, sections=sections) for policy in policies)


def route(key: str = "team-a/chat", *, created: int = 0, generation: int = 1, **fields: Any) -> RouteEntry:
    defaults: dict[str, Any] = {
        "models": ("gpt-4o",),
        "operations": (Operation.CHAT,),
        "targets": (TargetEntry(backend="team-a/mock"),),
    }
    return RouteEntry(source=source(key, created=created, generation=generation), **(defaults | fields))


def policy(
    key: str = "team-a/login", *, generation: int = 1, methods: tuple[Method, ...] | None = None, **fields: Any
) -> PolicyEntry:
    """`methods` stands for an authentication section of which one of them suffices."""
    if methods is not None:
        fields["authentication"] = AuthenticationEntry(methods=methods)
    return PolicyEntry(source=source(key, generation=generation), target_refs=_HERE, **fields)


def keys_only(key: str = "team-a/login") -> PolicyEntry:
    return policy(key, methods=(Method.API_KEY,))


def allow(name: str, **fields: Any) -> RuleEntry:
    return RuleEntry(name=name, effect=Effect.ALLOW, **fields)


def deny(name: str, **fields: Any) -> RuleEntry:
    return RuleEntry(name=name, effect=Effect.DENY, **fields)


def rate(
    name: str = "rate",
    *,
    per: RateLimitScope = RateLimitScope.CONSUMER,
    requests: int = 10,
    period_ms: int = 1_000,
    burst: int = 10,
) -> RateLimitEntry:
    return RateLimitEntry(name=name, per=per, requests=requests, period_ms=period_ms, burst=burst)


def limit(
    unit: Unit = Unit.TOKENS, amount: int = 1_000, window: WindowEntry | None = None, **fields: Any
) -> LimitEntry:
    month = WindowEntry(calendar=CalendarPeriod.MONTH)
    return LimitEntry(unit=unit, amount=amount, window=month if window is None else window, **fields)


def quota(
    key: str = "team-a/quota", *limits: LimitEntry, per: QuotaScope = QuotaScope.CONSUMER, **fields: Any
) -> QuotaEntry:
    return QuotaEntry(source=source(key), target_refs=_HERE, per=per, limits=limits or (limit(),), **fields)


def key_of(consumer: str) -> str:
    """The API key that `consumer(...)` gives to the consumer of this object key."""
    return f"key-of-{consumer}"


def key_entry(key: str, **fields: Any) -> KeyEntry:
    return KeyEntry(name="k", sha256=sha256(key.encode()).hexdigest(), **fields)


def consumer(key: str = "team-a/search", *, created: int = 0, **fields: Any) -> ConsumerEntry:
    defaults: dict[str, Any] = {"keys": (key_entry(key_of(key)),)}
    return ConsumerEntry(source=source(key, created=created), **(defaults | fields))


def shard_of(entries: Iterable[Entry]) -> Shard:
    ordered = sorted(entries, key=lambda entry: entry.source.key)
    return Shard(
        schema_version=SCHEMA_VERSION,
        backends=tuple(entry for entry in ordered if isinstance(entry, BackendEntry)),
        routes=tuple(entry for entry in ordered if isinstance(entry, RouteEntry)),
        policies=tuple(entry for entry in ordered if isinstance(entry, PolicyEntry)),
        quotas=tuple(entry for entry in ordered if isinstance(entry, QuotaEntry)),
        consumers=tuple(entry for entry in ordered if isinstance(entry, ConsumerEntry)),
    )


def snapshot(entries: Iterable[Entry], *, revision: int = 1, shards: int = 4) -> tuple[Index, Mapping[str, Shard]]:
    """Index and shards, bucketed by object key."""
    buckets: dict[str, list[Entry]] = {f"{number:02}": [] for number in range(shards)}
    for entry in entries:
        digest = sha256(entry.source.key.encode()).digest()
        buckets[f"{digest[0] % shards:02}"].append(entry)
    parts = {name: shard_of(bucket) for name, bucket in buckets.items()}
    refs = []
    for name, part in parts.items():
        data = encode_shard(part)
        refs.append(ShardRef(name=name, sha256=sha256(data).hexdigest(), size=len(data)))
    index = Index(
        schema_version=SCHEMA_VERSION, revision=revision, gateway="default", cluster=ClusterFacts(), shards=tuple(refs)
    )
    return index, parts


def runtime_of(*entries: Entry) -> Runtime:
    """A Runtime of these entries, and of the backend `team-a/mock` when none is given."""
    given = list(entries)
    if not any(isinstance(entry, BackendEntry) for entry in given):
        given.append(backend())
    return build(*snapshot(given))


_CALL = Call(
    host="ai.example.com",
    path="/v1/chat/completions",
    base="/v1",
    operation=Operation.CHAT,
    model="gpt-4o",
    headers={},
    address="192.0.2.7",
    keys=(key_of("team-a/search"),),
    body_bytes=600,
    prompt_tokens=100,
    max_output_tokens=50,
)


def call(**fields: Any) -> Call:
    """A chat call of team-a/search for gpt-4o, with these fields changed."""
    return msgspec.structs.replace(_CALL, **fields)
