"""Laws of deciding, on random small worlds: matching, tightening, explaining, reloading."""

from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samples.snapshots import (
    NOON,
    Entry,
    attach,
    backend,
    call,
    consumer,
    key_entry,
    key_of,
    limit,
    policy,
    quota,
    rate,
    route,
    runtime_of,
    snapshot,
)
from tidegate_dataplane.engine import Call, Decision, Denial, Step, decide, explain, visible_models
from tidegate_dataplane.engine.decision import methods_of
from tidegate_dataplane.runtime import EMPTY, Runtime, build
from tidegate_dataplane.snapshot.entries import (
    Effect,
    Location,
    Method,
    Mode,
    Operation,
    PlanEntry,
    PolicyEntry,
    RateLimitScope,
    RouteEntry,
    RuleEntry,
    Section,
    SubscriberEntry,
    TargetEntry,
    Unavailable,
)

HOSTS = ("a.example.com", "b.a.example.com", "c.b.a.example.com", "example.com", "other.org")
CLAIMED_HOSTS = (*HOSTS, "*.example.com", "*.a.example.com", "*.org")
BASES = ("/", "/v1", "/v1/x", "/v1/x/y", "/v2", "/v11")
MODELS = ("g", "gpt", "gpt-4", "gpt-4o", "llama", "")
CLAIMED_MODELS = (*MODELS[:-1], "*", "g*", "gpt*", "gpt-4*")
OPERATIONS = (Operation.CHAT, Operation.EMBEDDINGS)
HEADERS = (("x-a", "1"), ("x-a", "2"), ("x-b", "1"))
NAMESPACES = ("team-a", "team-b")
ROLES = ("r1", "r2")
WHENS = (
    "",
    "request.model == 'gpt-4'",
    "consumer.team == 'red'",
    "request.headers['x-a'] == '1'",
    "now.getHours('Europe/Berlin') < 7 || request.bodyBytes > 500",
    "backend.namespace == 'team-a'",
    "backend.jurisdiction == 'EU' || request.headers['x-a'] == '1'",
)
POLICIES = tuple(f"team-a/p{number}" for number in range(4))
QUOTAS = ("team-a/q0", "team-a/q1")
BACKENDS = ("team-a/mock", "team-b/mock")
CALLERS = (*((key_of(f"{namespace}/c{number}"),) for namespace in NAMESPACES for number in (0, 1)), (), ("wrong",))
SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large)
thorough = settings(max_examples=100, suppress_health_check=SLOW)


def some(values: Sequence[Any], *, least: int = 0, most: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), min_size=least, max_size=most, unique=True).map(tuple)


keys = st.builds("{}/r{}".format, st.sampled_from(NAMESPACES), st.integers(0, 6))


