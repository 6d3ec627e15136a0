"""From the API server's JSON to what the store keeps. Pure; whatever is malformed is skipped, never raised.

Only what is needed is kept: managedFields alone are often larger than everything else together.
"""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from tidegate_operator.conditions import parse_status
from tidegate_operator.kube import Listing
from tidegate_operator.store import SeenConfigMap, SeenObject, SeenSecret
from tidegate_operator.world import ConfigMapKey, Kind, ObjectKey, Resource, SecretKey

COMMIT_ANNOTATION = "tidegate.dev/commit"
"""What put an object into Git may say here from which commit it comes."""
_MAX_COMMIT = 80


class Meta(msgspec.Struct):
    """metav1.ObjectMeta, as far as it is read."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = msgspec.field(name="resourceVersion", default="0")
    generation: int = 1
    created: str | None = msgspec.field(name="creationTimestamp", default=None)
    deleted: str | None = msgspec.field(name="deletionTimestamp", default=None)
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None

    @property
    def version(self) -> int:
        return int(self.resource_version or 0)


class CustomObject(msgspec.Struct):
    """An object of Tidegate's kinds."""

    metadata: Meta
    spec: dict[str, Any] = {}
    status: dict[str, Any] | None = None


class SecretObject(msgspec.Struct):
    """A Secret."""

    metadata: Meta
    data: dict[str, str] | None = None
    type: str = ""


class ConfigMapObject(msgspec.Struct):
    """A ConfigMap."""

    metadata: Meta
    data: dict[str, str] | None = None
    binary_data: dict[str, str] | None = msgspec.field(name="binaryData", default=None)


CustomListing = Listing[CustomObject]
SecretListing = Listing[SecretObject]
ConfigMapListing = Listing[ConfigMapObject]


def seen_object(kind: Kind, item: CustomObject) -> SeenObject:
    """What the store keeps of an object."""
    meta = item.metadata
    resource = Resource(
        key=ObjectKey(kind, meta.namespace, meta.name),
        spec=item.spec,
        generation=meta.generation,
        uid=meta.uid,
        created=_epoch(meta.created),
    )
    return SeenObject(
        resource,
        meta.version,
        parse_status(item.status),
        deleting=meta.deleted is not None,
        commit=(meta.annotations or {}).get(COMMIT_ANNOTATION, "")[:_MAX_COMMIT],
    )


def seen_secret(item: SecretObject) -> SeenSecret:
    """What the store keeps of a Secret."""
    key = SecretKey(item.metadata.namespace, item.metadata.name)
    return SeenSecret(key, item.metadata.version, decoded(item.data))


def seen_config_map(item: ConfigMapObject) -> SeenConfigMap:
    """What the store keeps of a ConfigMap that holds a list."""
    values = {name: value.encode("utf-8", "surrogatepass") for name, value in (item.data or {}).items()}
    key = ConfigMapKey(item.metadata.namespace, item.metadata.name)
    return SeenConfigMap(key, item.metadata.version, values | decoded(item.binary_data))


def decoded(data: Mapping[str, str] | None) -> dict[str, bytes]:
    """Base64 values as bytes; what is not base64 (the API server does not let it through) is left out."""
    values = {}
    for name, value in (data or {}).items():
        try:
            values[name] = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            continue
    return values


def _epoch(moment: str | None) -> int:
    try:
        return int(datetime.fromisoformat(moment).timestamp()) if moment else 0
    except ValueError:
        return 0
