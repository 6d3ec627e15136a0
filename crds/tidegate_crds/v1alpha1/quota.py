"""Quota: how much."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from tidegate_crds.rules import CelRule
from tidegate_crds.v1alpha1.aipolicy import Accuracy, FailureMode, TargetRef
from tidegate_crds.v1alpha1.authentication import PemBundle, Url
from tidegate_crds.v1alpha1.shapes import (
    ATOMIC,
    SET,
    Duration,
    Label,
    Placement,
    SecretKeyRef,
    Shape,
    Status,
    Subdomain,
    Timestamp,
    Word,
    list_map,
)


class QuotaScope(StrEnum):
    """Whose use shares one counter."""

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
    """What is counted."""

    REQUESTS = "Requests"
    TOKENS = "Tokens"
    INPUT_TOKENS = "InputTokens"
    OUTPUT_TOKENS = "OutputTokens"
    CACHED_TOKENS = "CachedTokens"
    COST = "Cost"
    COMPUTE_SECONDS = "ComputeSeconds"
    CONCURRENT = "Concurrent"
    EXPRESSION = "Expression"


class CalendarPeriod(StrEnum):
    """A window that begins where the calendar of its time zone says."""

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


class MidStream(StrEnum):
    """What becomes of a stream that the limit runs out on."""

    FINISH = "Finish"
    END = "End"


# A whole number, or of Cost (USD) and ComputeSeconds with up to six digits after the point.
Amount = Annotated[
    str, StringConstraints(min_length=1, max_length=25, pattern=r"^(0|[1-9][0-9]{0,17})(\.[0-9]{1,6})?$")
]
# USD per million tokens.
TokenPrice = Annotated[
    str, StringConstraints(min_length=1, max_length=16, pattern=r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$")
]
Percent = Annotated[int, Field(ge=0, le=100)]


class ConsumerSelector(Shape):
    """Which consumers the quota speaks of; what it leaves out matches all."""

    tiers: list[Word] = Field(
        default_factory=list, max_length=16, description="The consumer is of one of these tiers.", json_schema_extra=SET
    )
    teams: list[Word] = Field(
        default_factory=list, max_length=64, description="The consumer is of one of these teams.", json_schema_extra=SET
    )


class Window(Shape):
    """Over which time use is added up."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "has(self.calendar) != has(self.sliding)",
            "spec.limits[].window: give exactly one of calendar and sliding",
        ),
        CelRule("!has(self.timeZone) || has(self.calendar)", "spec.limits[].window.timeZone goes with calendar"),
    )

    calendar: CalendarPeriod | None = Field(
        default=None, description="Second, Minute, Hour, Day, Week (from Monday), Month or Year."
    )
    time_zone: (
        Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$")] | None
    ) = Field(
        default=None,
        description="IANA name of the calendar's time zone, such as Europe/Berlin; UTC when absent.",
    )
    sliding: Duration | None = Field(default=None, description="Length of a sliding window, 1s to 366d, such as 24h.")


class DefaultPrice(Shape):
    """What a token costs where no price is known."""

    input: TokenPrice = Field(description="USD per million input tokens.")
    output: TokenPrice = Field(description="USD per million output tokens.")


class Queue(Shape):
    """How long a request waits."""

    timeout: Duration = Field(default="10s", description="Longest wait, at most 5m; then 429.")


