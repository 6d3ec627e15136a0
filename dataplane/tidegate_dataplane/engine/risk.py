"""How risky a call is, and what has to happen before it passes. Pure: what was seen before comes in as `Observed`.

Each policy scores by itself. Every threshold that a score reaches makes a demand of its own, and all demands must be
met: refused, approved, proved more freshly or strongly (RFC 9470). What cannot be told counts as risky: an expression
without a value holds, and so does a country that no trusted proxy gives.
"""

from base64 import b32encode
from hashlib import sha256
from typing import Final, Protocol

from msgspec import Struct

from tidegate_dataplane.engine import denials
from tidegate_dataplane.engine.authorize import Subject
from tidegate_dataplane.engine.decision import Denial, Risk, RiskOutcome, RiskPart, Step, Verdict
from tidegate_dataplane.expressions import EvaluationError
from tidegate_dataplane.runtime.objects import RiskSection, RuleRef, Signal
from tidegate_dataplane.snapshot.entries import GrantEntry, SignalKind

_SEPARATOR: Final = "\x1f"


class Observed(Protocol):
    """What a data plane has seen of callers. All answers are about the time before this call."""

    def calls(self, consumer: str) -> int:
        """How many calls of the consumer were let in, as far as is remembered."""

    def knows_address(self, consumer: str, address: str) -> bool:
        """Whether it was let in from this network before."""

    def knows_country(self, consumer: str, country: str) -> bool: ...

    def knows_model(self, consumer: str, model: str) -> bool: ...

    def usual_hour(self, consumer: str, zone: str, now: float) -> bool:
        """Whether it has called at this hour of the day before."""

    def recent_calls(self, consumer: str, period: float, now: float) -> int:
        """Calls within the last `period` seconds, let in or not."""

    def recent_failures(self, address: str, period: float, now: float) -> int:
        """Failed authentications from this address within the last `period` seconds."""

    def used(self, grant: str) -> bool:
        """Whether this approval (see `use_of`) let a call through already."""


class Unseen:
    """Nothing was seen before, as in a folder without a data plane."""

    def calls(self, consumer: str) -> int:
        return 0

    def knows_address(self, consumer: str, address: str) -> bool:
        return False

    def knows_country(self, consumer: str, country: str) -> bool:
        return False

    def knows_model(self, consumer: str, model: str) -> bool:
        return False

    def usual_hour(self, consumer: str, zone: str, now: float) -> bool:
        return False

    def recent_calls(self, consumer: str, period: float, now: float) -> int:
        return 0

    def recent_failures(self, address: str, period: float, now: float) -> int:
        return 0

    def used(self, grant: str) -> bool:
        return False


UNSEEN: Final = Unseen()


class Weighed(Struct, frozen=True):
    """The outcome: `grant` is the approval (see `use_of`) that lets this call pass, if it needed one."""

    risk: Risk | None
    denial: Denial | None = None
    grant: str = ""


UNWEIGHED: Final = Weighed(None)


def weigh(subject: Subject, observed: Observed, trace: list[Step] | None = None, *, shadow: bool = False) -> Weighed:
    """Score a call by every risk section of its route (those of Shadow policies with `shadow`)."""
    guard = subject.route.shadow if shadow else subject.route.guard
    sections = () if guard is None else guard.risks
    scored = [_score(section, subject, observed) for section in sections]
    if trace is not None:
        trace.extend(_step(section, parts, shadow) for section, parts in zip(sections, scored, strict=True))
    return _decide(subject, observed, list(zip(sections, scored, strict=True)), now=subject.now)


def _decide(
    subject: Subject, observed: Observed, scored: list[tuple[RiskSection, tuple[RiskPart, ...]]], *, now: float
) -> Weighed:
    parts = tuple(part for _, found in scored for part in found)
    score = max((_sum(found) for _, found in scored), default=0)
    for section, found in scored:
        if _reaches(found, section.deny):
            return Weighed(Risk(score, RiskOutcome.DENIED, parts), denials.risk_denied(section.ref))
    for section, found in scored:
        if _reaches(found, section.step_up) and not _stepped_up(section, subject, now):
            denial = denials.step_up_required(section.ref, section.acr_values, section.max_age)
            return Weighed(Risk(score, RiskOutcome.STEP_UP, parts), denial)
    asking = next((section for section, found in scored if _reaches(found, section.approval)), None)
    if asking is None:
        return Weighed(Risk(score, RiskOutcome.ALLOWED, parts))
    request = request_id(subject)
    for grant in subject.route.entry.grants:
        if grant.request == request and now < grant.not_after and not observed.used(use_of(grant)):
            return Weighed(Risk(score, RiskOutcome.APPROVED, parts, request), None, use_of(grant))
    return Weighed(Risk(score, RiskOutcome.APPROVAL, parts, request), denials.approval_required(asking.ref, request))


