"""One form for one meaning: values equal to a default become that default.

The codec leaves out a field that holds the very default object, not one that holds an equal object. Without this pass
two entries of the same meaning could have different bytes.
"""

from functools import cache
from operator import is_
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

_StructT = TypeVar("_StructT", bound=Struct)


def canonical(entry: _StructT) -> _StructT:
    """The entry with every field, at any depth, that equals its default holding the default itself."""
    changes: dict[str, Any] = {}
    for name, default in _fields(type(entry)):
        value = getattr(entry, name)
        if value is default:
            continue
        fresh = default if value == default and type(value) is type(default) else _inside(value)
        if fresh is not value:
            changes[name] = fresh
    return msgspec.structs.replace(entry, **changes) if changes else entry


def _inside(value: Any) -> Any:
    if isinstance(value, Struct):
        return canonical(value)
    if isinstance(value, tuple) and value and isinstance(value[0], Struct):
        fresh = tuple(map(canonical, value))
        return value if all(map(is_, fresh, value)) else fresh
    return value


@cache
def _fields(struct: type[Struct]) -> tuple[tuple[str, Any], ...]:
    """Every field with its default (msgspec.NODEFAULT when it has none)."""
    return tuple((field.name, field.default) for field in msgspec.structs.fields(struct))
