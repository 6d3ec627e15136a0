"""AISubscription: a consumer asks for access to a route."""

from typing import Annotated

from pydantic import Field, StringConstraints

from tidegate_crds.v1alpha1.shapes import Label, Placement, Shape, Status, Subdomain, Timestamp

# Text for people: no control characters but line breaks, for it is shown on terminals.
REASON_PATTERN = r"^[^\x00-\x09\x0b-\x1f\x7f-\x9f]*$"


class ConsumerRef(Shape):
    """An AIConsumer of the subscription's own namespace."""

    name: Subdomain = Field(description="Name of the AIConsumer.")


class RouteRef(Shape):
    """An AIRoute, of another namespace only if that route admits this one."""

    name: Subdomain = Field(description="Name of the AIRoute.")
    namespace: Label | None = Field(default=None, description="Its namespace; the subscription's own when absent.")


class AISubscriptionSpec(Shape):
    """The desired state of an AISubscription."""

    consumer_ref: ConsumerRef = Field(description="Who wants access.")
    route_ref: RouteRef = Field(description="To which route.")
    plan: Label = Field(description="Under which of the route's plans.")
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=REASON_PATTERN)] = Field(
        description="Why, for those who approve."
    )
    not_after: Timestamp | None = Field(
        default=None, description="No access from this time on (RFC 3339), whatever an approval says."
    )
    placement: Placement | None = Field(
        default=None, description="In which clusters access is wanted; all, when absent."
    )


class SubscriptionStatus(Status):
    """What became of the request."""

    expires: Timestamp | None = Field(
        default=None, description="When access ends: the earlier notAfter of the subscription and its approval."
    )


class AISubscription(Shape):
    """A request for access to a route. Access begins when an AIApproval in the route's namespace repeats it."""

    spec: AISubscriptionSpec = Field(description="The desired state.")
    status: SubscriptionStatus | None = Field(default=None, description="Written by the operator.")
