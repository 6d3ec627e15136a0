"""Version v1alpha1 of the API: one module a kind."""

from tidegate_crds.v1alpha1.aiapproval import AIApproval
from tidegate_crds.v1alpha1.aibackend import AIBackend
from tidegate_crds.v1alpha1.aiconsumer import AIConsumer
from tidegate_crds.v1alpha1.aipolicy import AIPolicy
from tidegate_crds.v1alpha1.airoute import AIRoute
from tidegate_crds.v1alpha1.aisubscription import AISubscription
from tidegate_crds.v1alpha1.quota import Quota
from tidegate_crds.v1alpha1.shapes import Shape

GROUP = "tidegate.dev"
VERSION = "v1alpha1"
KINDS: dict[str, type[Shape]] = {
    "AIApproval": AIApproval,
    "AIBackend": AIBackend,
    "AIConsumer": AIConsumer,
    "AIPolicy": AIPolicy,
    "AIRoute": AIRoute,
    "AISubscription": AISubscription,
    "Quota": Quota,
}

__all__ = [
    "GROUP",
    "KINDS",
    "VERSION",
    "AIApproval",
    "AIBackend",
    "AIConsumer",
    "AIPolicy",
    "AIRoute",
    "AISubscription",
    "Quota",
    "Shape",
]
