"""AIConsumer: who calls."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from tidegate_crds.rules import CelRule
from tidegate_crds.v1alpha1.shapes import (
    SET,
    Label,
    Placement,
    SecretKeyRef,
    Shape,
    Status,
    Timestamp,
    Word,
    list_map,
)


class ConsumerType(StrEnum):
    """What kind of caller it is."""

    USER = "User"
    APPLICATION = "Application"
    SERVICE = "Service"


class ApiKey(Shape):
    """One API key. Only its SHA-256 leaves the cluster's Secrets."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "has(self.secretRef) != has(self.sha256)",
            "spec.credentials.apiKeys[]: give exactly one of secretRef and sha256",
        ),
    )

    name: Label = Field(description="Name of the key within the consumer, such as 2026-q4.")
    secret_ref: SecretKeyRef | None = Field(default=None, description="Where the key itself is kept.")
    sha256: Annotated[str, StringConstraints(min_length=64, max_length=64, pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="Hex SHA-256 of a key of at least 128 random bits; may stand in Git."
    )
    not_before: Timestamp | None = Field(default=None, description="The key is refused before this time (RFC 3339).")
    not_after: Timestamp | None = Field(default=None, description="The key is refused from this time on (RFC 3339).")


class Credentials(Shape):
    """How the consumer proves who it is."""

    api_keys: list[ApiKey] = Field(
        default_factory=list,
        max_length=16,
        description="Keys that are valid side by side.",
        json_schema_extra=list_map("name"),
    )


class AIConsumerSpec(Shape):
    """The desired state of an AIConsumer."""

    type: ConsumerType = Field(default=ConsumerType.APPLICATION, description="What kind of caller it is.")
    team: Word | None = Field(default=None, description="The team it belongs to.")
    tier: Word | None = Field(default=None, description="The tier its quotas follow, such as free or premium.")
    roles: list[Word] = Field(
        default_factory=list,
        max_length=64,
        description="Roles that authorization rules name.",
        json_schema_extra=SET,
    )
    attributes: dict[str, Annotated[str, StringConstraints(max_length=256)]] = Field(
        default_factory=dict, max_length=32, description="Attributes that rules read as consumer.attributes."
    )
    suspended: bool = Field(default=False, description="A suspended consumer is refused, whatever it presents.")
    credentials: Credentials = Field(default_factory=Credentials, description="How it proves who it is.")
    placement: Placement | None = Field(
        default=None, description="In which clusters the consumer exists; all, when absent."
    )


class AIConsumer(Shape):
    """Who calls: an application, a service or a person, with its credentials and attributes."""

    spec: AIConsumerSpec = Field(description="The desired state.")
    status: Status | None = Field(default=None, description="Written by the operator.")