class Limit(Shape):
    """An amount for each counter and window."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "(self.unit == 'Concurrent') != has(self.window)",
            "spec.limits[].window: every unit needs one, except Concurrent, which takes none",
        ),
        CelRule(
            "(self.unit == 'Expression') == has(self.expression)",
            "spec.limits[].expression goes with unit: Expression, which requires it",
        ),
        CelRule(
            "self.unit in ['Cost', 'ComputeSeconds'] || !self.amount.contains('.')",
            "spec.limits[].amount: only Cost and ComputeSeconds take a fraction",
        ),
        CelRule(
            "!has(self.tierAmounts) || self.unit in ['Cost', 'ComputeSeconds'] || self.tierAmounts.all(tier, !self.tierAmounts[tier].contains('.'))",
            "spec.limits[].tierAmounts: only Cost and ComputeSeconds take a fraction",
        ),
        CelRule(
            "(has(self.onExceed) && self.onExceed == 'Charge') == has(self.overagePrice)",
            "spec.limits[].overagePrice goes with onExceed: Charge, which requires it",
        ),
        CelRule(
            "!has(self.queue) || (has(self.onExceed) && self.onExceed == 'Queue')",
            "spec.limits[].queue goes with onExceed: Queue",
        ),
        CelRule(
            "!has(self.defaultPrice) || self.unit == 'Cost'",
            "spec.limits[].defaultPrice goes with unit: Cost",
        ),
    )

    unit: Unit = Field(description="What is counted.")
    amount: Amount = Field(description="How much, as a string: a whole number, of Cost US dollars such as 10.50.")
    tier_amounts: dict[str, Amount] = Field(
        default_factory=dict,
        max_length=16,
        description="Amounts for consumers of these tiers instead, such as free: 1000.",
    )
    window: Window | None = Field(
        default=None, description="Over which time use is added up; none for Concurrent, which counts what runs."
    )
    expression: Annotated[str, StringConstraints(min_length=1, max_length=2048)] | None = Field(
        default=None,
        description="What a call counts: a CEL expression over usage that yields a number, such as usage.inputTokens + 4 * usage.outputTokens.",
    )
    on_exceed: OnExceed = Field(
        default=OnExceed.BLOCK,
        description="Block refuses with 429; Alert lets pass; Charge lets pass and books overagePrice; Fallback goes to the route's fallback targets; Queue waits.",
    )
    overage_price: TokenPrice | None = Field(
        default=None, description="USD for a million units beyond the amount, for onExceed: Charge."
    )
    queue: Queue | None = Field(default=None, description="How long a request waits, for onExceed: Queue.")
    alert_at: list[Annotated[int, Field(ge=1, le=1000)]] = Field(
        default_factory=list,
        max_length=8,
        description="Percents of the amount at which an alert is given, once each per window.",
        json_schema_extra=SET,
    )
    mid_stream: MidStream = Field(
        default=MidStream.FINISH,
        description="Finish lets a stream that the limit runs out on end by itself; End ends it with an error event.",
    )
    default_price: DefaultPrice | None = Field(
        default=None, description="Charged where no price is known; without it such calls are refused."
    )


class KeyScope(Shape):
    """One counter for each value of an expression."""

    expression: Annotated[str, StringConstraints(min_length=1, max_length=2048)] = Field(
        description="A CEL expression over request, consumer, token and route that yields a string."
    )
    max_values: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=1_000, description="So many values have counters of their own on a data plane; all others share one."
    )


class Grant(Shape):
    """More of a limit, once."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.unit in ['Cost', 'ComputeSeconds'] || !self.amount.contains('.')",
            "spec.grants[].amount: only Cost and ComputeSeconds take a fraction",
        ),
    )

    name: Label = Field(description="Name of the grant.")
    unit: Unit = Field(description="Which limits it adds to: those of this unit.")
    amount: Amount = Field(description="How much more, in that unit.")
    reason: Annotated[str, StringConstraints(min_length=1, max_length=512)] = Field(description="Why it is granted.")
    not_before: Timestamp | None = Field(default=None, description="From when on (RFC 3339); at once when absent.")
    not_after: Timestamp = Field(description="Until when (RFC 3339).")
    scope: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = Field(
        default=None,
        alias="for",
        description="For which counter, such as team-a/search (namespace/name) for per: Consumer, Team, Route or Backend; for each when absent.",
    )


class NotifyTls(Shape):
    """How the receiver's certificate is verified."""

    ca_bundle: PemBundle = Field(description="PEM certificates to trust instead of the system's.")


class Notify(Shape):
    """A webhook that alerts are sent to."""

    url: Url = Field(description="Where alerts are posted to.")
    secret_ref: SecretKeyRef | None = Field(default=None, description="The secret that signs them (HMAC-SHA-256).")
    tls: NotifyTls | None = Field(default=None, description="How the receiver's certificate is verified.")


