"""Own content of an AIApproval."""

from tidegate_crds.v1alpha1.aiapproval import AIApprovalSpec
from tidegate_dataplane.snapshot.entries import ApprovalEntry
from tidegate_operator.compile.content.fields import moment, placement_of, source_of
from tidegate_operator.compile.durations import DAY, SECOND
from tidegate_operator.compile.problems import Problems
from tidegate_operator.world import Facts, Resource

LONGEST_GRANT_SECONDS = 7 * DAY // SECOND


def approval_content(resource: Resource, spec: AIApprovalSpec, facts: Facts, problems: Problems) -> ApprovalEntry:
    """Lower a valid spec; notes a request that would stay open for too long."""
    not_after = moment(spec.not_after, "spec.notAfter", problems)
    subscription, request = spec.subscription, spec.request
    # A manifest in a folder does not tell when it was created.
    if request and not_after is not None and resource.created and not_after > resource.created + LONGEST_GRANT_SECONDS:
        problems.add("spec.notAfter", "must be at most 7 days after the approval was created: with request it is short")
    route = subscription.route if subscription else request.route if request else ""
    return ApprovalEntry(
        source=source_of(resource),
        route=f"{resource.key.namespace}/{route}",
        subscription=f"{subscription.namespace}/{subscription.name}" if subscription else "",
        consumer=f"{subscription.namespace}/{subscription.consumer}" if subscription else "",
        plan=subscription.plan if subscription else "",
        request=request.id if request else "",
        not_after=not_after,
        revoked=spec.revoked,
        placement=placement_of(spec.placement),
    )
