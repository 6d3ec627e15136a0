"""The network section of an AIPolicy: from where callers may come."""

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from tidegate_crds.rules import CelRule
from tidegate_crds.v1alpha1.lists import ListRef
from tidegate_crds.v1alpha1.shapes import ATOMIC, SET, Shape

# The exact form is judged by the operator, which knows both families.
Cidr = Annotated[str, StringConstraints(min_length=2, max_length=49, pattern=r"^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$")]


class Network(Shape):
    """From where callers may come: denied networks and lists refuse, and where networks are allowed, one must match."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "has(self.allow) || has(self.deny) || has(self.denyLists)",
            "spec.network: give at least one of allow, deny and denyLists",
        ),
    )

    allow: list[Cidr] | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="Networks or addresses that may call, such as 10.0.0.0/8 or 2001:db8::/32; absent: all.",
        json_schema_extra=SET,
    )
    deny: list[Cidr] | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="Networks or addresses that may not call, also where allow names them.",
        json_schema_extra=SET,
    )
    deny_lists: list[ListRef] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="Lists of networks or addresses that may not call, such as threat feeds.",
        json_schema_extra=ATOMIC,
    )
