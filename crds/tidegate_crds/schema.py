"""From the pydantic models to the structural OpenAPI v3 schemas that a CustomResourceDefinition carries.

Pure. The rules of a structural schema are those of Kubernetes ("Specifying a structural schema" in the CRD
documentation): no `$ref`, no `anyOf` that carries types, no `title`, no `additionalProperties: false`.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, NoDefault
from pydantic_core import core_schema

from tidegate_crds.rules import CelRule

Schema: TypeAlias = dict[str, Any]
"""One node of an OpenAPI v3 schema."""

_FIRST_KEYS = ("description", "type", "format")
_LAST_KEYS = ("x-kubernetes-validations", "required", "properties", "additionalProperties", "items")


class _ModelSchemas(GenerateJsonSchema):
    """Pydantic's generator, which also writes the CEL rules of a model and the defaults that factories make."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        node = super().model_schema(schema)
        rules: tuple[CelRule, ...] = getattr(schema["cls"], "cel_rules", ())
        if rules:
            node["x-kubernetes-validations"] = [_validation(rule) for rule in rules]
        return node

    def get_default_value(self, schema: core_schema.WithDefaultSchema) -> Any:
        """The default that `kubectl get -o yaml` shall show: none for what is absent or empty."""
        factory: Any = schema.get("default_factory")
        value = factory() if factory is not None else schema.get("default", NoDefault)
        if isinstance(value, BaseModel):
            # The API server fills in the fields, as long as the object itself is there.
            return {}
        return NoDefault if value is None or value == [] or value == {} else value


def structural_schema(model: type[BaseModel]) -> Schema:
    """The structural schema of `model`: self-contained, with CEL rules, defaults and list types.

    Raises ValueError for a model that Kubernetes cannot express, such as a union of two types.
    """
    generated = model.model_json_schema(by_alias=True, schema_generator=_ModelSchemas)
    return _structural(generated, generated.get("$defs", {}))


def with_safe_defaults(node: Schema, *, in_list: bool = False) -> Schema:
    """The same schema, where every default that the API server must not fill in is only told in the description.

    A default inside a list item makes Argo CD report the object as out of sync for ever (it compares lists whole).
    A default of a mergeable list is worse: nobody owns its items under server-side apply, so `operations: [Chat]`
    would stay beside what the author writes later. What remains are scalars, and objects that hold some.
    """
    safe = dict(node)
    if "default" in safe and (in_list or isinstance(safe["default"], list)):
        safe["description"] = f"{safe['description']} Default: {default_text(safe.pop('default'))}."
    if "properties" in safe:
        safe["properties"] = {
            name: with_safe_defaults(child, in_list=in_list) for name, child in safe["properties"].items()
        }
    for key in ("items", "additionalProperties"):
        if key in safe:
            safe[key] = with_safe_defaults(safe[key], in_list=True)
    return safe


def default_text(value: Any) -> str:
    """A default as its author would write it in YAML."""
    if isinstance(value, list):
        return f"[{', '.join(str(item) for item in value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _structural(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    flat = _flattened(node, definitions)
    for key in ("$defs", "title"):
        flat.pop(key, None)
    if flat.get("additionalProperties") is False:
        del flat["additionalProperties"]
    if "properties" in flat:
        flat["properties"] = {name: _structural(child, definitions) for name, child in flat["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in flat:
            flat[key] = _structural(flat[key], definitions)
    if flat.get("default") == {} and not any("default" in child for child in flat.get("properties", {}).values()):
        del flat["default"]
    return _ordered(flat)


def _flattened(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """`node` with its reference and its `| None` dissolved; what the field says wins over what the type says."""
    flat = dict(node)
    if "anyOf" in flat:
        choices = [choice for choice in flat.pop("anyOf") if choice.get("type") != "null"]
        if len(choices) != 1:
            raise ValueError(f"a structural schema has no place for a union of {len(choices)} types")
        flat = {**_flattened(choices[0], definitions), **flat}
    if "$ref" in flat:
        name = flat.pop("$ref").rsplit("/", 1)[1]
        flat = {**_flattened(definitions[name], definitions), **flat}
    return flat


def _validation(rule: CelRule) -> Schema:
    field_path = {"fieldPath": rule.field_path} if rule.field_path else {}
    return {"rule": rule.rule, "message": rule.message, **field_path}


def _ordered(node: Schema) -> Schema:
    """The same node in the order a reader wants: what it is, its limits, then what it contains."""
    middle = [key for key in node if key not in _FIRST_KEYS and key not in _LAST_KEYS]
    return {key: node[key] for key in (*_FIRST_KEYS, *sorted(middle), *_LAST_KEYS) if key in node}
