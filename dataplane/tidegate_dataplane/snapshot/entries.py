"""What a snapshot says: one entry for each served object, lowered to what a data plane needs.

THE CONTRACT between the operator and the data planes. It knows no Kubernetes. An entry holds the object's own
normalised content plus what the compiler derived from its neighbours (attachments); from the content alone the compiler
can serve the object again, which is how the last good form of an object survives restarts.
Durations are milliseconds, times are whole seconds since the epoch (UTC), amounts are integers.
Keys of objects are "namespace/name".
"""

from enum import StrEnum

from msgspec import Struct

SCHEMA_VERSION = 3
# What is read is older by one, so that data planes may be upgraded first and the operator finds its last good forms:
# version 3 only adds fields, whose defaults mean what version 2 meant.
OLDEST_SCHEMA_VERSION = 2


class Operation(StrEnum):
    """What a caller asks a model to do."""

    CHAT = "Chat"
    COMPLETION = "Completion"
    RESPONSES = "Responses"
    EMBEDDINGS = "Embeddings"
    IMAGE = "Image"
    MODERATION = "Moderation"
    FINE_TUNE = "FineTune"
    MODELS = "Models"


class Provider(StrEnum):
    """The dialect of a backend."""

    OPEN_AI = "OpenAI"
    OPEN_AI_COMPATIBLE = "OpenAICompatible"
    AZURE_OPEN_AI = "AzureOpenAI"
    MOCK = "Mock"


class Method(StrEnum):
    """How a caller proved who it is."""

    API_KEY = "APIKey"
    JWT = "JWT"
    INTROSPECTION = "Introspection"
    MTLS = "MTLS"
    ANONYMOUS = "Anonymous"


class TokenKind(StrEnum):
    """How a token is verified: by its signature, or by asking who issued it (RFC 7662)."""

    JWT = "JWT"
    INTROSPECTION = "Introspection"


class SignalKind(StrEnum):
    """What a risk signal looks at."""

    NEW_ADDRESS = "NewAddress"
    NEW_COUNTRY = "NewCountry"
    UNUSUAL_HOUR = "UnusualHour"
    UNUSUAL_MODEL = "UnusualModel"
    BURST = "Burst"
    FAILED_AUTHENTICATIONS = "FailedAuthentications"
    LISTED_ADDRESS = "ListedAddress"
    EXPRESSION = "Expression"


class ListKind(StrEnum):
    """What a list holds."""

    ADDRESSES = "Addresses"
    KEY_HASHES = "KeyHashes"


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
    TEAM = "Team"
    NAMESPACE = "Namespace"
    ROUTE = "Route"
    MODEL = "Model"
    ADDRESS = "Address"
    GLOBAL = "Global"


class QuotaScope(StrEnum):
    """Whose use shares one counter. Team and Namespace are the consumer's, Model is the name that the caller asks for.
    Key: the value of an expression."""

    CONSUMER = "Consumer"
    TEAM = "Team"
    NAMESPACE = "Namespace"
    ROUTE = "Route"
    GATEWAY = "Gateway"
    BACKEND = "Backend"
    MODEL = "Model"
    ADDRESS = "Address"
    KEY = "Key"


class Unit(StrEnum):
    """What a quota counts."""

    REQUESTS = "Requests"
    TOKENS = "Tokens"
    INPUT_TOKENS = "InputTokens"
    OUTPUT_TOKENS = "OutputTokens"
    CACHED_TOKENS = "CachedTokens"
    COST = "Cost"
    COMPUTE_SECONDS = "ComputeSeconds"
    CONCURRENT = "Concurrent"
    EXPRESSION = "Expression"


class Accuracy(StrEnum):
    """Where a limit is counted: by each data plane alone, or in the shared store, step by step or in slices."""

    LOCAL = "Local"
    EXACT = "Exact"
    LEASED = "Leased"


class FailureMode(StrEnum):
    """What a shared limit does while the store cannot be reached."""

    CLOSED = "Closed"
    OPEN = "Open"
    LOCAL = "Local"


