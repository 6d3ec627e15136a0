"""What the API's models look like from outside: which field holds which shape, and which lists are maps or sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from tidegate_crds.v1alpha1.shapes import Shape


@dataclass(frozen=True, slots=True)
class FieldShape:
    """One field: the shape of its value or of its list items, if any, and its Kubernetes list type."""

    nested: type[Shape] | None
    list_type: str
    list_keys: tuple[str, ...]


@cache
def fields_of(model: type[Shape]) -> Mapping[str, FieldShape]:
    """The fields of a shape by their name on the wire."""
    return {
        info.alias or name: _field(info.annotation, info.json_schema_extra) for name, info in model.model_fields.items()
    }


@cache
def has_rules(model: type[Shape]) -> bool:
    """Whether this shape or one inside it carries rules or uniqueness that its types alone do not express."""
    return bool(model.cel_rules) or any(
        field.list_type in ("map", "set") or (field.nested is not None and has_rules(field.nested))
        for field in fields_of(model).values()
    )


def model_at(model: type[Shape], location: Sequence[int | str]) -> frozenset[str]:
    """Names of the fields of the shape at `location` inside `model`; empty when there is no shape."""
    here: type[Shape] | None = model
    for step in location:
        if isinstance(step, str) and here is not None:
            field = fields_of(here).get(step)
            here = field.nested if field else None
    return frozenset(fields_of(here)) if here else frozenset()


def _field(annotation: Any, extra: Any) -> FieldShape:
    options = extra if isinstance(extra, dict) else {}
    keys = options.get("x-kubernetes-list-map-keys") or []
    return FieldShape(_nested(annotation), str(options.get("x-kubernetes-list-type", "")), tuple(map(str, keys)))


def _nested(annotation: Any) -> type[Shape] | None:
    if isinstance(annotation, type) and issubclass(annotation, Shape):
        return annotation
    return next((found for part in get_args(annotation) if (found := _nested(part))), None)
