"""The authentication section of an AIPolicy: how callers prove who they are."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from tidegate_crds.rules import CelRule
from tidegate_crds.v1alpha1.lists import ListRef
from tidegate_crds.v1alpha1.shapes import ATOMIC, SET, Duration, Label, SecretKeyRef, Shape, list_map

Url = Annotated[
    str,
    StringConstraints(min_length=8, max_length=1024, pattern=r"^https?://[A-Za-z0-9.\-_\[\]:]+(/[A-Za-z0-9._~/%-]*)?$"),
]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=512)]
PemBundle = Annotated[str, StringConstraints(min_length=1, max_length=65536)]


class Method(StrEnum):
    """How a caller may prove who it is."""

    API_KEY = "APIKey"
    JWT = "JWT"
    INTROSPECTION = "Introspection"
    MTLS = "MTLS"
    ANONYMOUS = "Anonymous"


class Algorithm(StrEnum):
    """Signature algorithms of RFC 7518 and RFC 8037 that need no shared secret."""

    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ED_DSA = "EdDSA"


class ClaimMapping(Shape):
    """CEL expressions over token.issuer, token.subject and token.claims that say who a token stands for."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!has(self.namespace) || has(self.name)",
            "spec.authentication…claims: namespace says of which tenant a caller without an AIConsumer is, and needs name",
        ),
    )

    name: Expression | None = Field(
        default=None,
        description="A string: with it, callers that no AIConsumer claims come in under this name; without, they are refused.",
    )
    namespace: Expression | None = Field(
        default=None,
        description="A string: the tenant of such a caller; only a policy of the platform namespace may name another than its own.",
    )
    team: Expression | None = Field(default=None, description="A string; an AIConsumer's own team wins.")
    tier: Expression | None = Field(default=None, description="A string; an AIConsumer's own tier wins.")
    roles: Expression | None = Field(default=None, description="A list of strings; added to an AIConsumer's roles.")
    attributes: dict[str, Expression] = Field(
        default_factory=dict, max_length=16, description="Strings; an AIConsumer's own attributes win."
    )


class ProviderTls(Shape):
    """How the identity provider's certificate is verified."""

    ca_bundle: PemBundle = Field(description="PEM certificates to trust instead of the system's.")


class JwtProvider(Shape):
    """An issuer of JSON Web Tokens (RFC 7519), such as an OpenID Connect provider."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!(has(self.jwksUri) && has(self.jwksSecretRef))",
            "spec.authentication.jwt[]: give jwksUri or jwksSecretRef, or neither for discovery at the issuer",
        ),
    )

    name: Label = Field(description="Name of the provider, shown in decisions.")
    issuer: Url = Field(description="The exact iss of its tokens.")
    audiences: list[Text] = Field(
        min_length=1,
        max_length=16,
        description="The token's aud holds one of these.",
        json_schema_extra=SET,
    )
    jwks_uri: Url | None = Field(
        default=None, description="Where its keys are; absent, they are found by OpenID Connect discovery."
    )
    jwks_secret_ref: SecretKeyRef | None = Field(
        default=None, description="A JWK set kept in a Secret, for clusters without a way to the provider."
    )
    algorithms: list[Algorithm] = Field(
        default_factory=lambda: [Algorithm.ES256, Algorithm.RS256, Algorithm.PS256, Algorithm.ED_DSA],
        min_length=1,
        max_length=10,
        description="Accepted signature algorithms.",
        json_schema_extra=SET,
    )
    authorized_parties: list[Text] = Field(
        default_factory=list,
        max_length=16,
        description="The token's azp is one of these; empty: any.",
        json_schema_extra=SET,
    )
    clock_skew: Duration = Field(default="30s", description="How far the provider's clock may be off; at most 5m.")
    refresh: Duration = Field(default="5m", description="How often its keys are fetched; 30s to 24h.")
    max_key_age: Duration = Field(
        default="24h", description="How long the last good keys serve while the provider is away; 1m to 30d."
    )
    tls: ProviderTls | None = Field(default=None, description="How the provider's certificate is verified.")
    claims: ClaimMapping | None = Field(default=None, description="Who a token stands for.")


class IntrospectionProvider(Shape):
    """An authorization server that tells whether an opaque token is good (RFC 7662)."""

    name: Label = Field(description="Name of the provider, shown in decisions.")
    endpoint: Url = Field(description="Its introspection endpoint.")
    client_id: Text = Field(description="As whom the gateway asks.")
    client_secret_ref: SecretKeyRef = Field(description="The gateway's client secret. It never enters a ConfigMap.")
    issuer: Url | None = Field(default=None, description="If the answer names an iss, it is exactly this.")
    audiences: list[Text] = Field(
        default_factory=list,
        max_length=16,
        description="The answer's aud holds one of these; empty: any.",
        json_schema_extra=SET,
    )
    cache: Duration = Field(default="30s", description="How long an answer is believed; at most 5m.")
    tls: ProviderTls | None = Field(default=None, description="How the server's certificate is verified.")
    claims: ClaimMapping | None = Field(default=None, description="Who a token stands for.")


class Authentication(Shape):
    """How callers may prove who they are. All attached policies must be satisfied."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!has(self.allOf) || !self.allOf.exists(m, m == 'Anonymous')",
            "spec.authentication.allOf: Anonymous is the absence of proof and cannot be required",
        ),
        CelRule(
            "!has(self.jwt) || self.methods.exists(m, m == 'JWT')"
            " || (has(self.allOf) && self.allOf.exists(m, m == 'JWT'))",
            "spec.authentication.jwt has no meaning unless methods or allOf lists JWT",
        ),
        CelRule(
            "!has(self.introspection) || self.methods.exists(m, m == 'Introspection')"
            " || (has(self.allOf) && self.allOf.exists(m, m == 'Introspection'))",
            "spec.authentication.introspection has no meaning unless methods or allOf lists Introspection",
        ),
    )

    methods: list[Method] = Field(
        min_length=1,
        max_length=5,
        description="One of these suffices; Anonymous lets in callers that present nothing, where every policy lists it.",
        json_schema_extra=SET,
    )
    all_of: list[Method] = Field(
        default_factory=list,
        max_length=4,
        description="Each of these is needed besides, for example MTLS and JWT together.",
        json_schema_extra=SET,
    )
    jwt: list[JwtProvider] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="Whose tokens are accepted; absent: those that the other attached policies accept.",
        json_schema_extra=list_map("name"),
    )
    introspection: list[IntrospectionProvider] | None = Field(
        default=None,
        min_length=1,
        max_length=4,
        description="Who is asked about opaque tokens; absent: whom the other attached policies ask.",
        json_schema_extra=list_map("name"),
    )
    leaked_keys: list[ListRef] | None = Field(
        default=None,
        min_length=1,
        max_length=8,
        description="Lists of hex SHA-256 of API keys or tokens that are known to have leaked: refused at once.",
        json_schema_extra=ATOMIC,
    )
