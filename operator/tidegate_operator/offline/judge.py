"""The verdict of the CRD schemas on one manifest."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from jsonschema.exceptions import ValidationError

from tidegate_crds.definition import open_api_schema
from tidegate_operator.field_path import FieldPath
from tidegate_operator.manifests import API_VERSION, Manifest
from tidegate_operator.offline.cel_rules import Violation, rule_violations
from tidegate_operator.offline.messages import wording
from tidegate_operator.offline.object_schema import CONFIG_MAP_SCHEMA, SECRET_SCHEMA, object_schema
from tidegate_operator.offline.secret_data import config_map_data, secret_data
from tidegate_operator.offline.stored_form import stored_form, without_null_metadata
from tidegate_operator.offline.structure import structural_errors
from tidegate_operator.problems import Problem

MAX_PROBLEMS = 50
"""Reported for one object; what follows is repetition."""

# After these a rule would speak of a value that is not there or not of its type.
_UNREADABLE = ("type", "required", "enum", "additionalProperties")
_TOLD_FIRST = {"type": 0, "maxLength": 1, "pattern": 2}
_ANNOTATIONS_LIMIT = 256 * 1024


def schema_problems(manifest: Manifest) -> list[Problem]:
    """What an API server with Tidegate's CRDs and strict field validation would refuse, in the order of lines.

    Judges one of Tidegate's kinds, a Secret or a list. References to other objects are not looked at.
    """
    if manifest.api_version != API_VERSION:
        whole = without_null_metadata({name: part for name, part in manifest.raw.items() if part is not None})
        schema = SECRET_SCHEMA if manifest.is_secret else CONFIG_MAP_SCHEMA
        found = [*_structure_problems(manifest, whole, schema)[0], *_data_problems(manifest)]
    else:
        stored = without_null_metadata(stored_form(manifest.raw, open_api_schema(manifest.kind)))
        structure, unreadable = _structure_problems(manifest, stored, object_schema(manifest.kind))
        found = [*structure, *_rule_problems(manifest, stored, unreadable)]
    found += _annotation_problems(manifest)
    return sorted(found, key=lambda problem: (problem.line, problem.column or 0, problem.field, problem.message))


def _structure_problems(manifest: Manifest, value: Any, schema: dict[str, Any]) -> tuple[list[Problem], set[FieldPath]]:
    errors = list(islice(structural_errors(value, schema), MAX_PROBLEMS))
    # One violation of a field is told: what has the wrong form is often too short or too long as well.
    told: dict[FieldPath, ValidationError] = {}
    for error in sorted(errors, key=lambda error: _TOLD_FIRST.get(str(error.validator), len(_TOLD_FIRST))):
        told.setdefault(tuple(error.absolute_path), error)
    unreadable = {tuple(error.absolute_path) for error in errors if error.validator in _UNREADABLE}
    return list(_worded(manifest, told.values(), schema)), unreadable


def _worded(manifest: Manifest, errors: Iterable[ValidationError], schema: dict[str, Any]) -> Iterator[Problem]:
    for error in errors:
        path = tuple(error.absolute_path)
        in_key = error.validator == "additionalProperties"
        spelling = manifest.spelling_of((*path, "") if in_key else path)
        words = wording(error, spelling, schema)
        yield manifest.problem(path, words.message, expected=words.expected)


def _rule_problems(manifest: Manifest, stored: Any, unreadable: set[FieldPath]) -> Iterator[Problem]:
    for violation in rule_violations(stored, open_api_schema(manifest.kind), unreadable):
        yield manifest.problem(violation.path, _without_path(violation))


def _without_path(violation: Violation) -> str:
    """The message without the general path that some begin with: the exact one stands beside it."""
    general = "".join("[]" if isinstance(step, int) else f".{step}" for step in violation.path).lstrip(".")
    return violation.message.removeprefix(f"{general}: ")


def _data_problems(manifest: Manifest) -> Iterator[Problem]:
    read = secret_data if manifest.is_secret else config_map_data
    for path, message, expected in read(manifest.raw)[1]:
        yield manifest.problem(path, message, expected=expected)


def _annotation_problems(manifest: Manifest) -> Iterator[Problem]:
    annotations = manifest.metadata.get("annotations")
    if not isinstance(annotations, dict):
        return
    texts = [(name, value) for name, value in annotations.items() if isinstance(value, str)]
    size = sum(len(name.encode()) + len(value.encode()) for name, value in texts)
    if size > _ANNOTATIONS_LIMIT:
        yield manifest.problem(
            "metadata.annotations", f"too long: {size} bytes", expected=f"must have at most {_ANNOTATIONS_LIMIT} bytes"
        )
