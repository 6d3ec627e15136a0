"""One form for one meaning: values equal to a default become that default.

The codec leaves out a field that holds the very default object, not one that holds an equal object. Without this pass
two entries of the same meaning could have different bytes.
"""

from collections.abc import Callable
from functools import cache
from operator import attrgetter, is_
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

_StructT = TypeVar("_StructT", bound=Struct)
# Of these a value has nothing inside it.
_PLAIN: Final = frozenset({str, int, bool, dict, bytes})


def canonical(entry: _StructT) -> _StructT:
    """The entry with every field, at any depth, that equals its default holding the default itself."""
    changes: dict[str, Any] | None = None
    names, defaults, values = _fields(type(entry))
    for name, default, value in zip(names, defaults, values(entry), strict=True):
        if value is default:
            continue
        if value == default and type(value) is type(default):
            fresh = default
        elif type(value) in _PLAIN:
            continue
        else:
            fresh = _inside(value)
        if fresh is not value:
            changes = changes if changes is not None else {}
            changes[name] = fresh
    return msgspec.structs.replace(entry, **changes) if changes else entry


def _inside(value: Any) -> Any:
    if isinstance(value, Struct):
        return canonical(value)
    if isinstance(value, tuple) and value and isinstance(value[0], Struct):
        fresh = tuple(map(canonical, value))
        return value if all(map(is_, fresh, value)) else fresh
    return value


class _Fields(NamedTuple):
    names: tuple[str, ...]
    defaults: tuple[Any, ...]
    values: Callable[[Struct], tuple[Any, ...]]


@cache
def _fields(struct: type[Struct]) -> _Fields:
    """Every field with its default (msgspec.NODEFAULT when it has none), and what reads them all at once."""
    fields = msgspec.structs.fields(struct)
    names = tuple(field.name for field in fields)
    return _Fields(names, tuple(field.default for field in fields), _reader(names))


def _reader(names: tuple[str, ...]) -> Callable[[Struct], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda entry: tuple(getattr(entry, name) for name in names)
