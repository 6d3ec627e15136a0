"""Two specs field by field, in the words of their author. Items of lists are told apart by what names them."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tidegate_operator.compile.durations import parse_duration
from tidegate_operator.difference.effect import FieldChange

_LONGEST = 100
_MISSING: Any = object()
_PLAIN = re.compile(r"[A-Za-z_][-A-Za-z0-9_]*")
# Too long to be read, or nothing to be shown.
_NEVER_SHOWN = ("sha256", "jwks", "caBundle")


def field_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    """What differs, in the order of the new spec; `60s` and `1m` are the same."""
    return tuple(_differences("spec", old, new))


def _differences(path: str, old: Any, new: Any) -> Iterator[FieldChange]:
    if old == new and type(old) is type(new):
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys((*new, *old)):
            yield from _differences(_below(path, name), old.get(name, _MISSING), new.get(name, _MISSING))
    elif isinstance(old, list) and isinstance(new, list):
        yield from _of_lists(path, old, new)
    elif not _same_duration(old, new):
        yield FieldChange(path, _shown(path, old), _shown(path, new))


def _of_lists(path: str, old: list[Any], new: list[Any]) -> Iterator[FieldChange]:
    before, after = _named(old), _named(new)
    if before is None or after is None:
        gone = [item for item in old if item not in new]
        come = [item for item in new if item not in old]
        if gone or come:
            yield FieldChange(path, _items(path, gone), _items(path, come))
        elif old != new:
            yield FieldChange(path, _shown(path, old), _shown(path, new))
        return
    for name in dict.fromkeys((*after, *before)):
        yield from _differences(f"{path}[{name}]", before.get(name, _MISSING), after.get(name, _MISSING))


def _items(path: str, items: list[Any]) -> str:
    return ", ".join(_shown(path, item) for item in items)


def _named(items: list[Any]) -> dict[str, Any] | None:
    """Items by their names; None where they have none of their own."""
    found: dict[str, Any] = {}
    for item in items:
        name = _name_of(item)
        if name is None or name in found:
            return None
        found[name] = item
    return found


def _name_of(item: Any) -> str | None:
    if not isinstance(item, dict):
        return None
    if isinstance(item.get("name"), str):
        return str(item["name"])
    backend = item.get("backendRef")
    if isinstance(backend, dict):
        words = (backend.get("namespace"), backend.get("name"), item.get("model"))
        return " ".join(str(word) for word in words if word)
    if isinstance(item.get("unit"), str):
        window = item.get("window")
        over = window.get("calendar") or window.get("sliding") if isinstance(window, dict) else None
        return f"{item['unit']} per {over}" if over else str(item["unit"])
    return None


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if _PLAIN.fullmatch(name) else f"{path}[{name}]"


def _same_duration(old: Any, new: Any) -> bool:
    if not (isinstance(old, str) and isinstance(new, str)):
        return False
    one, other = _duration(old), _duration(new)
    return one is not None and one == other


def _duration(text: str) -> int | None:
    try:
        return parse_duration(text)
    except ValueError:
        return None


def _shown(path: str, value: Any) -> str:
    """A value in one line; "" where there is none."""
    if value is _MISSING:
        return ""
    if path.rpartition(".")[2] in _NEVER_SHOWN:
        return "(not shown)"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    text = "".join(sign if sign.isprintable() else " " for sign in text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
