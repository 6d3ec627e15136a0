"""Where Tidegate's kinds live in the API."""

from tidegate_operator.kube import Resource
from tidegate_operator.world import Kind

GROUP = "tidegate.dev"
VERSION = "v1alpha1"
RESOURCES = {
    Kind.BACKEND: Resource(GROUP, VERSION, "aibackends", Kind.BACKEND.value),
    Kind.ROUTE: Resource(GROUP, VERSION, "airoutes", Kind.ROUTE.value),
    Kind.CONSUMER: Resource(GROUP, VERSION, "aiconsumers", Kind.CONSUMER.value),
    Kind.POLICY: Resource(GROUP, VERSION, "aipolicies", Kind.POLICY.value),
    Kind.QUOTA: Resource(GROUP, VERSION, "quotas", Kind.QUOTA.value),
    Kind.SUBSCRIPTION: Resource(GROUP, VERSION, "aisubscriptions", Kind.SUBSCRIPTION.value),
    Kind.APPROVAL: Resource(GROUP, VERSION, "aiapprovals", Kind.APPROVAL.value),
}
