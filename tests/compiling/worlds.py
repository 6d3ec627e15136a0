"""Hypothesis strategies for Worlds: few names, so that objects meet; some specs wrong, some references refused."""

from typing import Any

from hypothesis import strategies as st

from tidegate_dataplane.snapshot.entries import ClusterFacts
from tidegate_operator.world import Facts, Kind, ObjectKey, Resource, SecretKey, World

FACTS = Facts(platform_namespace="platform", cluster=ClusterFacts(cloud="azure", labels={"stage": "prod"}))
NAMESPACES = ("platform", "team-a", "team-b")
NAMES = ("one", "two", "three")

namespaces = st.sampled_from(NAMESPACES)
names = st.sampled_from(NAMES)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def some(values: tuple[Any, ...], least: int = 0, most: int = 3) -> st.SearchStrategy[list[Any]]:
    """Distinct values of a few."""
    return st.lists(st.sampled_from(values), min_size=least, max_size=most, unique=True)


placements: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        None,
        None,
        {"clusterSelector": {}},
        {"clusterSelector": {"matchLabels": {"cloud": "azure"}}},
        {"clusterSelector": {"matchLabels": {"cloud": "aws"}}},
        {"clusterSelector": {"matchLabels": {"stage": "prod", "region": "x"}}},
    ]
)
secret_refs = st.fixed_dictionaries({"name": names, "key": st.sampled_from(["key", "other"])})


def spec(required: dict[str, Any], optional: dict[str, Any] | None = None) -> st.SearchStrategy[dict[str, Any]]:
    """A spec with a placement at times; fields of the value None are left out."""
    fields = st.fixed_dictionaries({**required, "placement": placements}, optional=optional or {})
    return fields.map(lambda given: {name: value for name, value in given.items() if value is not None})


