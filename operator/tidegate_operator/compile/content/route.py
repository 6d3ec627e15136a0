"""Own content of an AIRoute."""

from tidegate_crds.v1alpha1.airoute import AIRouteSpec, Plan, Target
from tidegate_dataplane.snapshot.entries import Operation, PlanEntry, RetryOn, RouteEntry, TargetEntry
from tidegate_operator.compile.content.fields import duration_within, placement_of, source_of
from tidegate_operator.compile.durations import DAY, HOUR
from tidegate_operator.compile.problems import Problems
from tidegate_operator.world import Facts, Resource

_LONGEST_PERIOD = 31 * DAY


def route_content(resource: Resource, spec: AIRouteSpec, facts: Facts, problems: Problems) -> RouteEntry:
    """Lower a valid spec. `targets` holds every target in the author's order, permitted or not."""
    headers = spec.match.headers if spec.match else []
    return RouteEntry(
        source=source_of(resource),
        models=tuple(sorted(spec.models)),
        operations=tuple(sorted(Operation(operation.value) for operation in spec.operations)),
        targets=tuple(_target(target, resource.key.namespace) for target in spec.targets),
        hostnames=tuple(sorted(spec.hostnames)),
        path_prefix=spec.path_prefix,
        headers=tuple(sorted((header.name, header.value) for header in headers)),
        timeout_ms=duration_within(spec.timeout, "spec.timeout", problems, least=1, most=HOUR),
        stream_idle_timeout_ms=duration_within(
            spec.stream_idle_timeout, "spec.streamIdleTimeout", problems, least=1, most=HOUR
        ),
        retry_attempts=spec.retry.attempts,
        retry_on=tuple(sorted(RetryOn(cause.value) for cause in spec.retry.conditions)),
        allowed_namespaces=tuple(sorted(spec.allowed_namespaces)),
        placement=placement_of(spec.placement),
        plans=(
            tuple(_plan(plan, at, problems) for at, plan in enumerate(spec.subscription.plans))
            if spec.subscription
            else None
        ),
    )


def _plan(plan: Plan, position: int, problems: Problems) -> PlanEntry:
    limit = plan.rate_limit
    if limit is None:
        return PlanEntry(name=plan.name)
    field = f"spec.subscription.plans[{position}].rateLimit.period"
    return PlanEntry(
        name=plan.name,
        requests=limit.requests,
        period_ms=duration_within(limit.period, field, problems, least=1, most=_LONGEST_PERIOD),
        burst=limit.burst if limit.burst is not None else limit.requests,
    )


def _target(target: Target, namespace: str) -> TargetEntry:
    return TargetEntry(
        backend=f"{target.backend_ref.namespace or namespace}/{target.backend_ref.name}",
        model=target.model or "",
        weight=target.weight,
        priority=target.priority,
        fallback=target.fallback,
    )