class MidStream(StrEnum):
    """What becomes of a stream that a limit runs out on."""

    FINISH = "Finish"
    END = "End"


class CalendarPeriod(StrEnum):
    """A window that begins where a calendar says."""

    SECOND = "Second"
    MINUTE = "Minute"
    HOUR = "Hour"
    DAY = "Day"
    WEEK = "Week"
    MONTH = "Month"
    YEAR = "Year"


class OnExceed(StrEnum):
    """What happens to a request that would go over."""

    BLOCK = "Block"
    ALERT = "Alert"
    CHARGE = "Charge"
    FALLBACK = "Fallback"
    QUEUE = "Queue"


class Priority(StrEnum):
    """Who goes first where not all can be served at once; from the first to give way to the last."""

    LOW = "Low"
    NORMAL = "Normal"
    HIGH = "High"
    CRITICAL = "Critical"


class ConcurrencyMode(StrEnum):
    """Who sets the limit of a backend: its author, or what latency says."""

    FIXED = "Fixed"
    ADAPTIVE = "Adaptive"


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
    NETWORK = "network"
    RISK = "risk"


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


class Location(Entry, frozen=True):
    """Where a backend computes."""

    cloud: str = ""
    region: str = ""
    jurisdiction: str = ""


class LongContextEntry(Entry, frozen=True):
    """Prices of a whole call whose input has more than `above` tokens; None: as the base price says."""

    above: int
    input: int
    output: int
    cached_input: int | None = None
    cache_write: int | None = None


class PriceEntry(Entry, frozen=True):
    """What a model costs: micro-dollars for a million tokens; `image` and `request` micro-dollars each.

    None: `reasoning`, `output_audio` and `output_image` as `output`, the others as `input`. `long_context` rises.
    `services` are the prices of other service tiers than the standard one, such as priority, by their name.
    """

    input: int = 0
    output: int = 0
    cached_input: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    input_audio: int | None = None
    output_audio: int | None = None
    input_image: int | None = None
    output_image: int | None = None
    image: int = 0
    request: int = 0
    long_context: tuple[LongContextEntry, ...] = ()
    services: dict[str, "PriceEntry"] = {}


class PriceTable(Entry, frozen=True):
    """What the models of a provider cost by default. `models` are lower-case names, some of which end in `*`.

    `hash` is the hex SHA-256 of the canonical JSON of `models`.
    """

    provider: Provider
    hash: str
    models: dict[str, PriceEntry]


class ConcurrencyEntry(Entry, frozen=True):
    """How many calls a data plane has under way at a backend. Fixed: `max`. Adaptive: between `min` and `max`,
    beginning at `initial`; 1 <= min <= initial <= max."""

    mode: ConcurrencyMode
    max: int
    min: int = 1
    initial: int = 1


class BackendEntry(Entry, frozen=True):
    """A place where models live. `credential` is the key in the credentials Secret ("" = none is sent).

    `versions` maps a model to the version that its author declared, `prices` one to the price that holds
    instead of its provider's table.
    """

    source: Source
    provider: Provider
    endpoint: str = ""
    api_version: str = ""
    credential: str = ""
    secret: SecretRef | None = None
    ca_bundle: str = ""
    connect_timeout_ms: int = 5_000
    models: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    prices: dict[str, PriceEntry] = {}
    location: Location | None = None
    allowed_namespaces: tuple[str, ...] = ()
    mock: MockAnswer | None = None
    placement: dict[str, str] = {}
    concurrency: ConcurrencyEntry | None = None


class TargetEntry(Entry, frozen=True):
    """Where a request may go. `backend` is an object key; an empty `model` passes the asked-for name on. `fallback`
    targets are taken only when a limit that falls back is used up."""

    backend: str
    model: str = ""
    weight: int = 1
    priority: int = 0
    fallback: bool = False


class Attachment(Entry, frozen=True):
    """A policy in force on a route, with those of its sections that no narrower policy replaced."""

    policy: str
    sections: tuple[Section, ...]


class Unavailable(Entry, frozen=True):
    """Why a route answers 503 although it is served: a policy or quota attached to it was never valid."""

    kind: str
    key: str


