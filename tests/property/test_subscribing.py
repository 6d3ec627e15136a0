"""Laws of subscriptions on random small worlds: only an approval that fits lets in, and taking away takes away."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from compiling.case import read_back
from compiling.worlds import FACTS, NAMES, NAMESPACES, json_values, names, namespaces
from samples.snapshots import NOON, allow, attach, call, consumer, deny, key_of, keys_only, policy, route, runtime_of
from tidegate_dataplane.engine import decide, visible_models
from tidegate_dataplane.snapshot.entries import PlanEntry, RouteEntry, SubscriberEntry
from tidegate_operator.compile import Compiled, Memo, compile_world
from tidegate_operator.world import Kind, ObjectKey, Resource, World

thorough = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])

# --- what is granted: the compiler ---

_TARGET = {"models": ["m"], "targets": [{"backendRef": {"name": "one"}}]}
route_specs = st.fixed_dictionaries(
    {
        "allowedNamespaces": st.lists(st.sampled_from(("*", *NAMESPACES)), max_size=2, unique=True),
        "subscription": st.sampled_from([[{"name": "basic"}], [{"name": "basic"}, {"name": "gold"}]]).map(
            lambda plans: {"plans": plans}
        ),
    }
).map(lambda spec: {**spec, **_TARGET, "pathPrefix": "/v1"})
wishes: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "consumerRef": names.map(lambda name: {"name": name}),
        "routeRef": st.fixed_dictionaries({"name": st.just("one"), "namespace": namespaces}),
        "plan": st.sampled_from(["basic", "gold"]),
        "reason": st.just("to try it"),
    },
    optional={"notAfter": st.sampled_from(["2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"])},
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Consumers everywhere, a route in each namespace, some subscriptions, and approvals that mostly fit."""
    specs: dict[ObjectKey, Any] = {}
    for number, namespace in enumerate(NAMESPACES):
        specs[ObjectKey(Kind.BACKEND, namespace, "one")] = {"provider": "Mock"}
        spec = draw(route_specs)
        specs[ObjectKey(Kind.ROUTE, namespace, "one")] = {**spec, "models": [f"m{number}"]}
        for name in NAMES[:2]:
            specs[ObjectKey(Kind.CONSUMER, namespace, name)] = {}
    for _ in range(draw(st.integers(1, 4))):
        key = ObjectKey(Kind.SUBSCRIPTION, draw(namespaces), draw(names))
        specs[key] = wish = draw(wishes)
        for name in draw(st.lists(names, max_size=2, unique=True)):
            specs[ObjectKey(Kind.APPROVAL, wish["routeRef"]["namespace"], f"{key.name}-{name}")] = {
                "subscription": {
                    "namespace": key.namespace,
                    "name": key.name,
                    "consumer": wish["consumerRef"]["name"],
                    "route": "one",
                    "plan": draw(st.sampled_from([wish["plan"], wish["plan"], "basic"])),
                },
                **draw(st.sampled_from([{}, {}, {"revoked": True}, {"notAfter": "2026-06-01T00:00:00Z"}])),
            }
    created = {key: draw(st.integers(0, 2)) for key in specs}
    return World({key: Resource(key, spec, 1, "u", created[key]) for key, spec in specs.items()})


def access(compiled: Compiled) -> dict[tuple[str, str], float]:
    """Until when each consumer may call each route."""
    found: dict[tuple[str, str], float] = {}
    for entry in compiled.served.entries.values():
        if isinstance(entry, RouteEntry):
            for one in entry.subscribers:
                pair = (entry.source.key, one.consumer)
                end = math.inf if one.not_after is None else one.not_after
                found[pair] = max(end, found.get(pair, -math.inf))
    return found


def at_most(less: Mapping[Any, float], more: Mapping[Any, float]) -> bool:
    return all(pair in more and end <= more[pair] for pair, end in less.items())


def without(world: World, key: ObjectKey) -> World:
    return World({other: resource for other, resource in world.resources.items() if other != key})


@thorough
@given(worlds(), st.data())
def test_deleting_or_revoking_an_approval_or_a_subscription_never_lets_in(world: World, data: st.DataObject) -> None:
    memo = Memo()
    before = compile_world(world, FACTS, None, memo)
    kinds = (Kind.APPROVAL, Kind.SUBSCRIPTION)
    key = data.draw(st.sampled_from(sorted(key for key in world.resources if key.kind in kinds)))
    after = compile_world(without(world, key), FACTS, read_back(before), memo)
    assert at_most(access(after), access(before))
    if key.kind is Kind.APPROVAL:
        good = world.resources[key]
        revoked = replace(good, spec={**good.spec, "revoked": True}, generation=2)
        assert access(compile_world(World({**world.resources, key: revoked}), FACTS, read_back(before))) == access(
            after
        )


