"""Says what pydantic found wrong with a spec in words that name the field and what would be right.

No message repeats the value that was written: authors paste keys into the wrong field.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from tidegate_crds.v1alpha1.shapes import Shape
from tidegate_crds.wording import PATTERN_WORDS
from tidegate_operator.compile.problems import Problems
from tidegate_operator.compile.spec_shape import model_at

_MAX_REPORTED = 32
_MAX_STEP = 80
_SHA256 = r"^[0-9a-f]{64}$"

_TYPES = {
    "string_type": "text; put it in quotes",
    "int_type": "a whole number, without quotes",
    "int_from_float": "a whole number",
    "bool_type": "true or false, without quotes",
    "list_type": "a list",
    "dict_type": "a map of names and values",
    "model_type": "a map of fields",
    "model_attributes_type": "a map of fields",
}


def report(error: ValidationError, model: type[Shape], problems: Problems) -> None:
    """Turn every error of `model`'s validation into a Finding under `spec`."""
    for item in error.errors(include_url=False, include_input=False)[:_MAX_REPORTED]:
        location = item["loc"]
        problems.add(field_path(location), _message(item["type"], location, item.get("ctx", {}), model))


def field_path(location: Sequence[int | str], base: str = "spec") -> str:
    """`("targets", 0, "model")` is `spec.targets[0].model`."""
    return base + "".join(f"[{step}]" if isinstance(step, int) else f".{step[:_MAX_STEP]}" for step in location)


def _message(kind: str, location: tuple[int | str, ...], context: Mapping[str, Any], model: type[Shape]) -> str:
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}"
    if location and location[-1] == "sha256" and kind.startswith("string_too"):
        return f"must be {PATTERN_WORDS[_SHA256]}"
    match kind:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return _unknown_field(location, model)
        case "enum":
            return f"must be one of {context['expected']}"
        case "string_pattern_mismatch":
            return f"must be {PATTERN_WORDS.get(context['pattern'], 'text that matches ' + context['pattern'])}"
        case "string_too_short":
            return f"must have at least {_count(context['min_length'], 'character')}"
        case "string_too_long":
            return f"must have at most {_count(context['max_length'], 'character')}"
        case "too_short":
            return f"must have at least {_count(context['min_length'], 'item')}"
        case "too_long":
            return f"must have at most {_count(context['max_length'], 'item')}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "json_invalid":
            return "is nested too deeply or is not plain JSON"
        case _:
            return f"is not valid ({kind})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _unknown_field(location: tuple[int | str, ...], model: type[Shape]) -> str:
    name = str(location[-1])
    known = model_at(model, location[:-1])
    if not known:
        return "is not a field here: remove it"
    near = difflib.get_close_matches(name[:_MAX_STEP], known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"is not a field here; {hint}known are {', '.join(sorted(known))}"
