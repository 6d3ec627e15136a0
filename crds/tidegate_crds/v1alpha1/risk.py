"""The risk section of an AIPolicy: what makes a call risky, and what then happens."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from tidegate_crds.rules import CelRule
from tidegate_crds.v1alpha1.lists import ListRef
from tidegate_crds.v1alpha1.shapes import ATOMIC, SET, Duration, Label, Shape, list_map

Score = Annotated[int, Field(ge=1, le=1000)]


class SignalType(StrEnum):
    """What a signal looks at."""

    NEW_ADDRESS = "NewAddress"
    NEW_COUNTRY = "NewCountry"
    UNUSUAL_HOUR = "UnusualHour"
    UNUSUAL_MODEL = "UnusualModel"
    BURST = "Burst"
    FAILED_AUTHENTICATIONS = "FailedAuthentications"
    LISTED_ADDRESS = "ListedAddress"
    EXPRESSION = "Expression"


class Signal(Shape):
    """Adds its weight to the score of a call while it holds."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.type == 'NewCountry' ? has(self.header) : !has(self.header)",
            "spec.risk.signals[]: header goes with type: NewCountry, which requires it, for example x-client-country",
        ),
        CelRule(
            "(self.type == 'Burst' || self.type == 'FailedAuthentications') == (has(self.count) && has(self.period))",
            "spec.risk.signals[]: count and period go with types Burst and FailedAuthentications, which require both",
        ),
        CelRule(
            "self.type == 'ListedAddress' ? has(self.lists) : !has(self.lists)",
            "spec.risk.signals[]: lists goes with type: ListedAddress, which requires it",
        ),
        CelRule(
            "self.type == 'Expression' ? has(self.when) : !has(self.when)",
            "spec.risk.signals[]: when goes with type: Expression, which requires it",
        ),
        CelRule(
            "!has(self.timeZone) || self.type == 'UnusualHour'", "spec.risk.signals[]: timeZone needs type: UnusualHour"
        ),
    )

    name: Label = Field(description="Name of the signal, shown in decisions.")
    type: SignalType = Field(description="What it looks at.")
    weight: Score = Field(description="What it adds to the score.")
    header: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z0-9-]+$")] | None = Field(
        default=None, description="NewCountry: the header in which a trusted proxy says the caller's country."
    )
    time_zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = Field(
        default=None, description="UnusualHour: an IANA time zone; UTC when absent."
    )
    count: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Burst, FailedAuthentications: holds from so many on."
    )
    period: Duration | None = Field(default=None, description="Burst, FailedAuthentications: within this time.")
    after: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=20,
        description="NewAddress, NewCountry, UnusualHour, UnusualModel: hold only once so many calls of the consumer were seen.",
    )
    lists: list[ListRef] | None = Field(
        default=None, min_length=1, max_length=8, description="ListedAddress: the lists.", json_schema_extra=ATOMIC
    )
    when: Annotated[str, StringConstraints(min_length=1, max_length=2048)] | None = Field(
        default=None, description="Expression: CEL as in rules, for example on the declared sensitivity of the data."
    )


class Thresholds(Shape):
    """From which score on something happens; what is absent never does."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "has(self.stepUp) || has(self.approval) || has(self.deny)",
            "spec.risk.thresholds: give at least one of stepUp, approval and deny",
        ),
    )

    step_up: Score | None = Field(default=None, description="A stronger or fresher authentication is needed.")
    approval: Score | None = Field(default=None, description="Somebody must approve the call.")
    deny: Score | None = Field(default=None, description="The call is refused.")


class StepUp(Shape):
    """What a token must say to satisfy a step-up (RFC 9470)."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "has(self.acrValues) || has(self.maxAge)", "spec.risk.stepUp: give at least one of acrValues and maxAge"
        ),
    )

    acr_values: (
        list[Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[!#-\[\]-~]+$")]] | None
    ) = Field(
        default=None,
        min_length=1,
        max_length=8,
        description="The token's acr is one of these.",
        json_schema_extra=SET,
    )
    max_age: Duration | None = Field(default=None, description="The token's auth_time is not longer ago.")


class Risk(Shape):
    """Scores each call; the policies score by themselves, and the most severe outcome counts."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "has(self.thresholds.stepUp) == has(self.stepUp)",
            "spec.risk: thresholds.stepUp and stepUp, which says what satisfies it, go together",
        ),
    )

    signals: list[Signal] = Field(
        min_length=1, max_length=16, description="What makes a call risky.", json_schema_extra=list_map("name")
    )
    thresholds: Thresholds = Field(description="From which score on something happens.")
    step_up: StepUp | None = Field(default=None, description="What satisfies a step-up.")
