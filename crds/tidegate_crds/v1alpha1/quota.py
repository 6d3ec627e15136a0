"""Quota: how much."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from tidegate_crds.rules import CelRule
from tidegate_crds.v1alpha1.aipolicy import TargetRef
from tidegate_crds.v1alpha1.shapes import ATOMIC, SET, Duration, Placement, Shape, Status, Word


class QuotaScope(StrEnum):
    """Whose use shares one counter."""

    CONSUMER = "Consumer"
    TEAM = "Team"
    NAMESPACE = "Namespace"
    ROUTE = "Route"
    GATEWAY = "Gateway"


class Unit(StrEnum):
    """What is counted."""

    REQUESTS = "Requests"
    TOKENS = "Tokens"
    INPUT_TOKENS = "InputTokens"
    OUTPUT_TOKENS = "OutputTokens"


class CalendarPeriod(StrEnum):
    """A window that begins where the calendar of its time zone says."""

    HOUR = "Hour"
    DAY = "Day"
    WEEK = "Week"
    MONTH = "Month"
    YEAR = "Year"


class OnExceed(StrEnum):
    """What happens to a request that would go over."""

    BLOCK = "Block"
    ALERT = "Alert"


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

    calendar: CalendarPeriod | None = Field(default=None, description="Hour, Day, Week (from Monday), Month or Year.")
    time_zone: (
        Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$")] | None
    ) = Field(
        default=None,
        description="IANA name of the calendar's time zone, such as Europe/Berlin; UTC when absent.",
    )
    sliding: Duration | None = Field(default=None, description="Length of a sliding window, 1s to 366d, such as 24h.")


class Limit(Shape):
    """An amount for each counter and window."""

    unit: Unit = Field(description="What is counted.")
    amount: Annotated[str, StringConstraints(min_length=1, max_length=18, pattern=r"^(0|[1-9][0-9]{0,17})$")] = Field(
        description="How much, a whole number as a string."
    )
    window: Window = Field(description="Over which time use is added up.")
    on_exceed: OnExceed = Field(
        default=OnExceed.BLOCK, description="Block refuses with 429; Alert lets pass, counts and logs."
    )


class QuotaSpec(Shape):
    """The desired state of a Quota."""

    target_refs: list[TargetRef] = Field(
        min_length=1,
        max_length=32,
        description="What the quota is attached to: routes, the own namespace, or the gateway.",
        json_schema_extra=ATOMIC,
    )
    per: QuotaScope = Field(default=QuotaScope.CONSUMER, description="Whose use shares one counter.")
    consumers: ConsumerSelector | None = Field(default=None, description="Whom it speaks of; all, when absent.")
    limits: list[Limit] = Field(
        min_length=1, max_length=16, description="How much; all limits hold.", json_schema_extra=ATOMIC
    )
    placement: Placement | None = Field(
        default=None, description="In which clusters the quota holds; all, when absent."
    )


class Quota(Shape):
    """How much may be used: requests and tokens for each consumer, team, namespace, route or the gateway."""

    spec: QuotaSpec = Field(description="The desired state.")
    status: Status | None = Field(default=None, description="Written by the operator.")
