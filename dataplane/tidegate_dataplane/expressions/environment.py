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
        # Who calls, as far as trusted proxies can tell; `peer` is the other end of the connection itself.
        "address": "192.0.2.1",
        "peer": "192.0.2.1",
        # Headers, but only of requests that a trusted proxy sent: what it says of the caller's device and network.
        "proxyHeaders": {},
        "bodyBytes": 600,
    },
    "consumer": {
        "name": "search",
        "namespace": "team-a",
        "type": "Application",
        "team": "search",
        "tier": "premium",
        # The plan that it has subscribed to on this route; "" where the route asks for no subscription.
        "plan": "basic",
        "roles": ("inference",),
        "attributes": {},
        "methods": ("APIKey",),
    },
    # Of the token that the caller sent, if any: empty texts and no claims when there is none. `authTime` is a
    # timestamp (of seconds since the epoch in the variables), 1970-01-01T00:00:00Z when the token does not say.
    "token": {"issuer": "https://idp.example.com", "subject": "app-42", "acr": "", "authTime": 0, "claims": {}},
    "route": {"name": "chat", "namespace": "team-a"},
    # A target's backend, and the model it is asked for: a rule that reads these decides target by target.
    "backend": {
        "name": "openai-eu",
        "namespace": "team-a",
        "provider": "OpenAI",
        "model": "gpt-4o-mini",
        "version": "2024-07-18",
        "cloud": "azure",
        "region": "westeurope",
        "jurisdiction": "EU",
    },
    # What a call has used; before the call, what it may use at most. Cost is in dollars.
    "usage": {
        "requests": 1,
        "tokens": 1500,
        "inputTokens": 1000,
        "outputTokens": 500,
        "cachedTokens": 200,
        "cost": 0.0125,
        "seconds": 2.5,
    },
}
SAMPLE_NOW: Final = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
NOW: Final = "now"
BACKEND: Final = "backend"
USAGE: Final = "usage"
RULE_ROOTS: Final = frozenset({*SAMPLES, NOW}) - {USAGE}
CALL_ROOTS: Final = RULE_ROOTS - {BACKEND}
MAPPING_ROOTS: Final = frozenset({"token"})
USAGE_ROOTS: Final = frozenset({USAGE})
MAPS: Final = frozenset(
    {("request", "headers"), ("request", "proxyHeaders"), ("consumer", "attributes"), ("token", "claims")}
)
LOWER_CASE_KEYS: Final = frozenset({("request", "headers"), ("request", "proxyHeaders")})
# What a key of this map holds may be of any JSON type.
CLAIMS: Final = ("token", "claims")
TIMES: Final = frozenset({("token", "authTime")})
# What a claim may hold; an expression is right when it has a value for one of these.
CLAIM_SAMPLES: Final[tuple[object, ...]] = ("1", ["1"], 1, True, {}, [{}], 1.5)

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
# Ours: `request.address.inNetwork('10.0.0.0/8')` (see networks.py).
IN_NETWORK: Final = "inNetwork"
FUNCTIONS: Final = MACROS | CLOCK | {
    "has", "size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "string", "bytes",
    "timestamp", "duration", "type", "dyn", IN_NETWORK,
}  # fmt: skip
# Names of types, as in `type(x) == string`.
TYPES: Final = frozenset(
    {"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type", "timestamp", "duration"}
)
# Headers that carry a credential: a rule may look at them; what is shown to anybody must not come from them.
SECRET_HEADERS: Final = frozenset(
    {"authorization", "proxy-authorization", "api-key", "x-api-key", "cookie", "x-forwarded-client-cert"}
)