backends = st.one_of(
    spec(
        {"provider": st.just("Mock")},
        {
            "allowedNamespaces": some(("*", *NAMESPACES)),
            "models": some(("m", "n", "o")).map(lambda models: [{"name": model} for model in models]),
        },
    ),
    spec(
        {"provider": st.just("OpenAI"), "endpoint": st.just("https://example.com/v1")},
        {
            "credential": st.fixed_dictionaries({"secretRef": secret_refs}),
            "connectTimeout": st.sampled_from(["5s", "1ms", "0s", "2h"]),
            "allowedNamespaces": some(("*", *NAMESPACES)),
        },
    ),
)
targets = st.fixed_dictionaries(
    {"backendRef": st.fixed_dictionaries({"name": names}, optional={"namespace": namespaces})},
    optional={"model": st.sampled_from(["m", "n"]), "weight": st.integers(0, 2), "priority": st.integers(0, 1)},
)
plans = st.sampled_from(
    [
        {"plans": [{"name": "basic"}]},
        {"plans": [{"name": "basic"}, {"name": "gold", "rateLimit": {"requests": 5}}]},
        {"plans": [{"name": "gold", "rateLimit": {"requests": 5, "period": "2h"}}]},
    ]
)
routes = spec(
    {"models": some(("m", "n", "m*", "*"), least=1), "targets": st.lists(targets, min_size=1, max_size=3)},
    {
        "hostnames": some(("a.example.com", "*.example.com"), most=2),
        "operations": some(("Chat", "Embeddings"), most=2),
        "pathPrefix": st.sampled_from(["/v1", "/", "/a/v1"]),
        "timeout": st.sampled_from(["60s", "1m", "5s", "2h"]),
        "match": st.just({"headers": [{"name": "x-a", "value": "1"}]}),
        "allowedNamespaces": some(("*", *NAMESPACES)),
        "subscription": plans,
    },
)
target_refs = st.lists(
    st.one_of(
        st.just({"kind": "Namespace"}),
        st.just({"kind": "Gateway"}),
        names.map(lambda name: {"kind": "AIRoute", "name": name}),
    ),
    min_size=1,
    max_size=2,
)
policies = spec(
    {"targetRefs": target_refs},
    {
        "strength": st.sampled_from(["Required", "Default"]),
        "mode": st.sampled_from(["Enforce", "Shadow"]),
        "authentication": some(("APIKey", "Anonymous"), least=1).map(lambda methods: {"methods": methods}),
        "rateLimits": st.just([{"name": "r", "requests": 5}]),
        "authorization": st.sampled_from(["request.model == 'm'", "request.", "nothing"]).map(
            lambda when: {"rules": [{"name": "a", "effect": "Deny", "when": when}]}
        ),
    },
)
windows = st.sampled_from([{"calendar": "Day"}, {"calendar": "Day", "timeZone": "UTC"}, {"sliding": "24h"}, {}])
quotas = spec(
    {
        "targetRefs": target_refs,
        "limits": st.lists(
            st.fixed_dictionaries(
                {"unit": st.just("Tokens"), "amount": st.just("5"), "window": windows},
                optional={"onExceed": st.sampled_from(["Block", "Fallback"])},
            ),
            min_size=1,
            max_size=2,
        ),
    },
    {
        "parent": names,
        "share": st.sampled_from([{}, {"one": 60, "two": 40}, {"": 100}]),
        "notify": st.fixed_dictionaries({"url": st.just("https://example.com/hook"), "secretRef": secret_refs}),
        "accuracy": st.sampled_from(["Local", "Exact", "Leased"]),
        "grants": st.just(
            [{"name": "g", "unit": "Cost", "amount": "1.5", "reason": "r", "notAfter": "2027-01-01T00:00:00Z"}]
        ),
    },
)
api_keys = st.one_of(
    st.fixed_dictionaries({"name": names, "secretRef": secret_refs}),
    st.fixed_dictionaries({"name": names, "sha256": st.sampled_from(["0" * 64, "1" * 64])}),
)
consumers = spec(
    {},
    {
        "tier": st.sampled_from(["free", "premium", ""]),
        "credentials": st.lists(api_keys, max_size=2).map(lambda keys: {"apiKeys": keys}),
    },
)
ends = st.sampled_from(["2026-01-01T00:00:00Z", "2027-01-01T00:00:00+01:00", "2027"])
subscriptions = spec(
    {
        "consumerRef": st.fixed_dictionaries({"name": names}),
        "routeRef": st.fixed_dictionaries({"name": names}, optional={"namespace": namespaces}),
        "plan": st.sampled_from(["basic", "gold"]),
        "reason": st.just("to try it"),
    },
    {"notAfter": ends},
)
approvals = st.one_of(
    spec(
        {
            "subscription": st.fixed_dictionaries(
                {
                    "namespace": namespaces,
                    "name": names,
                    "consumer": names,
                    "route": names,
                    "plan": st.sampled_from(["basic", "gold"]),
                }
            )
        },
        {"notAfter": ends, "revoked": st.sampled_from([False, False, True])},
    ),
    spec(
        {
            "request": st.fixed_dictionaries({"id": st.sampled_from(["apr-aaaaaaaa", "apr-bbbbbbbb"]), "route": names}),
            "notAfter": st.sampled_from(["1970-01-02T00:00:00Z", "2027-01-01T00:00:00Z"]),
        },
        {"revoked": st.booleans()},
    ),
)
SPECS: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.BACKEND: backends,
    Kind.ROUTE: routes,
    Kind.POLICY: policies,
    Kind.QUOTA: quotas,
    Kind.CONSUMER: consumers,
    Kind.SUBSCRIPTION: subscriptions,
    Kind.APPROVAL: approvals,
}


@st.composite
def hostile_specs(draw: st.DrawFn, kind: Kind) -> Any:
    """A spec with one part replaced by nonsense, or nonsense altogether."""
    if draw(st.booleans()):
        return draw(json_values)
    given = dict(draw(SPECS[kind]))
    given[draw(st.sampled_from([*given, "surprise"]))] = draw(json_values)
    return given


@st.composite
def resources(draw: st.DrawFn, *, hostile: bool = True) -> Resource:
    """One object of any kind; about one in six with a hostile spec."""
    kind = draw(st.sampled_from(list(Kind)))
    wild = hostile and draw(st.integers(0, 5)) == 0
    return Resource(
        key=ObjectKey(kind, draw(namespaces), draw(names)),
        spec=draw(hostile_specs(kind) if wild else SPECS[kind]),
        generation=draw(st.integers(1, 3)),
        uid=draw(st.sampled_from(["first", "first", "first", "second"])),
        created=draw(st.integers(0, 3)),
    )


secret_contents = st.dictionaries(
    st.sampled_from(["key", "other"]),
    st.sampled_from(
        [b"long-enough-to-be-a-key-1", b"long-enough-to-be-a-key-2\n", b"short", b"\x00" * 20, b"\xff" * 20]
    ),
)
secrets = st.dictionaries(st.builds(SecretKey, namespaces, names), secret_contents, max_size=6)


@st.composite
def worlds(draw: st.DrawFn, *, most: int = 14) -> World:
    """A World of up to `most` objects."""
    drawn = draw(st.lists(resources(), max_size=most, unique_by=lambda resource: resource.key))
    return World({resource.key: resource for resource in drawn}, draw(secrets))
