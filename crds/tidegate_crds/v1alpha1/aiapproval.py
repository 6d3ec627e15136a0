"""AIApproval: the owner of a route lets somebody in."""

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from tidegate_crds.rules import CelRule
from tidegate_crds.v1alpha1.shapes import Label, Placement, Shape, Status, Subdomain, Timestamp

# RFC 4648 section 6, in either case.
REQUEST_ID_PATTERN = r"^apr-[A-Za-z2-7]+$"


class ApprovedSubscription(Shape):
    """The subscription that is approved, and what it asked for when it was read."""

    namespace: Label = Field(description="Namespace of the AISubscription.")
    name: Subdomain = Field(description="Name of the AISubscription.")
    consumer: Subdomain = Field(description="The consumer that gets access, as in its spec.consumerRef.name.")
    route: Subdomain = Field(description="The route, in the approval's own namespace.")
    plan: Label = Field(description="The plan that is granted.")


class ApprovedRequest(Shape):
    """One call that was held back (403 approval_required) and may pass once."""

    id: Annotated[str, StringConstraints(min_length=12, max_length=128, pattern=REQUEST_ID_PATTERN)] = Field(
        description="The id in the answer to the call, such as apr-mfrggzdfmztwq2lk."
    )
    route: Subdomain = Field(description="The route, in the approval's own namespace.")


class AIApprovalSpec(Shape):
    """The desired state of an AIApproval."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule("has(self.subscription) != has(self.request)", "spec: give exactly one of subscription and request"),
        CelRule(
            "!has(self.request) || has(self.notAfter)",
            "spec.notAfter: is required with request, at most 7 days after the approval is created",
            ".notAfter",
        ),
    )

    subscription: ApprovedSubscription | None = Field(
        default=None, description="A subscription, with exactly what is granted: edited afterwards, it waits again."
    )
    request: ApprovedRequest | None = Field(default=None, description="One call that was held back.")
    not_after: Timestamp | None = Field(
        default=None,
        description="The approval ends at this time (RFC 3339). With request: at most 7 days after its creation.",
    )
    revoked: bool = Field(
        default=False, description="A revoked approval grants nothing; it stays for the records. Always honoured."
    )
    placement: Placement | None = Field(
        default=None, description="In which clusters the approval holds; all, when absent."
    )


class AIApproval(Shape):
    """The consent of a route's owner. Who may create it in the route's namespace, by RBAC, may approve."""

    spec: AIApprovalSpec = Field(description="The desired state.")
    status: Status | None = Field(default=None, description="Written by the operator.")
