"""An object's status, computed from the compiler's verdict and what the data planes report. No I/O, no clock.

The shape is Kubernetes' metav1.Condition; `Ready` is the summary that kstatus and Argo CD read. `Stalled` is there only
while it is true: for kstatus `Ready=False` alone means that one had better wait.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from tidegate_operator.compile.timestamps import format_timestamp
from tidegate_operator.keys.states import KeyStatus, last_used
from tidegate_operator.quotas.figures import QuotaFigures
from tidegate_operator.quotas.status import figures_body, parse_figures
from tidegate_operator.verdicts import Approval, ApprovalReason, Finding, Reason, Verdict

MAX_MESSAGE = 32_768
_FIRST_REVISION = re.compile(r"^revision (\d+) on ")


class ConditionType(StrEnum):
    """The conditions of every kind, in the order in which they are written; APPROVED of subscriptions alone."""

    ACCEPTED = "Accepted"
    RESOLVED_REFS = "ResolvedRefs"
    APPROVED = "Approved"
    PROGRAMMED = "Programmed"
    READY = "Ready"
    STALLED = "Stalled"


class ConditionStatus(StrEnum):
    """As metav1.ConditionStatus."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ProgrammedReason(StrEnum):
    """Reasons of the condition Programmed."""

    PROGRAMMED = "Programmed"
    PENDING = "Pending"
    DATA_PLANE_REFUSED = "DataPlaneRefused"
    NO_DATA_PLANE = "NoDataPlane"
    NOT_ACCEPTED = "NotAccepted"
    NOT_PLACED = "NotPlaced"
    NOT_SERVED = "NotServed"
    PINNED_TO_REVISION = "PinnedToRevision"
    FROZEN = "Frozen"
    CANARY = "Canary"
    ROLLOUT_STOPPED = "RolloutStopped"


