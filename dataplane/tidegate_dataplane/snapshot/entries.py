"""What a snapshot says: one entry for each served object, lowered to what a data plane needs.

THE CONTRACT between the operator and the data planes. It knows no Kubernetes. An entry holds the object's own
normalised content plus what the compiler derived from its neighbours (attachments); from the content alone the compiler
can serve the object again, which is how the last good form of an object survives restarts.
Durations are milliseconds, times are whole seconds since the epoch (UTC), amounts are integers.
Keys of objects are "namespace/name".
"""

from enum import StrEnum

from msgspec import Struct

SCHEMA_VERSION = 1


class Operation(StrEnum):
    """What a caller asks a model to do."""

    CHAT = "Chat"
    COMPLETION = "Completion"
    RESPONSES = "Responses"
    EMBEDDINGS = "Embeddings"
    IMAGE = "Image"
    MODERATION = "Moderation"


class Provider(StrEnum):
    """The dialect of a backend."""

    OPEN_AI = "OpenAI"
    OPEN_AI_COMPATIBLE = "OpenAICompatible"
    AZURE_OPEN_AI = "AzureOpenAI"
    MOCK = "Mock"


class Method(StrEnum):
    """How a caller proved who it is."""

    API_KEY = "APIKey"
    ANONYMOUS = "Anonymous"


class Strength(StrEnum):
    """Whether a narrower policy may replace a section (the compiler applies it; carried for the last good form)."""

    REQUIRED = "Required"
    DEFAULT = "Default"


class Mode(StrEnum):
    """Whether a policy is obeyed, or evaluated and logged only."""

    ENFORCE = "Enforce"
    SHADOW = "Shadow"


class Effect(StrEnum):
    """What a matching rule does."""

    ALLOW = "Allow"
    DENY = "Deny"


class RateLimitScope(StrEnum):
    """Whose requests share one bucket."""

    CONSUMER = "Consumer"
    ROUTE = "Route"
    ADDRESS = "Address"
    GLOBAL = "Global"


class QuotaScope(StrEnum):
    """Whose use shares one counter. Team and Namespace are the consumer's."""

    CONSUMER = "Consumer"
    TEAM = "Team"
    NAMESPACE = "Namespace"
    ROUTE = "Route"
    GATEWAY = "Gateway"


class Unit(StrEnum):
    """What a quota counts."""

    REQUESTS = "Requests"
    TOKENS = "Tokens"
    INPUT_TOKENS = "InputTokens"
    OUTPUT_TOKENS = "OutputTokens"


class CalendarPeriod(StrEnum):
    """A window that begins where a calendar says."""

    HOUR = "Hour"
    DAY = "Day"
    WEEK = "Week"
    MONTH = "Month"
    YEAR = "Year"


class OnExceed(StrEnum):
    """What happens to a request that would go over."""

    BLOCK = "Block"
    ALERT = "Alert"


class RetryOn(StrEnum):
    """A failure before the first byte that another target may make good."""

    CONNECT = "Connect"
    TOO_MANY_REQUESTS = "429"
    SERVER_ERROR = "5xx"


class Section(StrEnum):
    """A section of a policy; an attachment names those in force on a route."""

    AUTHENTICATION = "authentication"
    AUTHORIZATION = "authorization"
    RATE_LIMITS = "rateLimits"


class TargetKind(StrEnum):
    """What a policy or quota is attached to."""

    AI_ROUTE = "AIRoute"
    NAMESPACE = "Namespace"
    GATEWAY = "Gateway"


class Entry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of all parts of a snapshot: immutable, unknown fields refused, defaults left out of the bytes."""


class Source(Entry, frozen=True):
    """Which object, in which generation, an entry was compiled from (its provenance).

    `created` decides between rival claims (older wins). `uid` tells a recreated object from its predecessor.
    """

    namespace: str
    name: str
    generation: int
    uid: str = ""
    created: int = 0

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


class SecretRef(Entry, frozen=True):
    """One key of a Secret in the entry's own namespace: a name, never a value."""

    name: str
    key: str


class MockAnswer(Entry, frozen=True):
    """What a Mock backend answers."""

    reply: str
    latency_ms: int = 0
    chunk_delay_ms: int = 0


class BackendEntry(Entry, frozen=True):
    """A place where models live. `credential` is the key in the credentials Secret ("" = none is sent)."""

    source: Source
    provider: Provider
    endpoint: str = ""
    api_version: str = ""
    credential: str = ""
    secret: SecretRef | None = None
    ca_bundle: str = ""
    connect_timeout_ms: int = 5_000
    models: tuple[str, ...] = ()
    allowed_namespaces: tuple[str, ...] = ()
    mock: MockAnswer | None = None
    placement: dict[str, str] = {}


class TargetEntry(Entry, frozen=True):
    """Where a request may go. `backend` is an object key; an empty `model` passes the asked-for name on."""

    backend: str
    model: str = ""
    weight: int = 1
    priority: int = 0


