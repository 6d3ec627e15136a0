"""The compiled objects of a Runtime. Built by `runtime.build`, read by the engine and the proxy, never changed."""

from collections.abc import Mapping

from msgspec import Struct

from tidegate_dataplane.expressions import Program
from tidegate_dataplane.ledger.demand import Allowance, RateLimit
from tidegate_dataplane.snapshot.entries import (
    BackendEntry,
    ConsumerEntry,
    Effect,
    Method,
    Operation,
    QuotaEntry,
    QuotaScope,
    RateLimitScope,
    RouteEntry,
    Source,
)


class RuleRef(Struct, frozen=True, gc=False):
    """Which rule of which object, in which generation, decided."""

    kind: str
    key: str
    generation: int
    rule: str = ""

    def __str__(self) -> str:
        """E.g. `AIPolicy team-a/chat rule no-nights`."""
        return f"{self.kind} {self.key} rule {self.rule}" if self.rule else f"{self.kind} {self.key}"


class Names:
    """A set of names, some of which end in `*`: matches when empty, or when one of them matches."""

    __slots__ = ("everything", "exact", "prefixes")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.exact = frozenset(name for name in names if not name.endswith("*"))
        self.prefixes = tuple(sorted({name[:-1] for name in names if name.endswith("*")}))
        self.everything = not names or "" in self.prefixes

    def match(self, name: str) -> bool:
        return self.everything or name in self.exact or name.startswith(self.prefixes)


class Rule(Struct, frozen=True, gc=False):
    """An authorization rule; None means any. The cheap conditions come first, `program` last."""

    ref: RuleRef
    effect: Effect
    roles: frozenset[str] | None
    models: Names | None
    operations: frozenset[Operation] | None
    program: Program | None


class Bucket(Struct, frozen=True, gc=False):
    """A rate limit of a policy."""

    ref: RuleRef
    per: RateLimitScope
    limit: RateLimit
    key: str


class Policy(Struct, frozen=True):
    """A policy. A section that is None is absent."""

    source: Source
    shadow: bool
    methods: frozenset[Method] | None
    deny: tuple[Rule, ...]
    allow: tuple[Rule, ...]
    buckets: tuple[Bucket, ...]


class QuotaLimit(Struct, frozen=True, gc=False):
    """One limit of a quota."""

    ref: RuleRef
    allowance: Allowance
    blocks: bool
    key: str


class Quota(Struct, frozen=True):
    """A quota; empty `tiers` and `teams` mean every consumer."""

    source: Source
    entry: QuotaEntry
    per: QuotaScope
    tiers: frozenset[str]
    teams: frozenset[str]
    limits: tuple[QuotaLimit, ...]


class Backend(Struct, frozen=True):
    """A place where models live; `entry` says how to speak to it."""

    key: str
    entry: BackendEntry


class Target(Struct, frozen=True):
    """Where a request may go. An empty `model` passes the asked-for name on."""

    backend: Backend
    model: str
    weight: int
    priority: int


class Tier(Struct, frozen=True):
    """The usable targets of one priority; `bounds` are their cumulative shares of 1.0."""

    targets: tuple[Target, ...]
    bounds: tuple[float, ...]


class Guard(Struct, frozen=True):
    """What the attached policies of one mode (Enforce or Shadow) say about a route, folded.

    `methods` is None when no policy has an authentication section. `deny` holds every Deny rule, `allow` one tuple of
    Allow rules for each policy that has any.
    """

    methods: frozenset[Method] | None
    methods_refs: tuple[tuple[RuleRef, frozenset[Method]], ...]
    deny: tuple[Rule, ...]
    allow: tuple[tuple[Rule, ...], ...]
    buckets: tuple[Bucket, ...]


class Route(Struct, frozen=True, eq=False):
    """An effective route: its entry, its usable targets, and what guards it."""

    key: str
    source: Source
    entry: RouteEntry
    ref: RuleRef
    namespace: str
    tiers: tuple[Tier, ...]
    single: tuple[Target, ...] | None
    admits_all: bool
    admits: frozenset[str]
    guard: Guard
    shadow: Guard | None
    quotas: tuple[Quota, ...]
    timeout: float
    stream_idle_timeout: float
    variables: Mapping[str, str]


class Consumer(Struct, frozen=True, eq=False):
    """Who calls. The anonymous consumer has an empty key and name."""

    key: str
    name: str
    namespace: str
    team: str
    tier: str
    roles: frozenset[str]
    suspended: bool
    entry: ConsumerEntry | None


class Credential(Struct, frozen=True, gc=False):
    """An API key of a consumer; times are seconds since the epoch."""

    name: str
    consumer: Consumer
    not_before: float
    not_after: float
