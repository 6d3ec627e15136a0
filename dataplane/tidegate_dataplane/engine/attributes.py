"""The attributes that an expression reads, with their values, in words for operators. Never a caller's secret."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from tidegate_dataplane.expressions import ExpressionError
from tidegate_dataplane.expressions.environment import NOW
from tidegate_dataplane.expressions.references import Read, find_references

# Headers that carry a credential: an expression may look at them, an explanation never shows them.
SECRET_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "api-key", "x-api-key", "cookie", "x-forwarded-client-cert"}
)
_LONGEST: Final = 120
_MOST: Final = 12


def attributes_of(source: str, variables: Mapping[str, Any]) -> str:
    """E.g. `request.model = 'gpt-4o', request.headers['x-team'] is absent`; "" when the expression reads nothing."""
    parts = [text for read in _reads(source) for text in _read(read, variables)]
    rest = f" and {len(parts) - _MOST} more" if len(parts) > _MOST else ""
    return ", ".join(parts[:_MOST]) + rest


@lru_cache(maxsize=1024)
def _reads(source: str) -> tuple[Read, ...]:
    try:
        return find_references(source).reads
    except ExpressionError:
        return ()


def _read(read: Read, variables: Mapping[str, Any]) -> Iterator[str]:
    if read.root == NOW:
        yield f"now = {datetime.fromtimestamp(int(variables[NOW]), UTC):%Y-%m-%dT%H:%M:%SZ}"
        return
    value = variables.get(read.root, {}).get(read.member)
    name = f"{read.root}.{read.member}"
    if not isinstance(value, Mapping):
        yield f"{name} = {_shown(value)}"
        return
    for key in sorted(value if read.keys is None else read.keys):
        if key not in value:
            yield f"{name}['{key}'] is absent"
        elif read.member == "headers" and key in SECRET_HEADERS:
            yield f"{name}['{key}'] is given"
        else:
            yield f"{name}['{key}'] = {_shown(value[key])}"
    if read.keys is None and not value:
        yield f"{name} is empty"


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
