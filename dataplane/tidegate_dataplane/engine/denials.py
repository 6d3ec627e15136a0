"""Every way to say no, in OpenAI's error terms. Messages say what to do next, and nothing about what is not theirs."""

import math
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from tidegate_dataplane.engine.decision import Denial
from tidegate_dataplane.expressions.cost import ROUTE_LIMIT
from tidegate_dataplane.ledger.demand import Excess, StoreFailure
from tidegate_dataplane.runtime.objects import Gate, Route, RuleRef, Subscriber, Subscriptions
from tidegate_dataplane.snapshot.entries import Unit

_AUTHENTICATION: Final = "authentication_error"
_PERMISSION: Final = "permission_error"
_SERVER: Final = "server_error"
_SHOWN: Final = 128

NO_KEY: Final = Denial(
    401, "invalid_api_key", _AUTHENTICATION, "No API key was given: send it as 'Authorization: Bearer KEY'."
)
UNKNOWN_KEY: Final = Denial(
    401, "invalid_api_key", _AUTHENTICATION, "The API key is not valid: check it, or ask its owner for a current one."
)
SEVERAL_KEYS: Final = Denial(
    401, "invalid_api_key", _AUTHENTICATION, "Different API keys were given: send one key, in one header."
)
REVOKED_KEY: Final = UNKNOWN_KEY  # whoever holds a revoked key learns nothing more than about a wrong one
UNKNOWN_TOKEN: Final = Denial(
    401,
    "unknown_consumer",
    _AUTHENTICATION,
    "The token is valid, but nobody here knows its holder: ask for an account.",
)
DIFFERENT_CONSUMERS: Final = Denial(
    401,
    "different_consumers",
    _AUTHENTICATION,
    "The credentials that were given belong to different consumers: give those of one.",
)
EARLY_KEY: Final = Denial(
    401, "invalid_api_key", _AUTHENTICATION, "The API key is not valid yet: use the key that was in use before it."
)
EXPIRED_KEY: Final = Denial(
    401, "invalid_api_key", _AUTHENTICATION, "The API key has expired: ask its owner for a current one."
)
SUSPENDED: Final = Denial(
    403, "consumer_suspended", _PERMISSION, "This consumer is suspended: ask the owner of its AIConsumer to resume it."
)


def model_not_found(model: str) -> Denial:
    """The same words whether the model does not exist or belongs to somebody else."""
    message = (
        f"The model '{model[:_SHOWN]}' does not exist or you do not have access to it: GET the models list for yours."
    )
    return Denial(404, "model_not_found", "invalid_request_error", message, param="model")


def method_not_accepted(gate: Gate | None) -> Denial:
    if gate is None:
        message = "No policy of this route says how callers prove who they are: ask its owner to attach one."
        return Denial(401, "method_not_accepted", _AUTHENTICATION, message)
    message = f"{gate.ref} does not accept this way of authentication: it needs {gate.needs}."
    return Denial(401, "method_not_accepted", _AUTHENTICATION, message, rule=gate.ref)


def invalid_token(message: str) -> Denial:
    """RFC 6750, section 3.1."""
    return Denial(401, "invalid_token", _AUTHENTICATION, message, challenge='Bearer error="invalid_token"')


def identity_provider_unavailable(message: str, retry_after: float) -> Denial:
    """Whether the token is good cannot be told; it is not the caller's fault."""
    return Denial(503, "identity_provider_unavailable", _SERVER, message, retry_after=retry_after)


def risk_denied(ref: RuleRef) -> Denial:
    message = f"{ref.kind} {ref.key} finds this call too risky: ask the policy's owner, or call in your usual way."
    return Denial(403, "risk_denied", _PERMISSION, message, rule=ref)


def step_up_required(ref: RuleRef, acr_values: tuple[str, ...], max_age: float) -> Denial:
    """RFC 9470, section 3: the client is to authenticate its user more strongly or anew, and to come back."""
    what = "Authenticate again, more strongly or more recently, and retry with the new token"
    challenge = f'Bearer error="insufficient_user_authentication", error_description="{what}"'
    if acr_values:
        challenge += f', acr_values="{" ".join(acr_values)}"'
    if max_age:
        challenge += f', max_age="{int(max_age)}"'
    message = f"{ref.kind} {ref.key} needs a stronger or fresher authentication for this call: {what.lower()}."
    return Denial(401, "insufficient_user_authentication", _AUTHENTICATION, message, rule=ref, challenge=challenge)


def approval_required(ref: RuleRef, request: str) -> Denial:
    message = (
        f"{ref.kind} {ref.key} needs somebody's approval for this call: have {request} approved by an AIApproval, then "
        "send the very same request again."
    )
    return Denial(403, "approval_required", _PERMISSION, message, rule=ref)


def address_not_allowed(rule: RuleRef) -> Denial:
    """Names the policy, but neither its networks nor its lists."""
    message = (
        f"{rule.kind} {rule.key} does not let in calls from your address: call from a network that it allows, or ask "
        "the policy's owner."
    )
    return Denial(403, "address_not_allowed", _PERMISSION, message, rule=rule)


def leaked_key(rule: RuleRef) -> Denial:
    """To the caller the same as an unknown key."""
    return replace(UNKNOWN_KEY, rule=rule)


