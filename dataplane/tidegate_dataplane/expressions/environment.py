"""What an expression may name: the variables, their members, and the functions (CEL's own unless said otherwise)."""

from datetime import UTC, datetime
from typing import Final

# Members of the variables, with a sample of each member's type. `now` is a timestamp (whole seconds).
SAMPLES: Final[dict[str, dict[str, object]]] = {
    "request": {
        "model": "gpt-4o-mini",
        "operation": "Chat",
        "path": "/v1/chat/completions",
        "host": "ai.example.com",
        "headers": {},
        "address": "192.0.2.1",
        "bodyBytes": 600,
    },
    "consumer": {
        "name": "search",
        "namespace": "team-a",
        "type": "Application",
        "team": "search",
        "tier": "premium",
        "roles": ["inference"],
        "attributes": {},
    },
    "route": {"name": "chat", "namespace": "team-a"},
}
SAMPLE_NOW: Final = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
NOW: Final = "now"
ROOTS: Final = frozenset({*SAMPLES, NOW})
MAPS: Final = frozenset({("request", "headers"), ("consumer", "attributes")})

MACROS: Final = frozenset({"all", "exists", "exists_one", "map", "filter"})
# Accessors of timestamps; with a time zone they are ours (see clock.py).
CLOCK: Final = frozenset(
    {
        "getFullYear",
        "getMonth",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getHours",
        "getMinutes",
        "getSeconds",
        "getMilliseconds",
    }
)
FUNCTIONS: Final = MACROS | CLOCK | {
    "has", "size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "string", "bytes",
    "timestamp", "duration", "type", "dyn",
}  # fmt: skip
# Names of types, as in `type(x) == string`.
TYPES: Final = frozenset(
    {"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type", "timestamp", "duration"}
)
