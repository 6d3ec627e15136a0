"""Enforces what the API server enforces beyond types: the CEL rules of the shapes, and unique list keys.

A directory has no API server, so the compiler must not rest on one.
"""

from functools import cache
from typing import Any

from tidegate_crds.v1alpha1.shapes import Shape
from tidegate_operator.cel_rule import rule_holds
from tidegate_operator.compile.problems import Problems
from tidegate_operator.compile.spec_shape import FieldShape, fields_of, has_rules


def check_rules(model: type[Shape], data: dict[str, Any], problems: Problems, path: str = "spec") -> None:
    """Judge `data` (JSON of a valid `model`, absent fields left out) by the rules of the model and all inside it."""
    for rule in model.cel_rules:
        if not rule_holds(rule.rule, data):
            problems.add(path + rule.field_path, rule.message)
    for name, field in _checked(model):
        value = data.get(name)
        # An empty list breaks no rule of what is in it.
        if value is not None and value != []:
            _check_field(field, value, problems, f"{path}.{name}")


@cache
def _checked(model: type[Shape]) -> tuple[tuple[str, FieldShape], ...]:
    """The fields that have rules of their own or inside them: few of many."""
    return tuple(
        (name, field)
        for name, field in fields_of(model).items()
        if field.list_type in ("map", "set") or (field.nested is not None and has_rules(field.nested))
    )


def _check_field(field: FieldShape, value: Any, problems: Problems, path: str) -> None:
    if isinstance(value, list) and field.list_type in ("map", "set"):
        _check_unique(field, value, problems, path)
    nested = field.nested
    if nested is None or not has_rules(nested):
        return
    if isinstance(value, list):
        for position, item in enumerate(value):
            check_rules(nested, item, problems, f"{path}[{position}]")
    else:
        check_rules(nested, value, problems, path)


def _check_unique(field: FieldShape, items: list[Any], problems: Problems, path: str) -> None:
    seen: dict[Any, int] = {}
    for position, item in enumerate(items):
        identity = tuple(item.get(key) for key in field.list_keys) if field.list_keys else item
        first = seen.setdefault(identity, position)
        if first != position:
            what = f"the same {' and '.join(field.list_keys)}" if field.list_keys else "the same value"
            where = f"{path}[{position}]" + (f".{field.list_keys[0]}" if field.list_keys else "")
            problems.add(where, f"has {what} as item {first}: remove one, or rename it")