def use_of(grant: GrantEntry) -> str:
    """What marks an approval as used; another approval of the same call lets it through once more."""
    return _SEPARATOR.join((grant.approval, grant.request, str(grant.not_after)))


def request_id(subject: Subject) -> str:
    """The same for the same call of the same consumer, on every data plane: what an approver approves."""
    call = subject.call
    digest = sha256(
        _SEPARATOR.join((subject.consumer.key, subject.route.key, call.operation, call.model)).encode(
            "utf-8", "surrogatepass"
        )
        + b"\x1f"
        + sha256(call.body).digest()
    ).digest()
    return "apr-" + b32encode(digest[:15]).decode("ascii").lower()


def _score(section: RiskSection, subject: Subject, observed: Observed) -> tuple[RiskPart, ...]:
    return tuple(
        RiskPart(section.ref.key, signal.name, signal.weight)
        for signal in section.signals
        if _holds(signal, subject, observed)
    )


def _holds(signal: Signal, subject: Subject, observed: Observed) -> bool:
    call, consumer = subject.call, subject.consumer.key
    match signal.kind:
        case SignalKind.EXPRESSION:
            return _true(signal, subject)
        case SignalKind.LISTED_ADDRESS:
            return any(subject.lists.contains_address(key, call.address) for key in signal.lists)
        case SignalKind.BURST:
            return observed.recent_calls(consumer, signal.period, subject.now) + 1 >= signal.count
        case SignalKind.FAILED_AUTHENTICATIONS:
            return observed.recent_failures(call.address, signal.period, subject.now) >= signal.count
    if observed.calls(consumer) < signal.after:
        return False
    match signal.kind:
        case SignalKind.NEW_ADDRESS:
            return not observed.knows_address(consumer, call.address)
        case SignalKind.NEW_COUNTRY:
            return not observed.knows_country(consumer, call.proxy_headers.get(signal.header, ""))
        case SignalKind.UNUSUAL_HOUR:
            return not observed.usual_hour(consumer, signal.zone, subject.now)
        case SignalKind.UNUSUAL_MODEL:
            return not observed.knows_model(consumer, call.model)
    return True


def _true(signal: Signal, subject: Subject) -> bool:
    if signal.program is None:
        return True
    # In one view of the caller is enough.
    for view in subject.seen:
        try:
            if signal.program.evaluate(view.variables):
                return True
        except EvaluationError:
            return True
    return False


def _stepped_up(section: RiskSection, subject: Subject, now: float) -> bool:
    """In every view of the caller."""
    return all(_satisfies(section, view.identity.token, now) for view in subject.seen)


def _satisfies(section: RiskSection, token: dict[str, object], now: float) -> bool:
    if section.acr_values and token.get("acr") not in section.acr_values:
        return False
    if section.max_age:
        proved = token.get("authTime")
        return isinstance(proved, int | float) and 0 <= now - proved <= section.max_age
    return True


def _sum(parts: tuple[RiskPart, ...]) -> int:
    return sum(part.weight for part in parts)


def _reaches(parts: tuple[RiskPart, ...], threshold: int | None) -> bool:
    return threshold is not None and _sum(parts) >= threshold


def _step(section: RiskSection, parts: tuple[RiskPart, ...], shadow: bool) -> Step:
    ref: RuleRef = section.ref
    score = _sum(parts)
    reached = [
        name
        for name, threshold in (("step-up", section.step_up), ("approval", section.approval), ("deny", section.deny))
        if _reaches(parts, threshold)
    ]
    why = " + ".join(f"{part.signal} {part.weight}" for part in parts) or "no signal holds"
    saw = f"score {score} ({why}), {'reaches ' + ' and '.join(reached) if reached else 'below every threshold'}"
    verdict = Verdict.DENIED if reached else Verdict.ACCEPTED
    return Step("risk", f"{ref.kind} {ref.key}", ref.generation, "", saw, verdict, shadow)
