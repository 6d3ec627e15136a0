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
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, not a password


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with one object. `field` is a path such as `spec.targets[0].backendRef`."""

    reason: Reason
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome for one object.

    `generation` was judged; `served_generation` is in force (None: nothing is served). `errors` make Accepted False,
    `unresolved` make ResolvedRefs False; both are sorted. `placed` is False where the cluster is not selected.
    """

    key: ObjectKey
    generation: int
    served_generation: int | None
    placed: bool = True
    errors: tuple[Finding, ...] = ()
    unresolved: tuple[Finding, ...] = ()

    @property
    def accepted(self) -> bool:
        return not self.errors

    @property
    def resolved(self) -> bool:
        return not self.unresolved