class QuotaSpec(Shape):
    """The desired state of a Quota."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "(has(self.per) && self.per == 'Key') == has(self.key)",
            "spec.key goes with spec.per: Key, which requires it",
        ),
    )

    target_refs: list[TargetRef] = Field(
        min_length=1,
        max_length=32,
        description="What the quota is attached to: routes, the own namespace, or the gateway.",
        json_schema_extra=ATOMIC,
    )
    per: QuotaScope = Field(default=QuotaScope.CONSUMER, description="Whose use shares one counter.")
    key: KeyScope | None = Field(default=None, description="Whose use shares one counter, for per: Key.")
    consumers: ConsumerSelector | None = Field(default=None, description="Whom it speaks of; all, when absent.")
    accuracy: Accuracy = Field(
        default=Accuracy.LOCAL,
        description="Local counts in each data plane by itself; Exact and Leased in the shared store: Exact asks it for every call, Leased draws slices.",
    )
    failure_mode: FailureMode = Field(
        default=FailureMode.CLOSED,
        description="While the store cannot be reached: Closed refuses, Open lets pass and counts, Local lets each data plane use its part.",
    )
    parent: Subdomain | None = Field(
        default=None, description="A Quota of this namespace whose counters apply as well, wherever this one does."
    )
    share: dict[str, Percent] = Field(
        default_factory=dict,
        max_length=64,
        description="Percent of every amount that a cluster has, by its name; a cluster that is not named has none.",
    )
    safe_share: dict[str, Percent] = Field(
        default_factory=dict,
        max_length=64,
        description="Percent of its amount that a cluster may use while the store cannot be reached (failureMode: Local).",
    )
    grants: list[Grant] = Field(
        default_factory=list,
        max_length=64,
        description="One-off additions; what has ended may be left in.",
        json_schema_extra=list_map("name"),
    )
    notify: Notify | None = Field(default=None, description="Where alerts are sent, besides Events and metrics.")
    limits: list[Limit] = Field(
        min_length=1, max_length=16, description="How much; all limits hold.", json_schema_extra=ATOMIC
    )
    placement: Placement | None = Field(
        default=None, description="In which clusters the quota holds; all, when absent."
    )


class FullCounter(Shape):
    """One of the fullest counters of a quota."""

    limit: Annotated[str, StringConstraints(max_length=80)] = Field(
        description="Which limit, such as Tokens per Month."
    )
    scope: Annotated[str, StringConstraints(max_length=260)] = Field(
        default="",
        description="Whose counter it is, such as team-a/search for per: Consumer; empty when there is only one.",
    )
    used: Annotated[str, StringConstraints(max_length=40)] = Field(
        description="What is used, of Cost in US dollars; added up over the data planes where each counts by itself."
    )
    amount: Annotated[str, StringConstraints(max_length=40)] = Field(description="How much may be used.")
    percent: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] = Field(
        description="What is used, in percent of the amount, rounded down."
    )
    resets: Timestamp | None = Field(default=None, description="When its window ends.")


class QuotaStatus(Status):
    """What the operator found, and what the data planes of this cluster have counted."""

    used: Annotated[str, StringConstraints(max_length=40)] | None = Field(
        default=None,
        description="What is used of the fullest counter, of Cost in US dollars; with accuracy Local what the data planes have counted, added up. Renewed at most each 30 seconds.",
    )
    limit: Annotated[str, StringConstraints(max_length=40)] | None = Field(
        default=None, description="The amount of the fullest counter."
    )
    percent: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = Field(
        default=None, description="Used of limit in percent, rounded down."
    )
    resets: Timestamp | None = Field(default=None, description="When the window of the fullest counter ends.")
    fullest: Annotated[str, StringConstraints(max_length=360)] | None = Field(
        default=None, description="Which counter is the fullest: its limit and whose it is."
    )
    counters: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = Field(
        default=None, description="How many counters a data plane knows in which anything is used."
    )
    top: list[FullCounter] = Field(
        default_factory=list, max_length=5, description="The fullest counters.", json_schema_extra=ATOMIC
    )
    overrun_bound: Annotated[str, StringConstraints(max_length=1024)] | None = Field(
        default=None,
        description="By how much a counter can go beyond its amount in one window in this cluster, at worst, and when. See docs/reference/quotas-bounds.md.",
    )
    store: Annotated[str, StringConstraints(max_length=256)] | None = Field(
        default=None,
        description="NotUsed (accuracy Local), Connected, Unavailable with the reason and on how many data planes, Missing where data planes were started without --store, or Unknown.",
    )


class Quota(Shape):
    """How much may be used, of what, by whom, over which time: requests, tokens, money, computing time, calls at once."""

    spec: QuotaSpec = Field(description="The desired state.")
    status: QuotaStatus | None = Field(default=None, description="Written by the operator.")
