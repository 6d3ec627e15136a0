"""AIPolicy: what must hold."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from tidegate_crds.rules import CelRule
from tidegate_crds.v1alpha1.airoute import Operation
from tidegate_crds.v1alpha1.authentication import Authentication
from tidegate_crds.v1alpha1.network import Network
from tidegate_crds.v1alpha1.risk import Risk
from tidegate_crds.v1alpha1.shapes import (
    ATOMIC,
    SET,
    Duration,
    Label,
    ModelPattern,
    Placement,
    Shape,
    Status,
    Subdomain,
    Word,
    list_map,
)


class TargetKind(StrEnum):
    """What a policy or quota is attached to."""

    AI_ROUTE = "AIRoute"
    NAMESPACE = "Namespace"
    GATEWAY = "Gateway"


class TargetRef(Shape):
    """A route of the same namespace, the own namespace, or (from the platform namespace only) the whole gateway."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.kind == 'AIRoute' ? has(self.name) : !has(self.name)",
            "spec.targetRefs[]: kind AIRoute needs a name; Namespace (the own one) and Gateway take none",
        ),
    )

    kind: TargetKind = Field(description="AIRoute, Namespace or Gateway.")
    name: Subdomain | None = Field(default=None, description="Name of the AIRoute.")


class Strength(StrEnum):
    """Whether a narrower policy may replace a section."""

    REQUIRED = "Required"
    DEFAULT = "Default"


class Mode(StrEnum):
    """Whether the policy is obeyed."""

    ENFORCE = "Enforce"
    SHADOW = "Shadow"


class Effect(StrEnum):
    """What a matching rule does."""

    ALLOW = "Allow"
    DENY = "Deny"


class RuleOperation(StrEnum):
    """What a rule may tell apart: the operations of routes, and asking which models there are."""

    CHAT = Operation.CHAT.value
    COMPLETION = Operation.COMPLETION.value
    RESPONSES = Operation.RESPONSES.value
    EMBEDDINGS = Operation.EMBEDDINGS.value
    IMAGE = Operation.IMAGE.value
    MODERATION = Operation.MODERATION.value
    FINE_TUNE = Operation.FINE_TUNE.value
    MODELS = "Models"


class RateLimitScope(StrEnum):
    """Whose requests share one bucket."""

    CONSUMER = "Consumer"
    TEAM = "Team"
    NAMESPACE = "Namespace"
    ROUTE = "Route"
    MODEL = "Model"
    ADDRESS = "Address"
    GLOBAL = "Global"


class Accuracy(StrEnum):
    """Where is counted."""

    LOCAL = "Local"
    EXACT = "Exact"
    LEASED = "Leased"


class FailureMode(StrEnum):
    """What happens while the shared store cannot be reached."""

    CLOSED = "Closed"
    OPEN = "Open"
    LOCAL = "Local"


class AuthorizationRule(Shape):
    """Matches when everything it names matches; what it leaves out matches always."""

    name: Label = Field(description="Name of the rule, shown in decisions.")
    effect: Effect = Field(description="Allow or Deny.")
    roles: list[Word] = Field(
        default_factory=list,
        max_length=32,
        description="The consumer has one of these roles.",
        json_schema_extra=SET,
    )
    models: list[ModelPattern] = Field(
        default_factory=list,
        max_length=64,
        description="The caller asks for one of these models.",
        json_schema_extra=SET,
    )
    operations: list[RuleOperation] = Field(
        default_factory=list,
        max_length=8,
        description="The caller asks for one of these operations; Models is asking which models there are.",
        json_schema_extra=SET,
    )
    versions: list[ModelPattern] = Field(
        default_factory=list,
        max_length=64,
        description="The version that the backend declares for its model is one of these. Decides target by target.",
        json_schema_extra=SET,
    )
    when: Annotated[str, StringConstraints(min_length=1, max_length=2048)] | None = Field(
        default=None,
        description="A CEL expression over request, consumer, token, route, backend and now that yields a boolean; an error denies.",
    )


class Authorization(Shape):
    """Who may do what: any Deny denies; where a policy has Allow rules, one of them must match."""

    rules: list[AuthorizationRule] = Field(
        min_length=1,
        max_length=64,
        description="The rules; their order has no meaning.",
        json_schema_extra=list_map("name"),
    )


class RateLimit(Shape):
    """A token bucket of `burst` requests that refills `requests` per `period`."""

    name: Label = Field(description="Name of the limit, shown to callers.")
    per: RateLimitScope = Field(default=RateLimitScope.CONSUMER, description="Whose requests share one bucket.")
    requests: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(description="Requests per period.")
    period: Duration = Field(default="1m", description="The period, such as 1s, 1m or 1h.")
    burst: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = Field(
        default=None, description="Size of the bucket; equal to requests when absent."
    )
    accuracy: Accuracy = Field(
        default=Accuracy.LOCAL,
        description="Local counts in each data plane by itself; Exact and Leased in the shared store: Exact asks it for every call, Leased draws slices.",
    )
    failure_mode: FailureMode = Field(
        default=FailureMode.CLOSED,
        description="While the store cannot be reached: Closed refuses, Open lets pass, Local lets each data plane use its part.",
    )


class AIPolicySpec(Shape):
    """The desired state of an AIPolicy."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "has(self.authentication) || has(self.authorization) || has(self.rateLimits) || has(self.network)"
            " || has(self.risk)",
            "spec: a policy needs at least one of authentication, authorization, rateLimits, network and risk",
        ),
    )

    target_refs: list[TargetRef] = Field(
        min_length=1,
        max_length=32,
        description="What the policy is attached to: routes, the own namespace, or the gateway.",
        json_schema_extra=ATOMIC,
    )
    strength: Strength = Field(
        default=Strength.REQUIRED,
        description="Required always holds; with Default, a section yields to the same section of a narrower policy.",
    )
    mode: Mode = Field(
        default=Mode.ENFORCE, description="Enforce, or Shadow: evaluated, counted and logged, never obeyed."
    )
    authentication: Authentication | None = Field(
        default=None,
        description="How callers may prove who they are; the methods of all attached policies intersect.",
    )
    authorization: Authorization | None = Field(
        default=None,
        description="Who may do what: any Deny denies; where a policy has Allow rules, one of them must match.",
    )
    rate_limits: list[RateLimit] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="How fast callers may call: token buckets, all of which hold.",
        json_schema_extra=list_map("name"),
    )
    network: Network | None = Field(default=None, description="From where callers may come.")
    risk: Risk | None = Field(default=None, description="What makes a call risky, and what then happens.")
    placement: Placement | None = Field(
        default=None, description="In which clusters the policy holds; all, when absent."
    )


class AIPolicy(Shape):
    """What must hold for the calls of a route, a namespace or the gateway. Policies only tighten."""

    spec: AIPolicySpec = Field(description="The desired state.")
    status: Status | None = Field(default=None, description="Written by the operator.")
