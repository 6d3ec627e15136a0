"""AIBackend: a place where models live."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from tidegate_crds.rules import CelRule
from tidegate_crds.v1alpha1.shapes import (
    SET,
    Duration,
    ModelName,
    NamespaceGrant,
    Placement,
    SecretKeyRef,
    Shape,
    Status,
    Word,
    list_map,
)


class Provider(StrEnum):
    """Which dialect the backend speaks."""

    OPEN_AI = "OpenAI"
    OPEN_AI_COMPATIBLE = "OpenAICompatible"
    AZURE_OPEN_AI = "AzureOpenAI"
    MOCK = "Mock"


class Credential(Shape):
    """What Tidegate presents to the provider. It never enters a ConfigMap."""

    secret_ref: SecretKeyRef = Field(description="Where the provider key is kept.")


# US dollars.
Dollars = Annotated[
    str, StringConstraints(min_length=1, max_length=16, pattern=r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$")
]


class LongContextPrice(Shape):
    """What a call with a long input costs: all its tokens have these prices."""

    above: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(
        description="Calls with more input tokens than this have these prices."
    )
    input: Dollars = Field(description="USD per million input tokens.")
    output: Dollars = Field(description="USD per million output tokens.")
    cached_input: Dollars | None = Field(
        default=None, description="USD per million input tokens read from the provider's cache; as below, when absent."
    )


class ModelPrice(Shape):
    """What a model costs, in US dollars. It holds instead of the built-in price table."""

    input: Dollars = Field(description="USD per million input tokens, such as 0.15.")
    output: Dollars = Field(description="USD per million output tokens; 0 where there are none.")
    cached_input: Dollars | None = Field(
        default=None, description="USD per million input tokens read from the provider's cache; as input, when absent."
    )
    cache_write: Dollars | None = Field(
        default=None, description="USD per million input tokens written to it; as input, when absent."
    )
    reasoning: Dollars | None = Field(
        default=None, description="USD per million reasoning tokens; as output, when absent."
    )
    input_audio: Dollars | None = Field(
        default=None, description="USD per million input tokens of audio; as input, when absent."
    )
    output_audio: Dollars | None = Field(
        default=None, description="USD per million output tokens of audio; as output, when absent."
    )
    image: Dollars | None = Field(default=None, description="USD for each image that is made, besides its tokens.")
    request: Dollars | None = Field(default=None, description="USD for each call, besides its tokens.")
    long_context: list[LongContextPrice] = Field(
        default_factory=list,
        max_length=8,
        description="Prices of calls with a long input; the highest step that the input exceeds holds.",
        json_schema_extra=list_map("above"),
    )


class BackendModel(Shape):
    """A model that the backend offers."""

    name: ModelName = Field(description="The provider's own name for the model (for AzureOpenAI: the deployment).")
    version: ModelName | None = Field(
        default=None, description="Its version, such as 2024-07-18; authorization rules may name it."
    )
    price: ModelPrice | None = Field(default=None, description="What it costs, instead of the built-in price table.")


class Location(Shape):
    """Where the backend computes."""

    cloud: Word | None = Field(default=None, description="Its cloud, such as azure.")
    region: Word | None = Field(default=None, description="Its region, such as westeurope.")
    jurisdiction: Word | None = Field(default=None, description="Whose law holds, such as EU.")


class BackendTls(Shape):
    """How the provider's certificate is verified."""

    ca_bundle: Annotated[str, StringConstraints(min_length=1, max_length=65536)] = Field(
        description="PEM certificates to trust instead of the system's, for a private authority."
    )


class ConcurrencyMode(StrEnum):
    """Who sets the limit: its author, or what latency says."""

    FIXED = "Fixed"
    ADAPTIVE = "Adaptive"


