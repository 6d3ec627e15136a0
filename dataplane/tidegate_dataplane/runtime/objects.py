"""The compiled objects of a Runtime. Built by `runtime.build`, read by the engine and the proxy, never changed."""

from typing import Final

from msgspec import Struct

from tidegate_dataplane.expressions import KeyProgram, Program, ValueProgram
from tidegate_dataplane.ledger.demand import Terms
from tidegate_dataplane.pricing.price import Price
from tidegate_dataplane.runtime.lists import AddressList, ListKey
from tidegate_dataplane.snapshot.entries import (
    AuthenticationEntry,
    BackendEntry,
    ConsumerEntry,
    Effect,
    Method,
    NetworkEntry,
    Operation,
    QuotaEntry,
    QuotaScope,
    RateLimitScope,
    RouteEntry,
    SignalKind,
    Source,
    TokenProviderEntry,
    Unavailable,
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


class Rule(Struct, frozen=True, eq=False):
    """An authorization rule; None means any. The cheap conditions come first, `program` last.

    With `by_target` it looks at the backend, so that it is asked for each target by itself.
    """

    ref: RuleRef
    effect: Effect
    roles: frozenset[str] | None
    models: Names | None
    operations: frozenset[Operation] | None
    program: Program | None
    versions: Names | None = None
    by_target: bool = False

    @property
    def cost(self) -> int:
        """What its expression may cost, in the units of expressions.cost."""
        return 0 if self.program is None else self.program.cost


class Bucket(Struct, frozen=True, gc=False):
    """A rate limit of a policy; `rate` is in requests a second.

    The keys of its counters are `key` and then the value of the scope.
    """

    ref: RuleRef
    per: RateLimitScope
    burst: int
    rate: float
    key: str
    shadow: bool
    terms: Terms


class MappingPrograms(Struct, frozen=True, eq=False):
    """The expressions of a claim mapping, compiled; None where nothing is read."""

    name: ValueProgram | None
    namespace: ValueProgram | None
    team: ValueProgram | None
    tier: ValueProgram | None
    roles: ValueProgram | None
    attributes: dict[str, ValueProgram]

    @property
    def all(self) -> tuple[ValueProgram, ...]:
        """All that there are."""
        given = (self.name, self.namespace, self.team, self.tier, self.roles, *self.attributes.values())
        return tuple(program for program in given if program is not None)


class Provider(Struct, frozen=True, eq=False):
    """Who may vouch for callers by tokens. `key` is "namespace/policy/name".

    It vouches for consumers of its own namespace, and for all when `everywhere` (its policy is the gateway's).
    """

    key: str
    namespace: str
    everywhere: bool
    shadow: bool
    method: Method
    entry: TokenProviderEntry
    programs: MappingPrograms | None = None


class Signal(Struct, frozen=True, eq=False):
    """A risk signal; times are seconds."""

    name: str
    kind: SignalKind
    weight: int
    header: str
    zone: str
    count: int
    period: float
    after: int
    lists: tuple[ListKey, ...]
    program: Program | None


class RiskSection(Struct, frozen=True, eq=False):
    """The risk section of a policy: its signals, and from which score on what is demanded."""

    ref: RuleRef
    signals: tuple[Signal, ...]
    step_up: int | None
    approval: int | None
    deny: int | None
    acr_values: tuple[str, ...]
    max_age: float

    @property
    def cost(self) -> int:
        """What its expressions may cost, in the units of expressions.cost."""
        return sum(signal.program.cost for signal in self.signals if signal.program is not None)


class Network(Struct, frozen=True, eq=False):
    """The network section of one policy. `allow` None means that every address is allowed that is not denied."""

    ref: RuleRef
    entry: NetworkEntry
    allow: AddressList | None
    deny: AddressList | None
    lists: tuple[ListKey, ...]


class Leaks(Struct, frozen=True, eq=False):
    """The lists of leaked keys and tokens that the authentication section of one policy names."""

    ref: RuleRef
    lists: tuple[ListKey, ...]


class Policy(Struct, frozen=True, eq=False):
    """A policy. A section that is None is absent."""

    ref: RuleRef
    shadow: bool
    authentication: AuthenticationEntry | None
    providers: tuple[Provider, ...]
    deny: tuple[Rule, ...]
    allow: tuple[Rule, ...]
    buckets: tuple[Bucket, ...]
    risk: RiskSection | None
    network: Network | None
    leaks: Leaks | None


class Extra(Struct, frozen=True, gc=False):
    """A one-off grant of a limit: so much more, from and to before these seconds since the epoch, of the counter of
    `scope` ("" = of each)."""

    amount: int
    begins: float
    ends: float
    scope: str


class QuotaLimit(Struct, frozen=True, gc=False):
    """One limit of a quota; the keys of its counters are `terms.key` and then the value of the scope. Amounts are those
    of this cluster. `blocks`: what goes over is not let pass. `priced`: it counts what calls cost."""

    terms: Terms
    amount: int
    tier_amounts: dict[str, int]
    extras: tuple[Extra, ...]
    blocks: bool
    default_price: Price | None = None
    priced: bool = False


class Quota(Struct, frozen=True, eq=False):
    """A quota; empty `tiers` and `teams` mean every consumer. `program` says whose use shares a counter, for Key."""

    ref: RuleRef
    per: QuotaScope
    tiers: frozenset[str]
    teams: frozenset[str]
    limits: tuple[QuotaLimit, ...]
    entry: QuotaEntry
    program: KeyProgram | None = None


class Backend(Struct, frozen=True, eq=False):
    """A place where models live; `entry` says how to speak to it, `prices` are the ones it names itself, by model."""

    key: str
    entry: BackendEntry
    prices: dict[str, Price] = {}


class Target(Struct, frozen=True, eq=False):
    """Where a request may go. An empty `model` passes the asked-for name on."""

    backend: Backend
    model: str
    weight: int
    priority: int


class Tier(Struct, frozen=True, eq=False):
    """The usable targets of one priority: for each possible first choice, all of them in the order of trying.

    `bounds` are the cumulative shares of 1.0 of the first choices.
    """

    bounds: tuple[float, ...]
    orders: tuple[tuple[Target, ...], ...]


class Gate(Struct, frozen=True, eq=False):
    """The authentication section of one policy: one of `methods` is needed, and each of `all_of`.

    `providers` are the keys of those it names itself, by the method that they serve.
    """

    ref: RuleRef
    methods: frozenset[Method]
    all_of: frozenset[Method]
    providers: dict[Method, frozenset[str]]

    @property
    def needs(self) -> str:
        """What satisfies it, in words."""
        one_of = " or ".join(sorted(self.methods))
        return f"{' and '.join(sorted(self.all_of))}, and {one_of}" if self.all_of else one_of


class Guard(Struct, frozen=True, eq=False):
    """What the attached policies of one mode (Enforce or Shadow) say about a route, folded.

    `providers` are the keys of all that the gates name, by method, `mappings` of those that say who a token stands for.
    `deny` holds every Deny rule, `allow` one group for each policy that has Allow rules: its own reference, and the
    rules. `by_call` are those of the buckets whose counters are known only when a call comes. `by_target` tells
    whether any rule looks at the backend. `cost` is what all expressions may cost that are asked once for each call,
    `target_cost` those asked for each target.
    """

    gates: tuple[Gate, ...]
    providers: dict[Method, frozenset[str]]
    mappings: frozenset[str]
    deny: tuple[Rule, ...]
    allow: tuple[tuple[RuleRef, tuple[Rule, ...]], ...]
    buckets: tuple[Bucket, ...]
    by_call: tuple[Bucket, ...]
    risks: tuple[RiskSection, ...]
    networks: tuple[Network, ...]
    leaks: tuple[Leaks, ...]
    by_target: bool = False
    cost: int = 0
    target_cost: int = 0


class Plan(Struct, frozen=True, eq=False):
    """A plan of a route; `bucket` limits each of its consumers, if it limits them."""

    name: str
    bucket: Bucket | None


class Subscriber(Struct, frozen=True, eq=False, gc=False):
    """An approved subscription of one consumer to one route; `not_after` is in seconds since the epoch.

    `younger` is the next one of the same consumer: it counts when this one has ended.
    """

    subscription: str
    plan: Plan
    not_after: float
    younger: "Subscriber | None" = None


class Subscriptions(Struct, frozen=True, eq=False):
    """Who may call a route that asks for a subscription: subscribers by the key of their consumer."""

    plans: tuple[str, ...]
    by_consumer: dict[str, Subscriber]


class Route(Struct, frozen=True, eq=False):
    """An effective route: its entry, its usable targets, and what guards it.

    `quotas` are those whose counters its caller decides, `per_call` need the call itself, `per_backend` the target.
    `fallbacks` are the targets for calls that a limit sends there; `priced` tells whether any quota counts cost.
    `admits` are the namespaces whose consumers may come in, None means all. `unavailable` says why every call is
    answered 503, if it is; so is each where expressions may cost `too_costly` units, which is 0 where they cost little
    enough. `subscriptions` is None where none is needed.
    """

    key: str
    ref: RuleRef
    entry: RouteEntry
    namespace: str
    admits: frozenset[str] | None
    unavailable: tuple[Unavailable, ...]
    tiers: tuple[Tier, ...]
    guard: Guard
    shadow: Guard | None
    quotas: tuple[Quota, ...]
    per_call: tuple[Quota, ...]
    per_backend: tuple[Quota, ...]
    fallbacks: tuple[Tier, ...]
    priced: bool
    timeout: float
    stream_idle_timeout: float
    variables: dict[str, object]
    subscriptions: Subscriptions | None = None
    too_costly: int = 0


class Consumer(Struct, frozen=True, eq=False, gc=False):
    """Who calls. The anonymous consumer has an empty key, name and namespace."""

    key: str
    entry: ConsumerEntry
    namespace: str
    roles: frozenset[str]

    @property
    def name(self) -> str:
        return self.entry.source.name

    @property
    def team(self) -> str:
        return self.entry.team

    @property
    def tier(self) -> str:
        return self.entry.tier

    @property
    def variables(self) -> dict[str, object]:
        """Its members as expressions see them."""
        entry = self.entry
        return {
            "name": entry.source.name,
            "namespace": self.namespace,
            "type": entry.type,
            "team": entry.team,
            "tier": entry.tier,
            "roles": entry.roles,
            "attributes": entry.attributes,
        }


class Credential(Struct, frozen=True, eq=False, gc=False):
    """An API key of a consumer; times are seconds since the epoch, `digest` is the SHA-256 of the key.

    `replaced` is the key that a rotation replaced, for as long as it still works.
    `rivals` are the credentials of other consumers with the same key: the consumer that was there first has it.
    """

    name: str
    consumer: Consumer
    not_before: float
    not_after: float
    revoked: bool
    identity: "Identity"
    digest: bytes
    replaced: bool = False
    rivals: tuple["Credential", ...] = ()


class Claims(Struct, frozen=True, eq=False, gc=False):
    """What one provider's mapping reads from a token."""

    roles: frozenset[str] = frozenset()
    team: str = ""
    tier: str = ""
    attributes: dict[str, str] = {}


class Identity(Struct, frozen=True, eq=False):
    """Who calls, and how that was proved: by everything that was presented, all of it of one consumer.

    `names` are those of the credentials. `vouchers` are the keys of the providers that accept the token, `claims` what
    their mappings read, `token` its members as expressions see them. `digests` are the first 16 bytes of the SHA-256
    of each key and token, for lists of leaked ones. `resolved` remembers the consumer for each set of mappings.
    `alternatives` are other consumers that the same credentials may stand for, of which a route takes the one it knows.
    """

    consumer: Consumer
    methods: frozenset[Method]
    names: tuple[str, ...] = ()
    digests: tuple[bytes, ...] = ()
    vouchers: frozenset[str] = frozenset()
    claims: dict[str, Claims] = {}
    token: dict[str, object] = {}
    resolved: dict[frozenset[str], Consumer] = {}
    alternatives: tuple["Identity", ...] = ()


NO_TOKEN: Final[dict[str, object]] = {"issuer": "", "subject": "", "acr": "", "authTime": 0, "claims": {}}
ANONYMOUS: Final = Consumer("", ConsumerEntry(Source("", "", 0), type=""), "", frozenset())
NOBODY: Final = Identity(ANONYMOUS, frozenset({Method.ANONYMOUS}), token=NO_TOKEN)
