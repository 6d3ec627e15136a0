"""Own content of an AISubscription."""

from tidegate_crds.v1alpha1.aisubscription import AISubscriptionSpec
from tidegate_dataplane.snapshot.entries import SubscriptionEntry
from tidegate_operator.compile.content.fields import moment, placement_of, source_of
from tidegate_operator.compile.problems import Problems
from tidegate_operator.world import Facts, Resource


def subscription_content(
    resource: Resource, spec: AISubscriptionSpec, facts: Facts, problems: Problems
) -> SubscriptionEntry:
    """Lower a valid spec. The reason is for people and stays out of the snapshot."""
    namespace = resource.key.namespace
    return SubscriptionEntry(
        source=source_of(resource),
        consumer=f"{namespace}/{spec.consumer_ref.name}",
        route=f"{spec.route_ref.namespace or namespace}/{spec.route_ref.name}",
        plan=spec.plan,
        not_after=moment(spec.not_after, "spec.notAfter", problems),
        placement=placement_of(spec.placement),
    )
