"""Own content of an AIPolicy."""

from tidegate_crds.v1alpha1.aipolicy import AIPolicySpec, AuthorizationRule, RateLimit
from tidegate_dataplane.snapshot.entries import (
    Accuracy,
    Effect,
    FailureMode,
    Mode,
    Operation,
    PolicyEntry,
    RateLimitEntry,
    RateLimitScope,
    RuleEntry,
    Strength,
)
from tidegate_operator.compile.content.authentication import authentication_content
from tidegate_operator.compile.content.expression import check_cost, check_expression
from tidegate_operator.compile.content.fields import duration_within, placement_of, source_of, target_refs
from tidegate_operator.compile.content.network import network_content
from tidegate_operator.compile.content.risk import risk_content
from tidegate_operator.compile.durations import DAY
from tidegate_operator.compile.problems import Problems
from tidegate_operator.world import Facts, Resource

_LONGEST_PERIOD = 31 * DAY


def policy_content(resource: Resource, spec: AIPolicySpec, facts: Facts, problems: Problems) -> PolicyEntry:
    """Lower a valid spec; notes problems of targets, expressions and periods."""
    rules = spec.authorization.rules if spec.authorization else None
    limits = spec.rate_limits
    signals = spec.risk.signals if spec.risk else ()
    check_cost(
        (rule.when for rule in rules or () if rule.when), (signal.when for signal in signals if signal.when), problems
    )
    return PolicyEntry(
        source=source_of(resource),
        target_refs=target_refs(spec.target_refs, resource, facts, problems),
        strength=Strength(spec.strength.value),
        mode=Mode(spec.mode.value),
        authentication=authentication_content(spec.authentication, problems) if spec.authentication else None,
        rules=tuple(_rule(rule, at, problems) for at, rule in enumerate(rules)) if rules is not None else None,
        rate_limits=(
            tuple(_rate_limit(limit, at, problems) for at, limit in enumerate(limits)) if limits is not None else None
        ),
        network=network_content(spec.network, problems) if spec.network else None,
        risk=risk_content(spec.risk, problems) if spec.risk else None,
        placement=placement_of(spec.placement),
    )


def _rule(rule: AuthorizationRule, position: int, problems: Problems) -> RuleEntry:
    if rule.when is not None:
        check_expression(rule.when, f"spec.authorization.rules[{position}].when", problems, by_target=True)
    return RuleEntry(
        name=rule.name,
        effect=Effect(rule.effect.value),
        roles=tuple(sorted(rule.roles)),
        models=tuple(sorted(rule.models)),
        operations=tuple(sorted(Operation(operation.value) for operation in rule.operations)),
        versions=tuple(sorted(rule.versions)),
        when=rule.when or "",
    )


def _rate_limit(limit: RateLimit, position: int, problems: Problems) -> RateLimitEntry:
    return RateLimitEntry(
        name=limit.name,
        per=RateLimitScope(limit.per.value),
        requests=limit.requests,
        period_ms=duration_within(
            limit.period, f"spec.rateLimits[{position}].period", problems, least=1, most=_LONGEST_PERIOD
        ),
        burst=limit.burst if limit.burst is not None else limit.requests,
        accuracy=Accuracy(limit.accuracy.value),
        failure_mode=FailureMode(limit.failure_mode.value),
    )