class Attachment(Entry, frozen=True):
    """A policy in force on a route, with those of its sections that no narrower policy replaced."""

    policy: str
    sections: tuple[Section, ...]


class Unavailable(Entry, frozen=True):
    """Why a route answers 503 although it is served: a policy or quota attached to it was never valid."""

    kind: str
    key: str


class RouteEntry(Entry, frozen=True):
    """What callers see. `headers` are (lower-case name, exact value). `models` may end in `*`."""

    source: Source
    models: tuple[str, ...]
    operations: tuple[Operation, ...]
    targets: tuple[TargetEntry, ...]
    hostnames: tuple[str, ...] = ()
    path_prefix: str = "/v1"
    headers: tuple[tuple[str, str], ...] = ()
    timeout_ms: int = 60_000
    stream_idle_timeout_ms: int = 60_000
    retry_attempts: int = 2
    retry_on: tuple[RetryOn, ...] = ()
    allowed_namespaces: tuple[str, ...] = ()
    placement: dict[str, str] = {}
    policies: tuple[Attachment, ...] = ()
    quotas: tuple[str, ...] = ()
    unavailable: tuple[Unavailable, ...] = ()


class TargetRef(Entry, frozen=True):
    """What a policy or quota is attached to; `name` only for AIRoute."""

    kind: TargetKind
    name: str = ""


class RuleEntry(Entry, frozen=True):
    """An authorization rule: matches when all it names matches; empty means any."""

    name: str
    effect: Effect
    roles: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    operations: tuple[Operation, ...] = ()
    when: str = ""


class RateLimitEntry(Entry, frozen=True):
    """A token bucket of `burst` requests that refills `requests` per `period_ms`."""

    name: str
    per: RateLimitScope
    requests: int
    period_ms: int
    burst: int


class PolicyEntry(Entry, frozen=True):
    """What must hold. A section that is None is absent."""

    source: Source
    target_refs: tuple[TargetRef, ...]
    strength: Strength = Strength.REQUIRED
    mode: Mode = Mode.ENFORCE
    methods: tuple[Method, ...] | None = None
    rules: tuple[RuleEntry, ...] | None = None
    rate_limits: tuple[RateLimitEntry, ...] | None = None
    placement: dict[str, str] = {}


class WindowEntry(Entry, frozen=True):
    """Over which time use is added up: `calendar` in `time_zone`, or the last `sliding_ms`."""

    calendar: CalendarPeriod | None = None
    time_zone: str = "UTC"
    sliding_ms: int = 0


class LimitEntry(Entry, frozen=True):
    """An amount for each counter and window."""

    unit: Unit
    amount: int
    window: WindowEntry
    on_exceed: OnExceed = OnExceed.BLOCK


class QuotaEntry(Entry, frozen=True):
    """How much. Empty `tiers` and `teams` mean every consumer."""

    source: Source
    target_refs: tuple[TargetRef, ...]
    per: QuotaScope
    limits: tuple[LimitEntry, ...]
    tiers: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    placement: dict[str, str] = {}


class KeyEntry(Entry, frozen=True):
    """The SHA-256 (hex) of an API key. `secret` says where the key is kept, when it is; "" = not resolved yet."""

    name: str
    sha256: str = ""
    not_before: int | None = None
    not_after: int | None = None
    secret: SecretRef | None = None


class ConsumerEntry(Entry, frozen=True):
    """Who calls."""

    source: Source
    type: str = "Application"
    team: str = ""
    tier: str = ""
    roles: tuple[str, ...] = ()
    attributes: dict[str, str] = {}
    suspended: bool = False
    keys: tuple[KeyEntry, ...] = ()
    placement: dict[str, str] = {}


class Shard(Entry, frozen=True):
    """The entries of one bucket of objects, each kind sorted by object key."""

    schema_version: int
    backends: tuple[BackendEntry, ...] = ()
    routes: tuple[RouteEntry, ...] = ()
    policies: tuple[PolicyEntry, ...] = ()
    quotas: tuple[QuotaEntry, ...] = ()
    consumers: tuple[ConsumerEntry, ...] = ()


class ShardRef(Entry, frozen=True):
    """A shard of a revision. `name` is two digits; `sha256` (hex) and `size` are of its compressed bytes."""

    name: str
    sha256: str
    size: int


class ClusterFacts(Entry, frozen=True):
    """What an operator was told about its cluster. `labels` include none of the others."""

    name: str = ""
    cloud: str = ""
    region: str = ""
    jurisdiction: str = ""
    labels: dict[str, str] = {}


class Index(Entry, frozen=True):
    """The head of a snapshot: which shards, with which digests, make up a revision."""

    schema_version: int
    revision: int
    gateway: str
    cluster: ClusterFacts
    shards: tuple[ShardRef, ...]