# Of these, somebody must do something about: they do not pass by waiting.
_ACTED_UPON = (
    ProgrammedReason.DATA_PLANE_REFUSED,
    ProgrammedReason.PINNED_TO_REVISION,
    ProgrammedReason.ROLLOUT_STOPPED,
)
_APPROVED_STATUS = {
    ApprovalReason.APPROVED: ConditionStatus.TRUE,
    ApprovalReason.ROUTE_UNKNOWN: ConditionStatus.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition. `transition` is lastTransitionTime (RFC 3339, UTC, whole seconds)."""

    type: str
    status: str
    generation: int
    reason: str
    message: str
    transition: str


@dataclass(frozen=True, slots=True)
class ObjectStatus:
    """The status subresource of one object; `served_generation` None means that nothing of it is served.

    `expires` (RFC 3339, "" for never) is of subscriptions alone, `keys` of consumers, `quota` of quotas.
    """

    observed_generation: int | None = None
    served_generation: int | None = None
    conditions: tuple[Condition, ...] = ()
    expires: str = ""
    keys: tuple[KeyStatus, ...] = ()
    quota: QuotaFigures | None = None

    def condition(self, kind: str) -> Condition | None:
        return next((condition for condition in self.conditions if condition.type == kind), None)


NO_STATUS = ObjectStatus()


@dataclass(frozen=True, slots=True)
class PlaneReport:
    """What one data plane says it runs. `refusal` is what it has against a newer snapshot, in its own words.

    `instance` is the name by which it may be chosen to try a revision first; "" when it cannot be.
    """

    name: str
    ready: bool
    revision: int = 0
    refusal: str = ""
    instance: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """Why what an object declares is not published, though nothing is wrong with it."""

    reason: ProgrammedReason
    message: str


@dataclass(frozen=True, slots=True)
class _Outcome:
    type: ConditionType
    status: ConditionStatus
    reason: str
    message: str


def judge(
    verdict: Verdict,
    *,
    first_revision: int | None,
    planes: Iterable[PlaneReport],
    previous: ObjectStatus,
    now: datetime,
    held: Held | None = None,
) -> ObjectStatus:
    """The status that the object should have.

    `first_revision` is the first published revision with the served generation (None: not published yet); `held` says
    why the newest is not published. What of
    `previous` still holds is kept to the letter: a message that names a revision is not renewed at later revisions,
    and a transition time moves only when a status flips.
    """
    accepted = _accepted(verdict)
    resolved = _resolved(verdict)
    programmed = _programmed(verdict, first_revision, tuple(planes), held)
    ready = _ready(verdict, (accepted, resolved, programmed))
    outcomes = [accepted, resolved, programmed, ready]
    approval = verdict.approval
    if approval is not None:
        approved = _approved(approval, now)
        # That nobody has approved yet, or any more, is no fault of what was declared: it must not hold up a sync.
        if ready.status == ConditionStatus.TRUE:
            ready = replace(approved, type=ConditionType.READY, status=ConditionStatus.TRUE)
        outcomes = [accepted, resolved, approved, programmed, ready]
    outcomes += _stalled(accepted, programmed)
    return ObjectStatus(
        observed_generation=verdict.generation,
        served_generation=verdict.served_generation if verdict.placed else None,
        conditions=tuple(_condition(outcome, verdict.generation, previous, now) for outcome in outcomes),
        expires=format_timestamp(approval.not_after) if approval and approval.not_after is not None else "",
    )


def next_due(verdicts: Iterable[Verdict], now: datetime) -> int | None:
    """When the next status changes by the passing of time alone, in seconds since the epoch; None for never."""
    ends = (verdict.approval.not_after for verdict in verdicts if verdict.approval is not None)
    return min((end for end in ends if end is not None and end > now.timestamp()), default=None)


def expired(verdict: Verdict, after: float, until: float) -> bool:
    """Whether a subscription came to its end in that time (seconds since the epoch)."""
    end = verdict.approval.not_after if verdict.approval is not None else None
    return end is not None and after < end <= until


def programmed_since(status: ObjectStatus, generation: int) -> int | None:
    """The revision in which `generation` was first programmed, as a status of an earlier operator tells it."""
    condition = status.condition(ConditionType.PROGRAMMED)
    if condition is None or condition.status != ConditionStatus.TRUE or condition.generation != generation:
        return None
    match = _FIRST_REVISION.match(condition.message)
    return int(match[1]) if match else None


def _accepted(verdict: Verdict) -> _Outcome:
    if verdict.accepted:
        message = "The object is valid."
        if verdict.notes:
            message += f" Note: {_sentence(verdict.notes)}"
        return _Outcome(ConditionType.ACCEPTED, ConditionStatus.TRUE, Reason.ACCEPTED, message)
    message = _sentence(verdict.errors)
    if verdict.served_generation is not None and verdict.served_generation != verdict.generation:
        message += f"; generation {verdict.served_generation} stays in force"
    return _Outcome(ConditionType.ACCEPTED, ConditionStatus.FALSE, verdict.errors[0].reason, message)


def _resolved(verdict: Verdict) -> _Outcome:
    if verdict.resolved:
        return _Outcome(
            ConditionType.RESOLVED_REFS, ConditionStatus.TRUE, Reason.RESOLVED_REFS, "All references are resolved."
        )
    reason = verdict.unresolved[0].reason
    return _Outcome(ConditionType.RESOLVED_REFS, ConditionStatus.FALSE, reason, _sentence(verdict.unresolved))


def approval_reason(approval: Approval, now: float) -> ApprovalReason:
    """What an approval comes to at `now` (seconds since the epoch)."""
    return ApprovalReason.EXPIRED if approval.not_after is not None and now >= approval.not_after else approval.reason


def _approved(approval: Approval, now: datetime) -> _Outcome:
    end = approval.not_after
    if end is not None and approval_reason(approval, now.timestamp()) is ApprovalReason.EXPIRED:
        when = format_timestamp(end)
        message = f"Ended at {when} (by {approval.ends_by}): set a later notAfter there, if access is still needed."
        return _Outcome(ConditionType.APPROVED, ConditionStatus.FALSE, ApprovalReason.EXPIRED, message)
    status = _APPROVED_STATUS.get(approval.reason, ConditionStatus.FALSE)
    return _Outcome(ConditionType.APPROVED, status, approval.reason, approval.message)


def _programmed(
    verdict: Verdict, first_revision: int | None, planes: tuple[PlaneReport, ...], held: Held | None
) -> _Outcome:
    served = verdict.served_generation
    if held is not None:
        return _not_programmed(held.reason, held.message)
    if not verdict.placed:
        return _not_programmed(ProgrammedReason.NOT_PLACED, "spec.placement does not select this cluster.")
    if served is None:
        return _not_programmed(ProgrammedReason.NOT_SERVED, "No generation of this object is served.")
    if served != verdict.generation:
        message = f"Generation {verdict.generation} was not accepted; generation {served} stays in force."
        return _not_programmed(ProgrammedReason.NOT_ACCEPTED, message)
    ready = [plane for plane in planes if plane.ready]
    if not ready:
        message = "No data plane reports what it runs."
        return _Outcome(ConditionType.PROGRAMMED, ConditionStatus.UNKNOWN, ProgrammedReason.NO_DATA_PLANE, message)
    if first_revision is None:
        return _not_programmed(ProgrammedReason.PENDING, "Waiting to be published.")
    behind = [plane for plane in ready if plane.revision < first_revision]
    count = f"revision {first_revision} on {len(ready) - len(behind)}/{len(ready)}"
    if not behind:
        return _Outcome(ConditionType.PROGRAMMED, ConditionStatus.TRUE, ProgrammedReason.PROGRAMMED, count)
    refusing = [plane for plane in behind if plane.refusal]
    if refusing:
        said = "; ".join(f"{plane.name} runs revision {plane.revision}: {plane.refusal}" for plane in refusing)
        return _not_programmed(ProgrammedReason.DATA_PLANE_REFUSED, f"{count}; {said}")
    waiting = ", ".join(plane.name for plane in behind)
    return _not_programmed(ProgrammedReason.PENDING, f"{count}: waiting for {waiting}")


def _not_programmed(reason: ProgrammedReason, message: str) -> _Outcome:
    return _Outcome(ConditionType.PROGRAMMED, ConditionStatus.FALSE, reason, message)


def _ready(verdict: Verdict, outcomes: tuple[_Outcome, ...]) -> _Outcome:
    # An object that is meant for other clusters has nothing to wait for here: Argo CD should show it as healthy.
    if not verdict.placed and verdict.accepted:
        message = "Valid; spec.placement does not select this cluster."
        return _Outcome(ConditionType.READY, ConditionStatus.TRUE, ProgrammedReason.NOT_PLACED, message)
    for wanted in (ConditionStatus.FALSE, ConditionStatus.UNKNOWN):
        for outcome in outcomes:
            if outcome.status == wanted:
                return replace(outcome, type=ConditionType.READY)
    return replace(outcomes[-1], type=ConditionType.READY, reason="Ready")


def _stalled(accepted: _Outcome, programmed: _Outcome) -> list[_Outcome]:
    """What somebody must do something about. A missing reference is none: what it names may be on its way."""
    if accepted.status == ConditionStatus.FALSE:
        return [replace(accepted, type=ConditionType.STALLED, status=ConditionStatus.TRUE)]
    if programmed.reason in _ACTED_UPON:
        return [replace(programmed, type=ConditionType.STALLED, status=ConditionStatus.TRUE)]
    return []


def _condition(outcome: _Outcome, generation: int, previous: ObjectStatus, now: datetime) -> Condition:
    old = previous.condition(outcome.type)
    same_status = old is not None and old.status == outcome.status
    message = outcome.message[:MAX_MESSAGE]
    if old is not None and same_status and _still_true(old, outcome, generation):
        message = old.message
    return Condition(
        type=outcome.type.value,
        status=outcome.status.value,
        generation=generation,
        reason=str(outcome.reason),
        message=message,
        transition=old.transition if old is not None and same_status else timestamp(now),
    )


def _still_true(old: Condition, outcome: _Outcome, generation: int) -> bool:
    """Programmed once is programmed: which revision and how many data planes it was then does not become wrong."""
    return (
        outcome.status == ConditionStatus.TRUE
        and outcome.type != ConditionType.STALLED
        and outcome.message.startswith("revision ")
        and old.generation == generation
        and old.reason == outcome.reason
    )


def _sentence(findings: Iterable[Finding]) -> str:
    return "; ".join(
        f"{finding.field}: {finding.message}" if finding.field else finding.message for finding in findings
    )


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, whole seconds, as metav1.Time is written."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_status(raw: Mapping[str, Any] | None) -> ObjectStatus:
    """Read a status subresource; what is malformed counts as absent."""
    if not isinstance(raw, Mapping):
        return NO_STATUS
    listed = raw.get("conditions")
    conditions = tuple(
        _parse_condition(item) for item in (listed if isinstance(listed, list) else ()) if isinstance(item, Mapping)
    )
    known = {kind.value for kind in ConditionType}
    return ObjectStatus(
        observed_generation=_integer(raw.get("observedGeneration")),
        served_generation=_integer(raw.get("servedGeneration")),
        conditions=tuple(condition for condition in conditions if condition.type in known),
        expires=str(raw.get("expires") or ""),
        keys=tuple(_parse_key(item) for item in _list(raw.get("keys")) if isinstance(item, Mapping)),
        quota=parse_figures(raw),
    )


def status_body(status: ObjectStatus) -> dict[str, Any]:
    """The status as JSON data."""
    body: dict[str, Any] = {
        "observedGeneration": status.observed_generation,
        "servedGeneration": status.served_generation,
        "conditions": [
            {
                "type": condition.type,
                "status": condition.status,
                "observedGeneration": condition.generation,
                "reason": condition.reason,
                "message": condition.message,
                "lastTransitionTime": condition.transition,
            }
            for condition in status.conditions
        ],
        "expires": status.expires or None,
        "keys": [_key_body(key) for key in status.keys] or None,
        "lastUsedTime": last_used(status.keys) or None,
        **(figures_body(status.quota) if status.quota is not None else {}),
    }
    return {name: value for name, value in body.items() if value is not None}


def _key_body(key: KeyStatus) -> dict[str, str]:
    body = {"name": key.name, "state": key.state, "lastUsedTime": key.last_used, "notAfter": key.not_after}
    return {name: value for name, value in body.items() if value}


def _parse_key(item: Mapping[str, Any]) -> KeyStatus:
    name, state, used, ends = (str(item.get(part) or "") for part in ("name", "state", "lastUsedTime", "notAfter"))
    return KeyStatus(name, state, used, ends)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _parse_condition(item: Mapping[str, Any]) -> Condition:
    return Condition(
        type=str(item.get("type", "")),
        status=str(item.get("status", "")),
        generation=_integer(item.get("observedGeneration")) or 0,
        reason=str(item.get("reason", "")),
        message=str(item.get("message", "")),
        transition=str(item.get("lastTransitionTime", "")),
    )


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
