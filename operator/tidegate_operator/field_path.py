"""Paths of fields: as tuples for programs, as text (`spec.targets[0].weight`) for people."""

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

FieldPath: TypeAlias = tuple[str | int, ...]
"""Names and list indexes from the root of an object."""

_MAX_STEP = 80
_PLAIN_NAME = re.compile(r"[A-Za-z_$][-A-Za-z0-9_$]*")
_STEP = re.compile(r"\[(?P<inside>[^\]]*)\]|(?P<name>[^.\[]+)")


def field_text(path: Sequence[str | int]) -> str:
    """`("spec", "targets", 0)` is `spec.targets[0]`; a key that is no plain name stands in brackets, as in kubectl."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_NAME.fullmatch(step):
            text += f".{step[:_MAX_STEP]}" if text else step[:_MAX_STEP]
        else:
            text += f"[{step[:_MAX_STEP]}]"
    return text


def field_path(text: str) -> FieldPath:
    """The inverse of `field_text`; text that is no path gives what can be read of it."""
    return tuple(_steps(_STEP.finditer(text)))


def _steps(matches: Iterable[re.Match[str]]) -> Iterable[str | int]:
    for match in matches:
        inside = match["inside"]
        if inside is None:
            yield match["name"]
        else:
            yield int(inside) if inside.isascii() and inside.isdigit() and len(inside) < 10 else inside
