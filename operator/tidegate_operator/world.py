"""The World: every declared object and referenced Secret at one moment, as plain immutable data.

Input of the compiler, whatever it was read from (an API server, a directory). No I/O, no clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from tidegate_dataplane.snapshot.entries import ClusterFacts


class Kind(StrEnum):
    """What Tidegate's API declares."""

    BACKEND = "AIBackend"
    ROUTE = "AIRoute"
    CONSUMER = "AIConsumer"
    POLICY = "AIPolicy"
    QUOTA = "Quota"
    SUBSCRIPTION = "AISubscription"
    APPROVAL = "AIApproval"


class ObjectKey(NamedTuple):
    """Identity of an object across its versions."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class SecretKey(NamedTuple):
    """Identity of a Secret."""

    namespace: str
    name: str


class ConsumerKey(NamedTuple):
    """One API key of an AIConsumer, by its name there."""

    namespace: str
    consumer: str
    name: str

    def __str__(self) -> str:
        return f"key {self.name} of AIConsumer {self.namespace}/{self.consumer}"


LIST_LABEL = "tidegate.dev/list"
"""ConfigMaps with this label and the value "true" may hold lists; all others are never read."""


class ConfigMapKey(NamedTuple):
    """Identity of a ConfigMap that holds a list."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Resource:
    """One object as its author wrote it. `spec` is plain JSON data and must never be changed.

    `created` is metadata.creationTimestamp in seconds since the epoch (0 when unknown).
    Two Resources that are the same Python object are known to be equal; the compiler's memo rests on that.
    """

    key: ObjectKey
    spec: Mapping[str, Any]
    generation: int = 1
    uid: str = ""
    created: int = 0


@dataclass(frozen=True, slots=True)
class World:
    """All objects and the Secrets they may refer to (`data` decoded to bytes; never logged).

    `unissued` says why keys that are to be generated, or replaced, could not be. `config_maps` are those that are
    labelled as lists.
    """

    resources: Mapping[ObjectKey, Resource]
    secrets: Mapping[SecretKey, Mapping[str, bytes]] = field(default_factory=dict, repr=False)
    unissued: Mapping[ConsumerKey, str] = field(default_factory=dict)
    config_maps: Mapping[ConfigMapKey, Mapping[str, bytes]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the compiler is told about where it runs.

    Only objects of `platform_namespace` may attach to the whole gateway. `issues_keys`: somebody here generates the
    keys that consumers ask for.
    """

    gateway: str = "default"
    platform_namespace: str = "tidegate-system"
    cluster: ClusterFacts = field(default_factory=ClusterFacts)
    issues_keys: bool = False
