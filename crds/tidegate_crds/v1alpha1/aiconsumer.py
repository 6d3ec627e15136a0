"""AIConsumer: who calls."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from tidegate_crds.rules import CelRule
from tidegate_crds.v1alpha1.authentication import Url
from tidegate_crds.v1alpha1.shapes import (
    ATOMIC,
    SET,
    Duration,
    Label,
    Placement,
    SecretKeyRef,
    Shape,
    Status,
    Subdomain,
    Timestamp,
    Word,
    list_map,
)


class ConsumerType(StrEnum):
    """What kind of caller it is."""

    USER = "User"
    APPLICATION = "Application"
    SERVICE = "Service"


class Priority(StrEnum):
    """Who goes first where not all can be served at once."""

    LOW = "Low"
    NORMAL = "Normal"
    HIGH = "High"
    CRITICAL = "Critical"


class KeyGeneration(Shape):
    """The operator makes the key and writes it into the Secret."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!has(self.overlap) || has(self.rotateEvery)",
            "spec.credentials.apiKeys[].generate: overlap goes with rotateEvery",
        ),
    )

    rotate_every: Duration | None = Field(
        default=None, description="A new key replaces the old one each such time, at least 10m; absent: never."
    )
    overlap: Duration | None = Field(
        default=None, description="How long the old key works after a rotation; a tenth of rotateEvery when absent."
    )


class ApiKey(Shape):
    """One API key. Only its SHA-256 leaves the cluster's Secrets."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "has(self.secretRef) != has(self.sha256)",
            "spec.credentials.apiKeys[]: give exactly one of secretRef and sha256",
        ),
        CelRule(
            "!has(self.generate) || has(self.secretRef)",
            "spec.credentials.apiKeys[]: generate needs secretRef, which says where the new key is written",
        ),
    )

    name: Label = Field(description="Name of the key within the consumer, such as 2026-q4.")
    secret_ref: SecretKeyRef | None = Field(default=None, description="Where the key itself is kept.")
    sha256: Annotated[str, StringConstraints(min_length=64, max_length=64, pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="Hex SHA-256 of a key of at least 128 random bits; may stand in Git."
    )
    not_before: Timestamp | None = Field(default=None, description="The key is refused before this time (RFC 3339).")
    not_after: Timestamp | None = Field(default=None, description="The key is refused from this time on (RFC 3339).")
    generate: KeyGeneration | None = Field(
        default=None, description="Let the operator make the key; {} for one that is never replaced."
    )
    revoked: bool = Field(default=False, description="A revoked key is refused; its name stays for the records.")


class JwtCredential(Shape):
    """Tokens whose claims have all these values stand for the consumer."""

    name: Label = Field(description="Name of the credential within the consumer.")
    issuer: Url = Field(description="The exact iss of the tokens.")
    match: dict[str, Annotated[str, StringConstraints(min_length=1, max_length=256)]] = Field(
        min_length=1, max_length=8, description="Claims and their exact values, such as sub: app-42."
    )


class IntrospectedCredential(Shape):
    """Opaque tokens whose introspection answers all these values stand for the consumer."""

    name: Label = Field(description="Name of the credential within the consumer.")
    match: dict[str, Annotated[str, StringConstraints(min_length=1, max_length=256)]] = Field(
        min_length=1, max_length=8, description="Members of the answer and their exact values, such as client_id: app."
    )


class MtlsCredential(Shape):
    """Client certificates that stand for the consumer."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "[has(self.subject), has(self.uri), has(self.dns), has(self.fingerprint)].filter(x, x).size() == 1",
            "spec.credentials.mtls[]: give exactly one of subject, uri, dns and fingerprint",
        ),
    )

    name: Label = Field(description="Name of the credential within the consumer.")
    subject: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = Field(
        default=None, description="The certificate's subject as in RFC 4514, such as CN=search,O=Example."
    )
    uri: Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[!-~]+$")] | None = Field(
        default=None, description="A URI among its subject alternative names, such as spiffe://example.org/search."
    )
    dns: Subdomain | None = Field(default=None, description="A DNS name among its subject alternative names.")
    fingerprint: Annotated[str, StringConstraints(min_length=64, max_length=64, pattern=r"^[0-9a-f]{64}$")] | None = (
        Field(default=None, description="Hex SHA-256 of the certificate.")
    )


class Credentials(Shape):
    """How the consumer proves who it is."""

    api_keys: list[ApiKey] = Field(
        default_factory=list,
        max_length=16,
        description="Keys that are valid side by side.",
        json_schema_extra=list_map("name"),
    )
    jwt: list[JwtCredential] = Field(
        default_factory=list,
        max_length=16,
        description="Tokens that stand for the consumer.",
        json_schema_extra=list_map("name"),
    )
    introspection: list[IntrospectedCredential] = Field(
        default_factory=list,
        max_length=16,
        description="Opaque tokens that stand for the consumer.",
        json_schema_extra=list_map("name"),
    )
    mtls: list[MtlsCredential] = Field(
        default_factory=list,
        max_length=16,
        description="Client certificates that stand for the consumer.",
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
    priority: Priority = Field(
        default=Priority.NORMAL,
        description="Who goes first under pressure: lower ones wait and are turned away first. No claim can set it.",
    )
    suspended: bool = Field(default=False, description="A suspended consumer is refused, whatever it presents.")
    credentials: Credentials = Field(default_factory=Credentials, description="How it proves who it is.")
    placement: Placement | None = Field(
        default=None, description="In which clusters the consumer exists; all, when absent."
    )


class KeyStatus(Shape):
    """What is known of one API key."""

    name: Annotated[str, StringConstraints(max_length=80)] = Field(
        description="Name of the key; `NAME (previous)` is the one that a rotation replaced."
    )
    state: Annotated[str, StringConstraints(max_length=16)] = Field(
        description="Active, Previous, NotYet, Expired, Revoked or Suspended."
    )
    last_used_time: Timestamp | None = Field(
        default=None,
        description="When it was last used on any data plane, at most ten minutes late; absent: never seen.",
    )
    not_after: Timestamp | None = Field(default=None, description="When it ends.")


class ConsumerStatus(Status):
    """What the operator found, and what the data planes tell of the keys."""

    keys: list[KeyStatus] = Field(
        default_factory=list, max_length=32, description="The API keys in force.", json_schema_extra=ATOMIC
    )
    last_used_time: Timestamp | None = Field(default=None, description="The newest of the keys' lastUsedTime.")


class AIConsumer(Shape):
    """Who calls: an application, a service or a person, with its credentials and attributes."""

    spec: AIConsumerSpec = Field(description="The desired state.")
    status: ConsumerStatus | None = Field(default=None, description="Written by the operator.")