@thorough
@given(worlds(), st.data())
def test_revoking_works_together_with_any_mistake(world: World, data: st.DataObject) -> None:
    before = compile_world(world, FACTS)
    approvals = sorted(key for key in world.resources if key.kind is Kind.APPROVAL)
    assume(approvals)
    key = data.draw(st.sampled_from(approvals))
    good = world.resources[key]
    mistake = {data.draw(st.sampled_from([*good.spec, "surprise"])): data.draw(json_values)}
    spec = {**good.spec, **mistake, "revoked": True}
    edited = World({**world.resources, key: replace(good, spec=spec, generation=2)})
    gone = compile_world(without(world, key), FACTS)
    assert access(compile_world(edited, FACTS, read_back(before))) == access(gone)


@thorough
@given(worlds(), namespaces, names, wishes)
def test_a_wish_that_no_approval_names_lets_nobody_in(world: World, namespace: str, name: str, wish: Any) -> None:
    key = ObjectKey(Kind.SUBSCRIPTION, namespace, f"new-{name}")
    before = compile_world(world, FACTS)
    after = compile_world(World({**world.resources, key: Resource(key, wish)}), FACTS, read_back(before))
    assert access(after) == access(before)


@thorough
@given(worlds(), st.data())
def test_an_edited_wish_gets_only_what_an_approval_repeats(world: World, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(key for key in world.resources if key.kind is Kind.SUBSCRIPTION)))
    edited = replace(world.resources[key], spec=data.draw(wishes), generation=2)
    after = compile_world(World({**world.resources, key: edited}), FACTS, compile_world(world, FACTS).served)
    granted = [
        (entry, one)
        for entry in after.served.entries.values()
        if isinstance(entry, RouteEntry)
        for one in entry.subscribers
        if one.subscription == f"{key.namespace}/{key.name}"
    ]
    for entry, one in granted:
        repeated = {
            "namespace": key.namespace,
            "name": key.name,
            "consumer": one.consumer.partition("/")[2],
            "route": entry.source.name,
            "plan": one.plan,
        }
        assert edited.spec["plan"] == one.plan
        assert any(
            resource.spec.get("subscription") == repeated and not resource.spec.get("revoked")
            for other, resource in world.resources.items()
            if other.kind is Kind.APPROVAL and other.namespace == entry.source.namespace
        )
        admitted = (entry.source.namespace, *entry.allowed_namespaces)
        assert key.namespace in admitted or "*" in admitted


# --- what that means: the engine ---

CALLERS = tuple(f"{namespace}/{name}" for namespace in ("team-a", "team-b") for name in ("one", "two"))
subscribers = st.lists(
    st.builds(
        SubscriberEntry,
        subscription=st.sampled_from(["x/a", "x/b", "x/c"]),
        consumer=st.sampled_from(CALLERS),
        plan=st.sampled_from(["basic", "gold", "gone"]),
        not_after=st.none() | st.sampled_from([int(NOON) - 1, int(NOON), int(NOON) + 1]),
    ),
    max_size=5,
).map(tuple)
plans = st.sampled_from(
    [(PlanEntry(name="basic"),), (PlanEntry(name="basic", requests=1, burst=1), PlanEntry(name="gold"))]
)
rules = st.sampled_from(
    [
        (),
        (allow("team", when="consumer.namespace == 'team-a'"),),
        (deny("one", when="consumer.name == 'one'"), allow("all")),
    ]
)


@thorough
@given(rules, plans, subscribers, st.sampled_from([(), ("team-b",), ("*",)]))
def test_asking_for_a_subscription_never_lets_in_who_was_refused(
    given_rules: Any, given_plans: Any, given_subscribers: Any, allowed: tuple[str, ...]
) -> None:
    entry = route(policies=attach("team-a/login", "team-a/rules"), allowed_namespaces=allowed)
    fields = {name: getattr(entry, name) for name in entry.__struct_fields__}
    asking = RouteEntry(**(fields | {"plans": given_plans, "subscribers": given_subscribers}))
    others: list[Any] = [keys_only(), policy("team-a/rules", rules=given_rules or None), *map(consumer, CALLERS)]
    before, after = runtime_of(entry, *others), runtime_of(asking, *others)
    for caller in CALLERS:
        asked = call(keys=(key_of(caller),))
        was, now = decide(before, asked, NOON), decide(after, asked, NOON)
        assert was.denial is None or now.denial is not None
        live = [
            one
            for one in given_subscribers
            if one.consumer == caller
            and (one.not_after is None or one.not_after > NOON)
            and one.plan in {plan.name for plan in given_plans}
        ]
        assert (now.denial is None) == (was.denial is None and bool(live))
        if now.denial is None:
            assert (now.subscription, now.plan) == (live[0].subscription, live[0].plan)
            assert {demand.key for demand in was.demands} <= {demand.key for demand in now.demands}
        listed = visible_models(after, asked, NOON)
        assert (listed == ["gpt-4o"]) == (now.denial is None)
