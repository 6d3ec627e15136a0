"""Shapes that several kinds share: references, placement, status, and the constraints of their scalars."""

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from tidegate_crds.rules import CelRule

# RFC 1123 label and subdomain, as Kubernetes limits names (metav1 ObjectMeta).
LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
# A subset of the Gateway API's duration (GEP-2257): one to four number-unit pairs, no sign, no fraction.
DURATION_PATTERN = r"^([0-9]{1,6}(ms|s|m|h|d)){1,4}$"
WORD_PATTERN = r"^[A-Za-z0-9]([-A-Za-z0-9_.:/@ ]*[A-Za-z0-9])?$"

Label = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=LABEL_PATTERN)]
Subdomain = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=SUBDOMAIN_PATTERN)]
Duration = Annotated[str, StringConstraints(min_length=2, max_length=28, pattern=DURATION_PATTERN)]
# Roles, teams, tiers and attribute values: what people name, without control characters.
Word = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=WORD_PATTERN)]
# A model's name, or a prefix ending in `*`.
ModelPattern = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:/@-]*\*?$")]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:/@-]+$")]
Timestamp = Annotated[
    str,
    StringConstraints(max_length=40),
    Field(json_schema_extra={"format": "date-time"}),
]
# `*` stands for every namespace.
NamespaceGrant = Annotated[
    str, StringConstraints(min_length=1, max_length=63, pattern=r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$")
]


def list_map(*keys: str) -> dict[str, Any]:
    """The schema extension that makes a list a map by `keys`: server-side apply merges it, duplicates are refused."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}
ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}


class Shape(BaseModel):
    """Base of every API type: camelCase on the wire, unknown fields refused, immutable."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    cel_rules: ClassVar[tuple[CelRule, ...]] = ()


class SecretKeyRef(Shape):
    """One key of a Secret in the object's own namespace."""

    name: Subdomain = Field(description="Name of the Secret, in the same namespace.")
    key: Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = Field(
        description="Key inside the Secret's data."
    )


class LabelSelector(Shape):
    """Selects clusters by the facts that their operator was configured with."""

    match_labels: dict[str, Annotated[str, StringConstraints(max_length=63)]] = Field(
        default_factory=dict,
        max_length=16,
        description="Facts that must all hold: name, cloud, region, jurisdiction, or a label of the cluster.",
    )


class Placement(Shape):
    """In which clusters the object takes effect."""

    cluster_selector: LabelSelector = Field(
        description="The clusters in which the object takes effect; an empty selector selects all."
    )


class Condition(Shape):
    """A condition as in Kubernetes' metav1.Condition."""

    type: Annotated[str, StringConstraints(max_length=316)] = Field(
        description="Accepted, ResolvedRefs, Approved (of subscriptions), Programmed, Ready or Stalled."
    )
    status: Annotated[str, StringConstraints(pattern=r"^(True|False|Unknown)$", max_length=7)] = Field(
        description="True, False or Unknown."
    )
    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] = Field(
        description="The metadata.generation that this condition was computed from."
    )
    last_transition_time: Timestamp = Field(description="When the status last flipped.")
    reason: Annotated[
        str,
        StringConstraints(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
    ] = Field(description="One CamelCase word for programs.")
    message: Annotated[str, StringConstraints(max_length=32768)] = Field(
        description="A sentence for people: what is so, and what to do."
    )


class Status(Shape):
    """What the operator found, and what the data planes of this cluster run."""

    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] = Field(
        default=0, description="The generation the operator last judged; 0 before it has seen the object."
    )
    served_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = Field(
        default=None,
        description="The generation in force; lower than metadata.generation while a newer one is not valid. Absent: none is served.",
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=8,
        description="Accepted, ResolvedRefs, Approved (of subscriptions), Programmed, Ready, and Stalled while it is.",
        json_schema_extra=list_map("type"),
    )