def forbidden(rule: RuleRef) -> Denial:
    """A Deny rule matched, or no Allow rule of a policy did (then `rule` names the policy only)."""
    if rule.rule:
        message = f"{rule} refuses this call: ask the policy's owner if you need access."
    else:
        message = f"No rule of {rule} allows this call: ask the policy's owner if you need access."
    return Denial(403, "permission_denied", _PERMISSION, message, rule=rule)


def subscription_required(route: Route, subscriptions: Subscriptions, ended: Subscriber | None) -> Denial:
    """`ended` is a subscription that the caller had, if any."""
    if ended is not None:
        message = (
            f"The subscription {ended.subscription} to {route.ref} has ended: set a later notAfter in it or in its "
            "approval, whichever ends first."
        )
    else:
        plans = subscriptions.plans
        choice = f"the plan {plans[0]}" if len(plans) == 1 else f"one of the plans {', '.join(plans)}"
        message = (
            f"{route.ref} needs an approved subscription: create an AISubscription to it with {choice}, "
            "and ask the owner of the route to approve it."
        )
    return Denial(403, "subscription_required", _PERMISSION, message, rule=route.ref)


def policy_unavailable(route: Route) -> Denial:
    what = route.unavailable[0]
    message = f"{what.kind} {what.key} applies here and has never been valid: its owner must correct it; retry later."
    return Denial(503, "policy_unavailable", _SERVER, message, rule=RuleRef(what.kind, what.key, 0), retry_after=5.0)


def policy_too_costly(route: Route) -> Denial:
    message = (
        f"The expressions of the policies on {route.ref} may cost {route.too_costly} units in all, more than "
        f"{ROUTE_LIMIT}: their owners must simplify them; retry later."
    )
    return Denial(503, "policy_too_costly", _SERVER, message, rule=route.ref, retry_after=5.0)


def backend_unavailable(route: Route) -> Denial:
    message = f"{route.ref} has no usable backend: its owner must correct its targets; retry later."
    return Denial(503, "backend_unavailable", _SERVER, message, rule=route.ref, retry_after=5.0)


def price_unknown(route: Route, model: str) -> Denial:
    """A budget cannot be kept where nobody knows what a call costs."""
    message = (
        f"Nobody has said what the model '{model[:_SHOWN]}' costs, and a quota of {route.ref} counts cost: ask for "
        "another model, or the owner of the backend to name a price, or that of the quota to set a defaultPrice."
    )
    return Denial(403, "price_unknown", _PERMISSION, message, rule=route.ref)


def quota_unavailable(failure: StoreFailure) -> Denial:
    """The shared store is away, and the limit lets nothing pass meanwhile."""
    demand = failure.demand
    message = (
        f"{demand} cannot be checked, for the shared store is away ({failure.reason}), and lets nothing pass "
        "meanwhile: retry soon."
    )
    rule = RuleRef(demand.kind, demand.object, demand.generation, demand.name)
    return Denial(503, "quota_unavailable", _SERVER, message, rule=rule, retry_after=failure.retry_after)


def limit_exceeded(excess: Excess) -> Denial:
    """The ledger refused: 429, with the wait that would help, if any does."""
    demand = excess.demand
    rule = RuleRef(demand.kind, demand.object, demand.generation, demand.name)
    whose = f"{demand} of {demand.scope}" if demand.scope else str(demand)
    limit, used, asked = (shown(demand.unit, amount) for amount in (excess.limit, excess.used, excess.asked))
    if excess.retry_after == math.inf and not excess.limit:
        message = f"{whose} allows nothing here: ask its owner for an amount, or for this cluster's share of it."
        return Denial(429, "quota_exceeded", "rate_limit_error", message, rule=rule)
    if excess.retry_after == math.inf:
        message = (
            f"{whose} allows {limit} in all and this call may need {asked}: "
            "shorten the prompt or ask for fewer tokens (max_tokens)."
        )
        return Denial(429, "quota_exceeded", "rate_limit_error", message, rule=rule)
    wait = max(1, math.ceil(excess.retry_after))
    if demand.rate:
        message = f"{whose} is reached: retry in {wait} s."
        return Denial(429, "rate_limit_exceeded", "rate_limit_error", message, rule=rule, retry_after=wait)
    if demand.unit is Unit.CONCURRENT:
        message = f"{whose} is reached ({used} of {limit} calls are running): wait until one of them has ended."
        return Denial(429, "quota_exceeded", "rate_limit_error", message, rule=rule, retry_after=wait)
    message = (
        f"{whose} is used up ({used} of {limit}, this call may need {asked}; resets at {_moment(excess.reset_at)}): "
        f"retry in {wait} s."
    )
    return Denial(429, "quota_exceeded", "rate_limit_error", message, rule=rule, retry_after=wait)


def shown(unit: Unit, amount: int) -> str:
    """An amount as people write it: dollars of Cost, seconds of ComputeSeconds."""
    if unit is Unit.COST:
        return f"${amount / 1_000_000:.6f}".rstrip("0").rstrip(".")
    if unit is Unit.COMPUTE_SECONDS:
        return f"{amount / 1_000:g} s"
    return str(amount)


def _moment(seconds: float) -> str:
    """RFC 3339, in UTC."""
    return datetime.fromtimestamp(math.ceil(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
