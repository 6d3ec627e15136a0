"""What the compiler says of every object: the part of its status that follows from the World alone."""

from dataclasses import dataclass
from enum import StrEnum

from tidegate_operator.world import ObjectKey


class Reason(StrEnum):
    """Reasons of the conditions Accepted and ResolvedRefs."""

    ACCEPTED = "Accepted"
    INVALID = "Invalid"
    CONFLICTED = "Conflicted"
    RESOLVED_REFS = "ResolvedRefs"
    BACKEND_NOT_FOUND = "BackendNotFound"
    MODEL_NOT_OFFERED = "ModelNotOffered"
    REF_NOT_PERMITTED = "RefNotPermitted"
    TARGET_NOT_FOUND = "TargetNotFound"
    KEY_NOT_ISSUED = "KeyNotIssued"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, not a password
    LIST_NOT_FOUND = "ListNotFound"
    LIST_PARTLY_UNREADABLE = "ListPartlyUnreadable"
    LIST_UNREADABLE = "ListUnreadable"
    LIST_TOO_LARGE = "ListTooLarge"
    TOO_LARGE = "TooLarge"
    CONSUMER_UNKNOWN = "ConsumerUnknown"
    PLAN_UNKNOWN = "PlanUnknown"
    SUBSCRIPTION_NOT_FOUND = "SubscriptionNotFound"
    MISMATCH = "Mismatch"
    PARENT_NOT_FOUND = "ParentNotFound"
    PARENT_CYCLE = "ParentCycle"
    NO_SHARE = "NoShare"
    NO_FALLBACK = "NoFallback"
    GRANT_UNUSED = "GrantUnused"
    WITHOUT_EFFECT = "WithoutEffect"
    NO_PRICE = "NoPrice"


class ApprovalReason(StrEnum):
    """Reasons of the condition Approved. EXPIRED follows from the time and is never a compiler's word."""

    APPROVED = "Approved"
    PENDING = "Pending"
    EXPIRED = "Expired"
    REVOKED = "Revoked"
    PLAN_UNKNOWN = "PlanUnknown"
    CONSUMER_UNKNOWN = "ConsumerUnknown"
    ROUTE_UNKNOWN = "RouteUnknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with one object. `field` is a path such as `spec.targets[0].backendRef`."""

    reason: Reason
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Approval:
    """Whether a subscription is approved, as long as `not_after` (seconds since the epoch) has not come.

    `ends_by` names what sets `not_after`, such as `spec.notAfter`.
    """

    reason: ApprovalReason
    message: str
    not_after: int | None = None
    ends_by: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome for one object.

    `generation` was judged; `served_generation` is in force (None: nothing is served). `errors` make Accepted False,
    `unresolved` make ResolvedRefs False; both are sorted. `notes` make nothing False: what is valid and yet perhaps not
    what was meant. `placed` is False where the cluster is not selected.
    `approval` is set for subscriptions that take effect.
    """

    key: ObjectKey
    generation: int
    served_generation: int | None
    placed: bool = True
    errors: tuple[Finding, ...] = ()
    unresolved: tuple[Finding, ...] = ()
    approval: Approval | None = None
    notes: tuple[Finding, ...] = ()

    @property
    def accepted(self) -> bool:
        return not self.errors

    @property
    def resolved(self) -> bool:
        return not self.unresolved