def often(usual: Any, other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly the usual value: else hardly any random call would come as far as the rules."""
    return st.one_of(st.just(usual), st.just(usual), st.just(usual), other)


rules = st.builds(
    RuleEntry,
    name=st.sampled_from(("one", "two", "three")),
    effect=st.sampled_from(Effect),
    roles=some(ROLES),
    models=often((), some(CLAIMED_MODELS)),
    operations=often((), some(OPERATIONS)),
    versions=often((), st.sampled_from((("1",), ("2", "3*"), ("*",)))),
    when=st.sampled_from(WHENS),
)
policies = st.builds(
    policy,
    st.sampled_from(POLICIES),
    generation=st.integers(1, 3),
    mode=st.sampled_from((Mode.ENFORCE, Mode.ENFORCE, Mode.SHADOW)),
    methods=often((Method.API_KEY,), st.none() | some(tuple(Method), most=2)),
    rules=st.lists(rules, min_size=1, max_size=3).map(tuple) | st.none(),
    rate_limits=st.none() | st.builds(rate, per=st.sampled_from(RateLimitScope)).map(lambda one: (one,)),
)
attachments = some(POLICIES, least=1, most=4).flatmap(
    lambda names: st.tuples(*(often(tuple(Section), some(tuple(Section), least=1, most=3)) for _ in names)).map(
        lambda sections: tuple(attach(name, sections=part)[0] for name, part in zip(names, sections, strict=True))
    )
)
routes = st.builds(
    route,
    keys,
    created=st.integers(0, 2),
    generation=st.integers(1, 3),
    hostnames=often((), some(CLAIMED_HOSTS)),
    path_prefix=often("/", st.sampled_from(BASES)),
    models=some(CLAIMED_MODELS, least=1, most=3),
    operations=often(OPERATIONS, some(OPERATIONS, least=1)),
    headers=often((), some(HEADERS).map(lambda pairs: tuple(sorted(dict(pairs).items())))),
    allowed_namespaces=often(("*",), some(NAMESPACES, most=1)),
    policies=attachments,
    quotas=often(QUOTAS, some(QUOTAS)),
    targets=often(
        (TargetEntry(backend=BACKENDS[0]),),
        st.lists(st.builds(TargetEntry, backend=st.sampled_from(BACKENDS)), max_size=2).map(tuple),
    ),
    unavailable=often((), st.just((Unavailable(kind="AIPolicy", key="team-a/never"),))),
    plans=often(None, st.just((PlanEntry(name="basic", requests=5, burst=5), PlanEntry(name="gold")))),
    subscribers=st.lists(
        st.builds(
            SubscriberEntry,
            subscription=st.sampled_from(("team-a/s0", "team-a/s1")),
            consumer=st.builds("{}/c{}".format, st.sampled_from(NAMESPACES), st.integers(0, 1)),
            plan=st.sampled_from(("basic", "gold")),
            not_after=st.sampled_from((None, int(NOON) - 1, int(NOON) + 1)),
        ),
        max_size=4,
    ).map(tuple),
)
names = st.builds("{}/c{}".format, st.sampled_from(NAMESPACES), st.integers(0, 2))
own_keys = st.builds(
    consumer,
    names,
    created=st.integers(0, 2),
    roles=some(ROLES),
    team=st.sampled_from(("red", "blue")),
    suspended=st.sampled_from((False, False, False, True)),
)
# Some name the key of another: who has it must not depend on the order of edits.
same_key = st.builds(
    consumer, names, created=st.integers(0, 2), keys=st.just((key_entry(key_of("team-a/c0")),)), roles=some(ROLES)
)
consumers = own_keys | same_key
quotas = st.builds(quota, st.sampled_from(QUOTAS), st.builds(limit, amount=st.integers(1, 9)))
backends = st.builds(
    backend,
    st.sampled_from(BACKENDS),
    endpoint=st.sampled_from(("", "http://b.example.com")),
    versions=st.sampled_from(({}, {"gpt-4": "1"}, {"gpt-4": "2", "gpt-4o": "30"})),
    location=st.none() | st.builds(Location, jurisdiction=st.sampled_from(("EU", "US"))),
)
entries = st.one_of(routes, routes, policies, consumers, quotas, backends)
calls = st.builds(
    call,
    host=st.sampled_from(HOSTS),
    base=st.sampled_from(BASES),
    operation=st.sampled_from(OPERATIONS),
    model=st.sampled_from(MODELS),
    headers=some(HEADERS).map(dict),
    keys=st.sampled_from(CALLERS),
    body_bytes=st.sampled_from((0, 1000)),
)


def probes(asked: Call) -> list[Call]:
    """The call, by each caller, for each model and operation."""
    return [
        changed(asked, keys=keys, model=model, operation=operation)
        for keys in CALLERS
        for model in MODELS
        for operation in OPERATIONS
    ]


def changed(thing: Any, **fields: Any) -> Any:
    """A struct with some fields changed."""
    return type(thing)(**({name: getattr(thing, name) for name in thing.__struct_fields__} | fields))


def world(drawn: Sequence[Entry]) -> dict[tuple[type, str], Entry]:
    """The last of several entries of one kind and key counts."""
    return {(type(entry), entry.source.key): entry for entry in drawn}


# Every world has something of each kind that a call needs; what is drawn may take its place.
CORE: tuple[Entry, ...] = (
    backend(BACKENDS[0]),
    *(policy(key, methods=(Method.API_KEY,), rate_limits=(rate(),)) for key in POLICIES),
    *(quota(key) for key in QUOTAS),
    *(consumer(f"{namespace}/c{number}", roles=ROLES[:1]) for namespace in NAMESPACES for number in (0, 1)),
    route(
        "team-a/core",
        models=("*",),
        path_prefix="/",
        allowed_namespaces=("*",),
        policies=attach(*POLICIES),
        quotas=QUOTAS,
    ),
)
worlds = st.lists(entries, max_size=14).map(lambda drawn: world((*CORE, *drawn)))


# --- matching: a linear matcher that is plainly what the API says ---


def claims(entry: RouteEntry, asked: Call) -> bool:
    return (
        (not entry.hostnames or any(host_matches(host, asked.host) for host in entry.hostnames))
        and (entry.path_prefix == "/" or f"{asked.base}/".startswith(f"{entry.path_prefix}/"))
        and asked.operation in entry.operations
        and any(model_matches(model, asked.model) for model in entry.models)
        and all(asked.headers.get(name) == value for name, value in entry.headers)
    )


def host_matches(claimed: str, host: str) -> bool:
    return host.endswith(claimed[1:]) if claimed.startswith("*") else host == claimed


def model_matches(claimed: str, model: str) -> bool:
    return model.startswith(claimed[:-1]) if claimed.endswith("*") else model == claimed


def preference(entry: RouteEntry, asked: Call) -> tuple[Any, ...]:
    hosts = [(not host.startswith("*"), len(host)) for host in entry.hostnames if host_matches(host, asked.host)]
    models = [(not model.endswith("*"), len(model)) for model in entry.models if model_matches(model, asked.model)]
    exact_host, host_length = max(hosts, default=(False, 0))
    exact_model, model_length = max(models)
    return (
        not exact_host,
        -host_length,
        -len(entry.path_prefix),
        not exact_model,
        -model_length,
        -len(entry.headers),
        entry.source.created,
        entry.source.key,
    )


@thorough
@given(st.lists(routes, max_size=12), st.lists(calls, min_size=1, max_size=8))
def test_matching_is_what_the_api_says(drawn: list[RouteEntry], asked_calls: list[Call]) -> None:
    present = world(drawn)
    table = runtime_of(*present.values()).table
    for asked in asked_calls:
        candidates = [entry for entry in present.values() if isinstance(entry, RouteEntry) and claims(entry, asked)]
        best = min(candidates, key=lambda entry: preference(entry, asked), default=None)
        found = table.find(asked.host, asked.base, asked.operation, asked.model, asked.headers)
        assert (found[0] if found else None) == (best.source.key if best else None)


# --- policies only tighten ---


def attached_to_all(drawn: dict[tuple[type, str], Entry], added: PolicyEntry) -> list[Entry]:
    """The world with one more policy, in force with all sections on each route that has an authentication section."""
    sectioned = {key for (kind, key), one in drawn.items() if kind is PolicyEntry and enforced_gate(one)}
    result: list[Entry] = [added]
    for entry in drawn.values():
        if isinstance(entry, RouteEntry) and any(
            one.policy in sectioned and Section.AUTHENTICATION in one.sections for one in entry.policies
        ):
            entry = changed(entry, policies=(*entry.policies, *attach(added.source.key)))
        result.append(entry)
    return result


def enforced_gate(entry: Entry) -> bool:
    return isinstance(entry, PolicyEntry) and entry.mode is Mode.ENFORCE and entry.authentication is not None


@thorough
@given(worlds, policies, calls)
def test_one_more_policy_never_lets_in_a_call_that_was_refused(
    drawn: dict[tuple[type, str], Entry], added: PolicyEntry, example: Call
) -> None:
    extra = changed(added, source=policy("team-a/added").source, mode=Mode.ENFORCE)
    before, after = runtime_of(*drawn.values()), runtime_of(*attached_to_all(drawn, extra))
    for asked in probes(example):
        was, now = decide(before, asked, NOON), decide(after, asked, NOON)
        if was.denial is not None:
            assert now.denial is not None
        elif now.denial is None:
            assert {demand.key for demand in was.demands} <= {demand.key for demand in now.demands}


# --- explaining ---


def essence(decision: Decision) -> tuple[Any, ...]:
    """A decision by values: what two Runtimes of one world must agree on."""
    return (
        decision.denial,
        decision.route.key if decision.route else None,
        decision.route.entry if decision.route else None,
        decision.consumer.entry if decision.consumer else None,
        methods_of(decision.identity),
        decision.rule,
        decision.shadow,
        decision.demands,
        None if decision.tiers is None else [order[0].backend.key for tier in decision.tiers for order in tier.orders],
    )


@thorough
@given(worlds, calls)
def test_tracing_does_not_change_a_decision(drawn: dict[tuple[type, str], Entry], example: Call) -> None:
    runtime = runtime_of(*drawn.values())
    for asked in probes(example):
        plain = decide(runtime, asked, NOON)
        steps: list[Step] = []
        assert essence(decide(runtime, asked, NOON, steps)) == essence(plain)
        assert steps
        explanation = explain(runtime, asked, NOON)
        assert explanation.admitted is (plain.denial is None)
        refusing = [step for step in explanation.steps if step.verdict == "Denied" and not step.shadow]
        assert bool(refusing) is (plain.denial is not None)


@thorough
@given(worlds, calls)
def test_a_model_is_listed_exactly_when_the_route_that_names_it_lets_the_caller_use_it(
    drawn: dict[tuple[type, str], Entry], asked: Call
) -> None:
    runtime = runtime_of(*drawn.values())
    names = {name for one in runtime.routes.values() for name in one.entry.models if not name.endswith("*")}
    usable = sorted(
        name
        for name in names
        if any(
            serves(decide(runtime, changed(asked, model=name, operation=operation), NOON), name)
            for operation in OPERATIONS
        )
    )
    listed = visible_models(runtime, asked, NOON)
    assert usable == ([] if isinstance(listed, Denial) else listed)


def serves(decision: Decision, name: str) -> bool:
    return decision.denial is None and decision.route is not None and name in decision.route.entry.models


# --- reloading ---

# Each edit deletes something that is there, or puts a drawn entry in its place or beside it.
edits = st.lists(st.tuples(entries, st.integers(0, 99) | st.none()), min_size=1, max_size=5)


def edited(present: dict[tuple[type, str], Entry], drawn: list[tuple[Entry, int | None]]) -> None:
    for entry, victim in drawn:
        if victim is not None and present:
            del present[sorted(present, key=repr)[victim % len(present)]]
        else:
            present[type(entry), entry.source.key] = entry


@thorough
@given(worlds, st.lists(edits, min_size=1, max_size=3), calls, st.integers(1, 4))
def test_an_incremental_build_decides_as_a_cold_one(
    drawn: dict[tuple[type, str], Entry],
    rounds: list[list[tuple[Entry, int | None]]],
    example: Call,
    shards: int,
) -> None:
    present = dict(drawn)
    warm: Runtime = build(*snapshot(present.values(), shards=shards), previous=EMPTY)
    for revision, drawn_edits in enumerate(rounds, start=2):
        edited(present, drawn_edits)
        index, parts = snapshot(present.values(), revision=revision, shards=shards)
        warm, cold = build(index, parts, previous=warm), build(index, parts)
        assert warm.table == cold.table
        assert warm.routes.keys() == cold.routes.keys()
        assert warm.credentials.keys() == cold.credentials.keys()
        for asked in probes(example):
            assert essence(decide(warm, asked, NOON)) == essence(decide(cold, asked, NOON))
