"""What a structural violation means to its author: what is wrong, and what would be right."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from jsonschema.exceptions import ValidationError

from tidegate_crds.schema import Schema
from tidegate_crds.wording import PATTERN_WORDS
from tidegate_operator.field_path import field_text
from tidegate_operator.offline import object_schema

_METADATA_WORDS = {
    object_schema.LABEL_VALUE_PATTERN: (
        "empty, or letters, digits and '-_.', beginning and ending with a letter or digit"
    ),
    object_schema.QUALIFIED_NAME_PATTERN: (
        "a name of at most 63 letters, digits and '-_.', optionally after a domain and '/'"
    ),
}
_TYPE_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a map of fields",
}
_MIN_PREFIX = 3
_QUOTES = {"string": "text; put it in quotes", "integer": "a whole number without quotes"}


class Wording(NamedTuple):
    """What is wrong, and what would be right."""

    message: str
    expected: str


def wording(error: ValidationError, spelling: str | None, root: Schema) -> Wording:
    """Both sentences for a violation; `spelling` is how an unquoted boolean was written, in value or key."""
    limit: Any = error.validator_value
    schema: Any = error.schema
    match error.validator:
        case "type":
            return _wrong_type(str(limit), error.instance, spelling)
        case "required":
            name = error.path[-1]
            return Wording("required", _purpose(schema.get("properties", {}).get(name, {})))
        case "additionalProperties":
            return _unknown_field(error, spelling, root)
        case "propertyNames":
            return Wording("not a valid name", f"must be {_pattern_words(str(limit.get('pattern')))}")
        case "enum":
            return Wording("not an allowed value", _choices(limit, error.instance))
        case "pattern":
            return Wording("not of the right form", f"must be {_pattern_words(str(limit))}")
        case "format":
            return Wording("not a point in time", "write it as RFC 3339, such as 2027-01-31T00:00:00Z, in quotes")
        case "x-kubernetes-list-type":
            return Wording("duplicate", _duplicate(schema))
        case "maxLength" | "minLength" | "maxItems" | "minItems" | "maxProperties" | "minProperties":
            return _limited(str(error.validator), limit, error.instance)
        case "minimum":
            return Wording("too small", f"must be at least {limit}")
        case "maximum":
            return Wording("too large", f"must be at most {limit}")
        case other:
            return Wording("not valid", f"see {other} of the schema")


def _wrong_type(wanted: str, value: Any, spelling: str | None) -> Wording:
    given = _given_type(value)
    if spelling is not None and wanted == "string":
        read = str(value).lower()
        return Wording(f"wrong type: YAML reads an unquoted {spelling} as {read}", f'write "{spelling}" in quotes')
    quoting = isinstance(value, str) if wanted == "integer" else isinstance(value, int | float)
    words = _QUOTES if quoting else _TYPE_WORDS
    return Wording(f"wrong type: {given}", f"must be {words.get(wanted, _TYPE_WORDS[wanted])}")


def _given_type(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case dict():
            return "a map"
        case _:
            return "nothing"


def _unknown_field(error: ValidationError, spelling: str | None, root: Schema) -> Wording:
    name = str(error.path[-1])
    schema: Any = error.schema
    known = list(schema.get("properties", {}))
    if spelling is not None:
        hint = f'write "{spelling}" in quotes' if spelling in known else f"known fields: {', '.join(known)}"
        return Wording(f"unknown field: YAML reads an unquoted {spelling} as {name}", hint)
    near = _nearest(name, known)
    if near:
        return Wording("unknown field", f"did you mean {near}?")
    elsewhere = list(_paths_of(name, root, ()))
    if 1 <= len(elsewhere) <= 2:
        return Wording("unknown field", f"{name} belongs to {' or '.join(map(field_text, elsewhere))}")
    return Wording("unknown field", f"known fields: {', '.join(known)}")


def _nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that was probably meant: same letters in another case or with `_` or `-`, or a near spelling."""
    folded = {candidate.casefold(): candidate for candidate in known}
    plain = name[:80].replace("_", "").replace("-", "").casefold()
    if plain in folded:
        return folded[plain]
    longer = [candidate for candidate in folded if len(plain) >= _MIN_PREFIX and candidate.startswith(plain)]
    near = longer if len(longer) == 1 else difflib.get_close_matches(plain, folded, n=1, cutoff=0.65)
    return folded[near[0]] if near else None


def _paths_of(name: str, node: Schema, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """Where else in spec a field of that name is known."""
    for child_name, child in node.get("properties", {}).items():
        if not path and child_name != "spec":
            continue
        if child_name == name:
            yield path
        yield from _paths_of(name, child, (*path, child_name))
    if isinstance(node.get("items"), dict):
        yield from _paths_of(name, node["items"], path)


def _purpose(schema: Schema) -> str:
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    description = str(schema.get("description", ""))
    return description[:1].lower() + description[1:].rstrip(".") if description else ""


def _choices(allowed: Sequence[Any], value: Any) -> str:
    near = _nearest(value, [str(item) for item in allowed]) if isinstance(value, str) else None
    hint = f"; did you mean {near}?" if near else ""
    return f"must be one of {', '.join(map(str, allowed))}{hint}"


def _pattern_words(pattern: str) -> str:
    return PATTERN_WORDS.get(pattern) or _METADATA_WORDS.get(pattern) or f"text that matches {pattern}"


def _duplicate(schema: Schema) -> str:
    keys = schema.get("x-kubernetes-list-map-keys")
    return f"give each item its own {' and '.join(keys)}" if keys else "remove one of the equal items"


def _limited(rule: str, limit: int, value: Any) -> Wording:
    noun = {"Length": "character", "Items": "item", "Properties": "entry"}[rule[3:]]
    nouns = noun if limit == 1 else "entries" if noun == "entry" else f"{noun}s"
    text = noun == "character"
    if rule.startswith("max"):
        return Wording(f"too {'long' if text else 'many'}: {len(value)}", f"must have at most {limit} {nouns}")
    problem = "empty" if not value else f"too {'short' if text else 'few'}: {len(value)}"
    return Wording(problem, f"must have at least {limit} {nouns}")
