"""AIRoute: what callers see."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from tidegate_crds.rules import CelRule
from tidegate_crds.v1alpha1.shapes import (
    ATOMIC,
    SET,
    Duration,
    Label,
    ModelName,
    ModelPattern,
    NamespaceGrant,
    Placement,
    Shape,
    Status,
    Subdomain,
    list_map,
)

Hostname = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=253,
        pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
]
PathPrefix = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256, pattern=r"^/([A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*)?$"),
]
HeaderName = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[a-z0-9!#$%&'*+.^_`|~-]+$")]


class Operation(StrEnum):
    """What the caller asks a model to do; each has one path of the OpenAI API."""

    CHAT = "Chat"
    COMPLETION = "Completion"
    RESPONSES = "Responses"
    EMBEDDINGS = "Embeddings"
    IMAGE = "Image"
    MODERATION = "Moderation"
    FINE_TUNE = "FineTune"


class RetryOn(StrEnum):
    """A failure before the first byte of the answer that another target may make good."""

    CONNECT = "Connect"
    TOO_MANY_REQUESTS = "429"
    SERVER_ERROR = "5xx"


class HeaderMatch(Shape):
    """A request header that must be present with exactly this value."""

    name: HeaderName = Field(description="Header name, lower case.")
    value: Annotated[str, StringConstraints(max_length=1024, pattern=r"^[ -~]*$")] = Field(
        description="The exact value."
    )


class RouteMatch(Shape):
    """What a request must carry besides hostname, path, operation and model; more headers are more specific."""

    headers: list[HeaderMatch] = Field(
        default_factory=list,
        max_length=8,
        description="All of these must match.",
        json_schema_extra=list_map("name"),
    )


class BackendRef(Shape):
    """An AIBackend, of another namespace only if that backend allows it."""

    name: Subdomain = Field(description="Name of the AIBackend.")
    namespace: Label | None = Field(default=None, description="Its namespace; the route's own when absent.")


class Target(Shape):
    """One place where the request may go."""

    backend_ref: BackendRef = Field(
        description="The AIBackend that answers; of another namespace only if that backend allows it."
    )
    model: ModelName | None = Field(
        default=None, description="The model to ask the backend for; the name the caller used when absent."
    )
    weight: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=1, description="Share among the targets of the same priority; 0 takes no traffic."
    )
    priority: Annotated[int, Field(ge=0, le=15)] = Field(
        default=0, description="Failover tier: 1 is tried when the targets of 0 have failed, and so on."
    )
    fallback: bool = Field(
        default=False, description="Taken only when a Quota's limit with onExceed: Fallback is used up."
    )


class Retry(Shape):
    """When and how often another attempt is made; never after the first byte of an answer."""

    attempts: Annotated[int, Field(ge=0, le=8)] = Field(default=2, description="Further attempts after the first.")
    conditions: list[RetryOn] = Field(
        default_factory=lambda: [RetryOn.CONNECT, RetryOn.TOO_MANY_REQUESTS, RetryOn.SERVER_ERROR],
        max_length=3,
        description="Failures that are worth another attempt.",
        json_schema_extra=SET,
    )


class PlanRateLimit(Shape):
    """A token bucket for each consumer: `burst` requests, refilled with `requests` per `period`."""

    requests: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(description="Requests per period.")
    period: Duration = Field(default="1m", description="The period, such as 1s, 1m or 1h.")
    burst: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = Field(
        default=None, description="Size of the bucket; equal to requests when absent."
    )


class Plan(Shape):
    """What a subscriber may get."""

    name: Label = Field(description="Name of the plan, such as basic; expressions see it as consumer.plan.")
    rate_limit: PlanRateLimit | None = Field(
        default=None, description="How fast each of its consumers may call, besides what policies say."
    )


class RouteSubscription(Shape):
    """Only consumers with an approved subscription may call."""

    plans: list[Plan] = Field(
        min_length=1,
        max_length=16,
        description="What may be subscribed to.",
        json_schema_extra=list_map("name"),
    )


class AIRouteSpec(Shape):
    """The desired state of an AIRoute."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.targets.exists(t, (!has(t.weight) || t.weight > 0) && !(has(t.fallback) && t.fallback))",
            "spec.targets: at least one target that is no fallback needs a weight above 0",
            ".targets",
        ),
    )

    hostnames: list[Hostname] = Field(
        default_factory=list,
        max_length=16,
        description="Host names answered for; *.example.com for one or more labels. Empty: every name.",
        json_schema_extra=SET,
    )
    path_prefix: PathPrefix = Field(
        default="/v1", description="Path before the operation's own, such as /v1 or /team-a/v1."
    )
    models: list[ModelPattern] = Field(
        min_length=1,
        max_length=64,
        description="The names that callers ask for; a name may end in *.",
        json_schema_extra=SET,
    )
    operations: list[Operation] = Field(
        default_factory=lambda: [Operation.CHAT],
        min_length=1,
        max_length=7,
        description="What callers may ask for.",
        json_schema_extra=SET,
    )
    match: RouteMatch | None = Field(default=None, description="Further conditions; the more specific route wins.")
    targets: list[Target] = Field(
        min_length=1,
        max_length=16,
        description="Where requests go: by weight among the targets of the first priority, then the next.",
        json_schema_extra=ATOMIC,
    )
    timeout: Duration = Field(default="60s", description="Longest wait for the head of the answer, over all attempts.")
    stream_idle_timeout: Duration = Field(default="60s", description="Longest silence within an answer.")
    retry: Retry = Field(
        default_factory=Retry,
        description="What is tried again, and how often; never after the first byte of an answer.",
    )
    allowed_namespaces: list[NamespaceGrant] = Field(
        default_factory=list,
        max_length=64,
        description="Other namespaces whose consumers may call this route, if its policies let them; * for all.",
        json_schema_extra=SET,
    )
    subscription: RouteSubscription | None = Field(
        default=None,
        description="Callers need an approved AISubscription to one of these plans, besides all else; none when absent.",
    )
    placement: Placement | None = Field(
        default=None, description="In which clusters the route exists; all, when absent."
    )


class AIRoute(Shape):
    """What callers see: model names and operations, and the backends that answer them."""

    spec: AIRouteSpec = Field(description="The desired state.")
    status: Status | None = Field(default=None, description="Written by the operator.")
