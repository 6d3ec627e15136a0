"""The attributes that an expression reads, with their values, in words for operators. Never a caller's secret."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from tidegate_dataplane.expressions.environment import NOW, SAMPLES, SECRET_HEADERS

# A member of a variable, perhaps with a key: `consumer.attributes.x`, `request.headers['x']`, `'x' in token.claims`.
_READ: Final = re.compile(
    r"""(?:['"]([^'"]*)['"]\s+in\s+)?\b(now|[a-z]+)\b(?:\.([A-Za-z]+)(?:\.([A-Za-z_]\w*)(?!\w*\()|\[['"]([^'"]*)['"]\])?)?"""
)
_LONGEST: Final = 120
_MOST: Final = 12


def attributes_of(source: str, variables: Mapping[str, Any]) -> str:
    """E.g. `request.model = 'gpt-4o', request.headers['x-team'] is absent`; "" when the expression reads nothing."""
    parts = [text for read in _reads(source) for text in _read(read, variables)]
    rest = f" and {len(parts) - _MOST} more" if len(parts) > _MOST else ""
    return ", ".join(parts[:_MOST]) + rest


class _Read(NamedTuple):
    """A member of a variable that an expression names, and the key that it looks up there ("" = none)."""

    root: str
    member: str
    key: str


@lru_cache(maxsize=1024)
def _reads(source: str) -> tuple[_Read, ...]:
    """Every attribute once, in the order of naming; a map without a key only where no key of it is named."""
    found: dict[_Read, None] = {}
    for match in _READ.finditer(source):
        before, root, member, dotted, quoted = match.groups()
        if root == NOW:
            found[_Read(NOW, "", "")] = None
        elif member in SAMPLES.get(root, {}):
            is_map = isinstance(SAMPLES[root][member], Mapping)
            found[_Read(root, member, (quoted or dotted or before or "") if is_map else "")] = None
    keyed = {(read.root, read.member) for read in found if read.key}
    return tuple(read for read in found if read.key or (read.root, read.member) not in keyed)


def _read(read: _Read, variables: Mapping[str, Any]) -> Iterator[str]:
    if read.root == NOW:
        yield f"now = {datetime.fromtimestamp(int(variables[NOW]), UTC):%Y-%m-%dT%H:%M:%SZ}"
        return
    value = variables.get(read.root, {}).get(read.member)
    name = f"{read.root}.{read.member}"
    if not isinstance(value, Mapping):
        yield f"{name} = {_shown(value)}"
    elif not read.key:
        yield f"{name} holds {_shown(sorted(value))}"
    elif read.key not in value:
        yield f"{name}['{read.key}'] is absent"
    elif read.key in SECRET_HEADERS:
        yield f"{name}['{read.key}'] is given"
    else:
        yield f"{name}['{read.key}'] = {_shown(value[read.key])}"


def _shown(value: object) -> str:
    match value:
        case str():
            text = f"'{value}'"
        case bool():
            text = str(value).lower()
        case list() | tuple() | set() | frozenset():
            items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
            text = f"[{', '.join(_shown(item) for item in items)}]"
        case _:
            text = str(value)
    printable = "".join(sign if sign.isprintable() else "�" for sign in text[: _LONGEST + 1])
    return printable if len(text) <= _LONGEST else f"{printable[:_LONGEST]}…"
