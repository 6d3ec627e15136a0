"""Structural validation: jsonschema, extended by the keywords that Kubernetes adds and reads in its own way."""

import datetime
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from tidegate_crds.schema import Schema

_TIME = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|[+-][0-9]{2}:[0-9]{2})")


def structural_errors(value: Any, schema: Schema) -> Iterator[ValidationError]:
    """Every violation; `absolute_path` leads to the field, a missing or unknown one included."""
    errors: Iterator[ValidationError] = _Validator(schema).iter_errors(value)
    return errors


def is_date_time(text: str) -> bool:
    """Whether the API server takes it for the format date-time (kube-openapi, strfmt.IsDateTime)."""
    date, _, rest = text.lower().partition("t")
    time = _TIME.fullmatch(rest.split("t")[0])
    if time is None or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", date):
        return False
    try:
        datetime.date.fromisoformat(date)
    except ValueError:
        return False
    return time[1] <= "23" and time[2] <= "59" and time[3] <= "59"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """The pattern as RE2 reads it: `$` is the end of the text, where Python also accepts a newline before it."""
    ending = re.sub(r"(?<!\\)\$$", r"\\Z", pattern)
    return re.compile(ending, re.ASCII)


def _pattern(validator: Any, pattern: str, value: Any, schema: Schema) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _compiled(pattern).search(value):
        yield ValidationError("pattern")


def _format(validator: Any, name: str, value: Any, schema: Schema) -> Iterator[ValidationError]:
    if name == "date-time" and isinstance(value, str) and not is_date_time(value):
        yield ValidationError("format")


def _required(validator: Any, names: list[str], value: Any, schema: Schema) -> Iterator[ValidationError]:
    if isinstance(value, dict):
        for name in names:
            if name not in value:
                yield ValidationError("required", path=[name])


def _additional_properties(validator: Any, others: Any, value: Any, schema: Schema) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    known: Mapping[str, Schema] = schema.get("properties", {})
    for name, item in value.items():
        if name in known:
            continue
        if others is False:
            yield ValidationError("unknown", path=[name])
        else:
            yield from validator.descend(item, others, path=name)


def _property_names(validator: Any, names: Schema, value: Any, schema: Schema) -> Iterator[ValidationError]:
    if isinstance(value, dict):
        for name in value:
            if any(True for _ in validator.evolve(schema=names).iter_errors(name)):
                yield ValidationError("name", path=[name])


def _list_type(validator: Any, list_type: str, value: Any, schema: Schema) -> Iterator[ValidationError]:
    """Duplicates in sets, and in maps by their keys; the later one is at fault."""
    if not isinstance(value, list) or list_type not in ("set", "map"):
        return
    keys: list[str] = schema.get("x-kubernetes-list-map-keys", [])
    seen: set[str] = set()
    for index, item in enumerate(value):
        if keys and not isinstance(item, dict):
            continue
        identity = json.dumps([item.get(key) for key in keys] if keys else item, sort_keys=True)
        if identity in seen:
            yield ValidationError("duplicate", path=[index, *keys[:1]])
        seen.add(identity)


_extend: Any = extend
_Validator = _extend(
    Draft202012Validator,
    {
        "pattern": _pattern,
        "format": _format,
        "required": _required,
        "additionalProperties": _additional_properties,
        "propertyNames": _property_names,
        "x-kubernetes-list-type": _list_type,
    },
)