class Concurrency(Shape):
    """How many calls each data plane has under way at the backend; more wait, by priority and fairly."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.mode == 'Adaptive' || (!has(self.min) && !has(self.initial))",
            "spec.concurrency: min and initial go with mode: Adaptive; a Fixed limit is max",
        ),
        CelRule("!has(self.min) || self.min <= self.max", "spec.concurrency.min must be at most max"),
        CelRule("!has(self.initial) || self.initial <= self.max", "spec.concurrency.initial must be at most max"),
        CelRule(
            "!has(self.initial) || !has(self.min) || self.min <= self.initial",
            "spec.concurrency.initial must be at least min",
        ),
    )

    mode: ConcurrencyMode = Field(
        default=ConcurrencyMode.FIXED,
        description="Fixed: max is the limit. Adaptive: it is found between min and max from latency and refusals.",
    )
    max: Annotated[int, Field(ge=1, le=100_000)] = Field(description="Most calls at once, in each data plane.")
    min: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="Adaptive never goes below it; a twentieth of max when absent, at least 1."
    )
    initial: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="Where Adaptive begins; 20 when absent, within min and max."
    )


class MockAnswer(Shape):
    """What a Mock backend answers, so that a folder of resources runs without a provider account."""

    reply: Annotated[str, StringConstraints(min_length=1, max_length=4096)] = Field(
        default="Hello from the Mock backend.", description="The text of every answer."
    )
    latency: Duration = Field(default="0ms", description="Wait before the first byte, such as 20ms.")
    chunk_delay: Duration = Field(default="0ms", description="Wait between the chunks of a streamed answer.")


class AIBackendSpec(Shape):
    """The desired state of an AIBackend."""

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.provider == 'Mock' || has(self.endpoint)",
            "spec.endpoint is required unless spec.provider is Mock, for example https://api.openai.com/v1",
        ),
        CelRule(
            "self.provider != 'Mock' || (!has(self.endpoint) && !has(self.credential) && !has(self.tls))",
            "spec.endpoint, spec.credential and spec.tls have no meaning when spec.provider is Mock: remove them",
        ),
        CelRule("!has(self.mock) || self.provider == 'Mock'", "spec.mock needs spec.provider: Mock"),
        CelRule(
            "self.provider == 'AzureOpenAI' ? has(self.apiVersion) : !has(self.apiVersion)",
            "spec.apiVersion goes with spec.provider: AzureOpenAI, which requires it, for example 2024-10-21",
        ),
    )

    provider: Provider = Field(description="The dialect the backend speaks.")
    endpoint: (
        Annotated[
            str,
            StringConstraints(
                min_length=8,
                max_length=1024,
                pattern=r"^https?://[A-Za-z0-9.\-_\[\]:]+(/[A-Za-z0-9._~/-]*)?$",
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="Base URL, with the version path if the provider has one. No user, query or fragment.",
    )
    api_version: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9.-]+$")] | None = (
        Field(default=None, description="AzureOpenAI's api-version query parameter.")
    )
    location: Location | None = Field(
        default=None, description="Where the backend computes; rules read it as backend.cloud, .region, .jurisdiction."
    )
    credential: Credential | None = Field(default=None, description="The provider key. Without it none is sent.")
    tls: BackendTls | None = Field(default=None, description="How the endpoint's certificate is verified.")
    connect_timeout: Duration = Field(default="5s", description="Longest wait for a connection.")
    concurrency: Concurrency | None = Field(
        default=None, description="How many calls it takes at once; no limit when absent."
    )
    models: list[BackendModel] = Field(
        default_factory=list,
        max_length=256,
        description="What the backend offers; a route may then target only these. Empty: any name is passed on.",
        json_schema_extra=list_map("name"),
    )
    allowed_namespaces: list[NamespaceGrant] = Field(
        default_factory=list,
        max_length=64,
        description="Other namespaces whose routes may refer to this backend; * for all. Its own always may.",
        json_schema_extra=SET,
    )
    mock: MockAnswer | None = Field(default=None, description="The answers of a Mock backend.")
    placement: Placement | None = Field(
        default=None, description="In which clusters the backend exists; all, when absent."
    )


class AIBackend(Shape):
    """A place where models live: a provider's endpoint with its credential."""

    spec: AIBackendSpec = Field(description="The desired state.")
    status: Status | None = Field(default=None, description="Written by the operator.")


__all__ = [
    "AIBackend",
    "AIBackendSpec",
    "BackendModel",
    "BackendTls",
    "Concurrency",
    "ConcurrencyMode",
    "Credential",
    "Location",
    "LongContextPrice",
    "MockAnswer",
    "ModelPrice",
    "Provider",
]
