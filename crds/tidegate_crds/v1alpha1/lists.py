"""References to lists of addresses or key hashes, such as threat feeds, in ConfigMaps or Secrets."""

from typing import ClassVar

from pydantic import Field

from tidegate_crds.rules import CelRule
from tidegate_crds.v1alpha1.shapes import Shape, Subdomain


class ObjectName(Shape):
    """The name of an object in the policy's own namespace."""

    name: Subdomain = Field(description="Its name.")


class ListRef(Shape):
    """A ConfigMap (labelled tidegate.dev/list: "true") or Secret whose values hold one entry a line."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "has(self.configMapRef) != has(self.secretRef)",
            "spec: a reference to a list names exactly one of configMapRef and secretRef",
        ),
    )

    config_map_ref: ObjectName | None = Field(
        default=None, description="A ConfigMap; it carries the label tidegate.dev/list: true."
    )
    secret_ref: ObjectName | None = Field(default=None, description="A Secret of type Opaque.")
