"""What was decided about a call, and why: the object that the proxy obeys and that `explain` prints."""

from enum import StrEnum
from functools import cache

from msgspec import Struct

from tidegate_dataplane.ledger.demand import Demand
from tidegate_dataplane.runtime.objects import Consumer, Identity, Route, RuleRef, Subscriber, Tier
from tidegate_dataplane.snapshot.entries import Method


class Verdict(StrEnum):
    """What one step of a decision came to."""

    ACCEPTED = "Accepted"
    DENIED = "Denied"
    NO_MATCH = "NoMatch"
    ERROR = "Error"
    LEFT_OUT = "LeftOut"  # a target, for this call


class RiskOutcome(StrEnum):
    """What the risk of a call demands."""

    ALLOWED = "Allowed"
    STEP_UP = "StepUp"
    APPROVAL = "Approval"
    APPROVED = "Approved"
    DENIED = "Denied"


class RiskPart(Struct, frozen=True, gc=False):
    """A signal that holds: of which policy (object key), and what it adds."""

    policy: str
    signal: str
    weight: int


class Risk(Struct, frozen=True, gc=False):
    """`score` is the highest of any policy, `parts` are of all. `request` is what an approver may approve."""

    score: int
    outcome: RiskOutcome
    parts: tuple[RiskPart, ...]
    request: str = ""


class Denial(Struct, frozen=True, gc=False):
    """Why a call is refused, in OpenAI's terms. `message` says what to do next; `retry_after` is in seconds.

    `challenge` is the value of `www-authenticate`, "" for none.
    """

    status: int
    code: str
    type: str
    message: str
    param: str | None = None
    rule: RuleRef | None = None
    retry_after: float | None = None
    challenge: str = ""


class Decision(Struct, frozen=True, gc=False):
    """The answer to a call: let in when `denial` is None, and then `route` and `consumer` are set.

    `identity` says how the caller proved who it is; `consumer` is that of the identity with what the route's claim
    mappings add, the anonymous one (empty name) when nobody was identified. `rule` is the Allow rule that let the call
    in, if one was needed. `shadow` names the rules of Shadow policies that would have refused. `demands` goes to the
    ledger. `risk` is None where no policy weighs it; `grant` is the approval that this call uses up.
    `subscribed` is what the consumer has subscribed to, None where the route asks for no subscription. `tiers` are the
    targets that rules leave, None when that is all of the route's.
    """

    denial: Denial | None
    route: Route | None = None
    consumer: Consumer | None = None
    identity: Identity | None = None
    rule: RuleRef | None = None
    shadow: tuple[RuleRef, ...] = ()
    demands: tuple[Demand, ...] = ()
    risk: Risk | None = None
    grant: str = ""
    subscribed: Subscriber | None = None
    tiers: tuple[Tier, ...] | None = None

    @property
    def plan(self) -> str:
        """The plan under which the consumer calls; "" for none."""
        return "" if self.subscribed is None else self.subscribed.plan.name

    @property
    def subscription(self) -> str:
        """The key of the AISubscription that lets the consumer call; "" for none."""
        return "" if self.subscribed is None else self.subscribed.subscription


def methods_of(identity: Identity | None) -> str:
    """How a caller proved who it is, such as `JWT+MTLS`; "" when it was not asked."""
    return _joined(identity.methods) if identity is not None else ""


@cache
def _joined(methods: frozenset[Method]) -> str:
    """Asked for every audit line, of very few sets."""
    return "+".join(sorted(methods))


def key_name(identity: Identity | None) -> str:
    """The name of the API key among what proved the caller; "" when there was none."""
    return identity.names[0] if identity is not None and Method.API_KEY in identity.methods and identity.names else ""


class Step(Struct, frozen=True):
    """One thing that was looked at on the way to a decision.

    `object` is e.g. `AIPolicy team-a/chat`, `saw` what it found in the call, in words that may be shown to an operator.
    """

    stage: str
    object: str
    generation: int
    rule: str
    saw: str
    verdict: Verdict
    shadow: bool = False