class PlanEntry(Entry, frozen=True):
    """What a subscriber may get; `requests` 0 means no limit of its own."""

    name: str
    requests: int = 0
    period_ms: int = 60_000
    burst: int = 0


class SubscriberEntry(Entry, frozen=True):
    """An approved subscription: its object key, the key of its consumer, its plan, and until when (seconds)."""

    subscription: str
    consumer: str
    plan: str
    not_after: int | None = None


class GrantEntry(Entry, frozen=True):
    """An approval of one held-back call: `request` is the id that the refusal gave."""

    approval: str
    request: str
    not_after: int


class RouteEntry(Entry, frozen=True):
    """What callers see. `headers` are (lower-case name, exact value). `models` may end in `*`.

    `plans` is None where no subscription is needed; `subscribers` and `grants` are derived from other objects.
    """

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
    plans: tuple[PlanEntry, ...] | None = None
    subscribers: tuple[SubscriberEntry, ...] = ()
    grants: tuple[GrantEntry, ...] = ()


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
    versions: tuple[str, ...] = ()
    when: str = ""


class RateLimitEntry(Entry, frozen=True):
    """A token bucket of `burst` requests that refills `requests` per `period_ms`."""

    name: str
    per: RateLimitScope
    requests: int
    period_ms: int
    burst: int
    accuracy: Accuracy = Accuracy.LOCAL
    failure_mode: FailureMode = FailureMode.CLOSED


class ListRef(Entry, frozen=True):
    """A list in a ConfigMap (or Secret) of the entry's own namespace, by name."""

    kind: ListKind
    name: str
    secret: bool = False


class ClaimMapping(Entry, frozen=True):
    """CEL expressions over `token` that say who a token stands for. `name` makes consumers of tokens that no
    AIConsumer claims; the others add to what is known of a consumer. "" = nothing is read."""

    name: str = ""
    namespace: str = ""
    team: str = ""
    tier: str = ""
    roles: str = ""
    attributes: dict[str, str] = {}


class TokenProviderEntry(Entry, frozen=True):
    """Who may vouch for a caller by a token, and what the token must say.

    JWT: keys come from `jwks` (a JWK set in JSON), else from `jwks_uri`, else by discovery at `issuer`. They are
    fetched anew each `refresh_ms`; the last good ones serve at most `max_key_age_ms`. Introspection: `endpoint` is
    asked, `credential` names the client's secret in the credentials Secret, answers live at most `cache_ms`.
    """

    name: str
    kind: TokenKind
    issuer: str = ""
    audiences: tuple[str, ...] = ()
    jwks_uri: str = ""
    jwks: str = ""
    algorithms: tuple[str, ...] = ()
    authorized_parties: tuple[str, ...] = ()
    clock_skew_ms: int = 30_000
    refresh_ms: int = 300_000
    max_key_age_ms: int = 86_400_000
    endpoint: str = ""
    client_id: str = ""
    credential: str = ""
    cache_ms: int = 30_000
    ca_bundle: str = ""
    secret: SecretRef | None = None
    mapping: ClaimMapping | None = None


class AuthenticationEntry(Entry, frozen=True):
    """One of `methods` is needed, and each of `all_of`. Keys in `leaked` lists are refused."""

    methods: tuple[Method, ...]
    all_of: tuple[Method, ...] = ()
    providers: tuple[TokenProviderEntry, ...] = ()
    leaked: tuple[ListRef, ...] = ()


