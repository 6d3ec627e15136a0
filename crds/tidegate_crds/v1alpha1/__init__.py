"""Version v1alpha1 of the API: one module a kind."""

from tidegate_crds.v1alpha1.aibackend import AIBackend
from tidegate_crds.v1alpha1.aiconsumer import AIConsumer
from tidegate_crds.v1alpha1.aipolicy import AIPolicy
from tidegate_crds.v1alpha1.airoute import AIRoute
from tidegate_crds.v1alpha1.quota import Quota
from tidegate_crds.v1alpha1.shapes import Shape

GROUP = "tidegate.dev"
VERSION = "v1alpha1"
KINDS: dict[str, type[Shape]] = {
    "AIBackend": AIBackend,
    "AIConsumer": AIConsumer,
    "AIPolicy": AIPolicy,
    "AIRoute": AIRoute,
    "Quota": Quota,
}

__all__ = ["GROUP", "KINDS", "VERSION", "AIBackend", "AIConsumer", "AIPolicy", "AIRoute", "Quota", "Shape"]
