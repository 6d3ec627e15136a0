"""Evaluates the `x-kubernetes-validations` of a schema, as the API server does after defaulting."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tidegate_crds.schema import Schema
from tidegate_operator.cel_rule import rule_holds
from tidegate_operator.field_path import FieldPath, field_path


class Violation(NamedTuple):
    """A rule that does not hold at `path`."""

    path: FieldPath
    message: str


def rule_violations(
    value: Any, schema: Schema, unreadable: set[FieldPath], path: FieldPath = ()
) -> Iterator[Violation]:
    """Every rule that fails. Rules of a value with a path of `unreadable` at it or directly in it are not evaluated."""
    if path not in unreadable and not any(broken[:-1] == path for broken in unreadable):
        for rule in schema.get("x-kubernetes-validations", ()):
            problem = _failure(rule, value)
            if problem is not None:
                yield Violation((*path, *field_path(rule.get("fieldPath", ""))), problem)
    if isinstance(value, dict):
        for name, item in value.items():
            child = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if isinstance(child, dict):
                yield from rule_violations(item, child, unreadable, (*path, name))
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            yield from rule_violations(item, schema["items"], unreadable, (*path, index))


def _failure(rule: Schema, value: Any) -> str | None:
    holds = rule_holds(rule["rule"], value)
    if holds is None:
        return f"{rule['message']} (the rule could not be evaluated on this value)"
    return None if holds else str(rule["message"])