class NetworkEntry(Entry, frozen=True):
    """From where callers may come; networks in CIDR form. No `allow` means from everywhere that is not denied."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    deny_lists: tuple[ListRef, ...] = ()


class SignalEntry(Entry, frozen=True):
    """A risk signal that adds `weight` to the score while it holds; which of the other fields count says `kind`.

    NewCountry reads `header` of a trusted proxy. UnusualHour counts in `time_zone`. Burst and FailedAuthentications
    hold from `count` on within `period_ms`. ListedAddress asks `lists`. Expression is CEL in `when`. The signals about
    what is new or unusual for a consumer hold only once `after` requests of it were seen.
    """

    name: str
    kind: SignalKind
    weight: int
    header: str = ""
    time_zone: str = "UTC"
    count: int = 0
    period_ms: int = 0
    after: int = 20
    lists: tuple[ListRef, ...] = ()
    when: str = ""


class RiskEntry(Entry, frozen=True):
    """From which score on a call needs a fresher or stronger authentication, an approval, or is refused; None: never.

    `acr_values` and `max_age_ms` (0: any) are what satisfies step-up (RFC 9470).
    """

    signals: tuple[SignalEntry, ...]
    step_up: int | None = None
    approval: int | None = None
    deny: int | None = None
    acr_values: tuple[str, ...] = ()
    max_age_ms: int = 0


class PolicyEntry(Entry, frozen=True):
    """What must hold. A section that is None is absent."""

    source: Source
    target_refs: tuple[TargetRef, ...]
    strength: Strength = Strength.REQUIRED
    mode: Mode = Mode.ENFORCE
    authentication: AuthenticationEntry | None = None
    rules: tuple[RuleEntry, ...] | None = None
    rate_limits: tuple[RateLimitEntry, ...] | None = None
    network: NetworkEntry | None = None
    risk: RiskEntry | None = None
    placement: dict[str, str] = {}


class WindowEntry(Entry, frozen=True):
    """Over which time use is added up: `calendar` in `time_zone`, or the last `sliding_ms`."""

    calendar: CalendarPeriod | None = None
    time_zone: str = "UTC"
    sliding_ms: int = 0


class DefaultPrice(Entry, frozen=True):
    """What a token costs where no price is known, in micro-dollars per million tokens."""

    input: int
    output: int


class LimitEntry(Entry, frozen=True):
    """An amount for each counter and window; in micro-dollars for Cost, in milliseconds for ComputeSeconds.

    No window for Concurrent, and only there. `tier_amounts` replace the amount for consumers of these tiers.
    `expression` is CEL over `usage`, for the unit Expression. What is used beyond the amount is charged
    `overage_price` micro-dollars for a million units (Charge). A request waits at most `queue_ms` (Queue).
    `alert_at` are percents. Without a `default_price`, Cost refuses calls whose price nobody knows.
    """

    unit: Unit
    amount: int
    window: WindowEntry | None = None
    on_exceed: OnExceed = OnExceed.BLOCK
    tier_amounts: dict[str, int] = {}
    expression: str = ""
    overage_price: int = 0
    queue_ms: int = 0
    alert_at: tuple[int, ...] = ()
    mid_stream: MidStream = MidStream.FINISH
    default_price: DefaultPrice | None = None


class ExtraAmount(Entry, frozen=True):
    """A one-off grant: `amount` more of `unit` from `not_before` to before `not_after`, for the counter of `scope` only
    ("" = for each). Amounts as in LimitEntry."""

    name: str
    unit: Unit
    amount: int
    not_after: int
    not_before: int | None = None
    scope: str = ""
    reason: str = ""


class NotifyEntry(Entry, frozen=True):
    """Where alerts are sent. `credential` is the key of the signing secret in the credentials Secret ("": unsigned)."""

    url: str
    credential: str = ""
    secret: SecretRef | None = None
    ca_bundle: str = ""


class KeyScope(Entry, frozen=True):
    """One counter for each value of a CEL expression; values beyond the first `max_values` share one."""

    expression: str
    max_values: int = 1_000


class QuotaEntry(Entry, frozen=True):
    """How much. Empty `tiers` and `teams` mean every consumer.

    `share` is the percent of every amount that this cluster has, `safe_share` what of that its data planes may use
    together while the store cannot be reached (failure mode Local). `parent` is a quota of the same namespace, "" for
    none: then the parent's counters apply wherever this quota does.
    """

    source: Source
    target_refs: tuple[TargetRef, ...]
    per: QuotaScope
    limits: tuple[LimitEntry, ...]
    tiers: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    placement: dict[str, str] = {}
    accuracy: Accuracy = Accuracy.LOCAL
    failure_mode: FailureMode = FailureMode.CLOSED
    key: KeyScope | None = None
    parent: str = ""
    share: int = 100
    safe_share: int = 100
    grants: tuple[ExtraAmount, ...] = ()
    notify: NotifyEntry | None = None


class KeyGeneration(Entry, frozen=True):
    """The operator makes the key: anew each `rotate_ms` (0: never), the one before works for `overlap_ms` more."""

    rotate_ms: int = 0
    overlap_ms: int = 0


class KeyEntry(Entry, frozen=True):
    """The SHA-256 (hex) of an API key. `secret` says where the key is kept, when it is; "" = not resolved yet.

    `previous` is the hash of the key that a rotation replaced, which works until `previous_until`.
    """

    name: str
    sha256: str = ""
    not_before: int | None = None
    not_after: int | None = None
    secret: SecretRef | None = None
    revoked: bool = False
    generate: KeyGeneration | None = None
    previous: str = ""
    previous_until: int | None = None


def previous_name(name: str) -> str:
    """What the key that a rotation replaced is called wherever credentials are named; no key can be declared so."""
    return f"{name} (previous)"


class TokenMatchEntry(Entry, frozen=True):
    """Tokens of `issuer` ("" for introspection) whose claims have all these values stand for the consumer."""

    name: str
    match: dict[str, str]
    issuer: str = ""


class CertificateMatchEntry(Entry, frozen=True):
    """Client certificates with this subject (RFC 4514), URI, DNS name or fingerprint (hex SHA-256) stand for the
    consumer; exactly one is given."""

    name: str
    subject: str = ""
    uri: str = ""
    dns: str = ""
    fingerprint: str = ""


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
    tokens: tuple[TokenMatchEntry, ...] = ()
    certificates: tuple[CertificateMatchEntry, ...] = ()
    placement: dict[str, str] = {}
    priority: Priority = Priority.NORMAL


class SubscriptionEntry(Entry, frozen=True):
    """Who asks for which plan of which route; `consumer` and `route` are object keys. Alone it opens nothing.

    Carried for its last good form; data planes read `RouteEntry.subscribers`.
    """

    source: Source
    consumer: str
    route: str
    plan: str
    not_after: int | None = None
    placement: dict[str, str] = {}


class ApprovalEntry(Entry, frozen=True):
    """What the owner of `route` grants: a subscription with exactly this consumer and plan, or one held-back request.

    Carried for its last good form; data planes read `RouteEntry.subscribers` and `RouteEntry.grants`.
    """

    source: Source
    route: str
    subscription: str = ""
    consumer: str = ""
    plan: str = ""
    request: str = ""
    not_after: int | None = None
    revoked: bool = False
    placement: dict[str, str] = {}


class ListPart(Entry, frozen=True):
    """A part of a list, so that an edit of a large one rewrites little. `data` are packed records, sorted.

    The object key is that of the ConfigMap or Secret; `part` tells parts of a list apart. The parts are consecutive
    ranges of the list's sorted records. Addresses: 17 bytes, an IPv6 (or IPv4-mapped) network and its prefix length.
    KeyHashes: the first 16 bytes of the SHA-256 of a key.
    """

    namespace: str
    name: str
    secret: bool
    kind: ListKind
    part: str
    data: bytes


class Shard(Entry, frozen=True):
    """The entries of one bucket of objects, each kind sorted by object key."""

    schema_version: int
    backends: tuple[BackendEntry, ...] = ()
    routes: tuple[RouteEntry, ...] = ()
    policies: tuple[PolicyEntry, ...] = ()
    quotas: tuple[QuotaEntry, ...] = ()
    consumers: tuple[ConsumerEntry, ...] = ()
    subscriptions: tuple[SubscriptionEntry, ...] = ()
    approvals: tuple[ApprovalEntry, ...] = ()
    lists: tuple[ListPart, ...] = ()
    prices: tuple[PriceTable, ...] = ()


class ShardRef(Entry, frozen=True):
    """A shard of a revision. `name` is two digits, after an `l` for shards of lists; `sha256` (hex) and `size` are of
    its compressed bytes."""

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
