"""JSON Schemas of whole objects: the CRD's schema, strict about unknown fields, with Kubernetes' rules for metadata."""

from functools import cache
from typing import Any

from tidegate_crds.definition import open_api_schema
from tidegate_crds.schema import Schema
from tidegate_crds.v1alpha1.shapes import LABEL_PATTERN, SUBDOMAIN_PATTERN

# Qualified names, as k8s.io/apimachinery/pkg/util/validation IsQualifiedName has them: an optional prefix and `/`.
QUALIFIED_NAME_PATTERN = (
    r"^([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*/)?"
    r"([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$"
)
LABEL_VALUE_PATTERN = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
_MAX_QUALIFIED = 253 + 1 + 63

_TEXT: Schema = {"type": "string"}
_NAMES_TO_TEXT: Schema = {
    "type": "object",
    "propertyNames": {"pattern": QUALIFIED_NAME_PATTERN, "maxLength": _MAX_QUALIFIED},
    "additionalProperties": _TEXT,
}
_NAMED = {"type": "string", "minLength": 1}
# Source: apimachinery, pkg/api/validation, validateOwnerReference.
_OWNER = {
    "type": "object",
    "required": ["apiVersion", "kind", "name", "uid"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": _NAMED,
        "kind": _NAMED,
        "name": _NAMED,
        "uid": _NAMED,
        "controller": {"type": "boolean"},
        "blockOwnerDeletion": {"type": "boolean"},
    },
}
METADATA_SCHEMA: Schema = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {**_TEXT, "minLength": 1, "maxLength": 253, "pattern": SUBDOMAIN_PATTERN},
        "namespace": {**_TEXT, "maxLength": 63, "pattern": LABEL_PATTERN},
        "labels": {
            **_NAMES_TO_TEXT,
            "additionalProperties": {**_TEXT, "maxLength": 63, "pattern": LABEL_VALUE_PATTERN},
        },
        "annotations": _NAMES_TO_TEXT,
        "finalizers": {"type": "array", "items": {**_TEXT, "pattern": QUALIFIED_NAME_PATTERN}},
        "generateName": _TEXT,
        "uid": _TEXT,
        "resourceVersion": _TEXT,
        "generation": {"type": "integer"},
        "creationTimestamp": _TEXT,
        "deletionTimestamp": _TEXT,
        "deletionGracePeriodSeconds": {"type": "integer"},
        "selfLink": _TEXT,
        "ownerReferences": {"type": "array", "items": _OWNER},
        "managedFields": {"type": "array", "items": {"type": "object"}},
    },
}
SECRET_SCHEMA: Schema = {
    "type": "object",
    "required": ["metadata"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": _TEXT,
        "kind": _TEXT,
        "metadata": METADATA_SCHEMA,
        "type": _TEXT,
        "immutable": {"type": "boolean"},
        # Their values are judged where they are decoded.
        "data": {"propertyNames": {"pattern": r"^[-._a-zA-Z0-9]+$", "maxLength": 253}},
        "stringData": {"propertyNames": {"pattern": r"^[-._a-zA-Z0-9]+$", "maxLength": 253}},
    },
}
CONFIG_MAP_SCHEMA: Schema = {
    **SECRET_SCHEMA,
    "properties": {
        **{name: part for name, part in SECRET_SCHEMA["properties"].items() if name not in ("type", "stringData")},
        "binaryData": SECRET_SCHEMA["properties"]["data"],
    },
}


@cache
def object_schema(kind: str) -> Schema:
    """What a manifest of `kind` must look like. Callers must not change it."""
    crd = open_api_schema(kind)
    properties = {**crd["properties"], "metadata": METADATA_SCHEMA}
    # The API server drops the status that an author sends, and so judges nothing in it but the names of its fields.
    properties["status"] = _only_names(properties["status"])
    whole = {**crd, "required": ["metadata", *crd["required"]], "properties": properties}
    return _strict(whole)


def _strict(node: Schema) -> Schema:
    """`node`, where a field that the schema does not know is an error."""
    strict = dict(node)
    if "properties" in node:
        strict["properties"] = {name: _strict(child) for name, child in node["properties"].items()}
        strict.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            strict[key] = _strict(node[key])
    return strict


def _only_names(node: Schema) -> Schema:
    bare: dict[str, Any] = {}
    if "properties" in node:
        bare["properties"] = {name: _only_names(child) for name, child in node["properties"].items()}
    if "items" in node:
        bare["items"] = _only_names(node["items"])
    return bare
