"""What the API server would store: nulls dropped and defaults filled in, as the CRD's schema says.

Source: apiextensions-apiserver, pkg/apiserver/schema/defaulting.
"""

import copy
from collections.abc import Mapping
from typing import Any

from tidegate_crds.definition import open_api_schema
from tidegate_crds.schema import Schema
from tidegate_operator.world import Kind


def stored_spec(kind: Kind, spec: Any) -> Mapping[str, Any]:
    """The spec of an object as the cluster would hold it; empty where there is none or it is no map."""
    stored = stored_form(spec, open_api_schema(kind)["properties"]["spec"])
    return stored if isinstance(stored, dict) else {}


def stored_form(value: Any, schema: Schema) -> Any:
    """`value` with defaults, and without the nulls that the schema does not allow. What does not fit stays as it is."""
    if isinstance(value, dict):
        return _stored_map(value, schema)
    if isinstance(value, list) and "items" in schema:
        return [stored_form(item, schema["items"]) for item in value]
    return value


def without_null_metadata(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The object with its metadata as Go reads JSON: a null is the zero value, so an absent field or an empty text."""
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict):
        return dict(manifest)
    present = {name: value for name, value in metadata.items() if value is not None}
    for name in ("labels", "annotations"):
        if isinstance(entries := present.get(name), dict):
            present[name] = {key: "" if value is None else value for key, value in entries.items()}
    return {**manifest, "metadata": present}


def _stored_map(value: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    properties: Mapping[str, Schema] = schema.get("properties", {})
    others: Schema = schema.get("additionalProperties", {})
    # No schema of ours is nullable, so a null counts as absent where the field is known.
    present = {name: item for name, item in value.items() if item is not None or not (others or name in properties)}
    defaults = {
        name: copy.deepcopy(child["default"])
        for name, child in properties.items()
        if "default" in child and name not in present
    }
    return {name: stored_form(item, properties.get(name, others)) for name, item in {**present, **defaults}.items()}
