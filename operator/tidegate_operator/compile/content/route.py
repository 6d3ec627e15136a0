"""Own content of an AIRoute."""

from tidegate_crds.v1alpha1.airoute import AIRouteSpec, Target
from tidegate_dataplane.snapshot.entries import Operation, RetryOn, RouteEntry, TargetEntry
from tidegate_operator.compile.content.fields import duration_within, placement_of, source_of
from tidegate_operator.compile.durations import HOUR
from tidegate_operator.compile.problems import Problems
from tidegate_operator.world import Facts, Resource


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
    )


def _target(target: Target, namespace: str) -> TargetEntry:
    return TargetEntry(
        backend=f"{target.backend_ref.namespace or namespace}/{target.backend_ref.name}",
        model=target.model or "",
        weight=target.weight,
        priority=target.priority,
    )
