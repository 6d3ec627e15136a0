"""What lints say can be proved by trying every call: on small worlds all of them are tried on the engine."""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegate_dataplane.engine.assume import assume
from tidegate_dataplane.engine.authorize import matches, subject_of
from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.catalogue import models_for
from tidegate_dataplane.engine.decide import decide_for
from tidegate_dataplane.engine.decision import Denial
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.runtime.objects import NOBODY, Consumer, Identity, Rule
from tidegate_dataplane.snapshot.entries import Attachment, Effect, Method, Operation, Section
from tidegate_operator.inquiry.compiled_folder import Workbench
from tidegate_operator.lint.codes import Code
from tidegate_operator.lint.consumers import consumers
from tidegate_operator.lint.finding import Finding, View
from tidegate_operator.lint.routes import routes
from tidegate_operator.lint.rules import rules
from tidegate_operator.world import Facts, Kind, ObjectKey, Resource, World

FACTS = Facts(platform_namespace="platform")
NOW = 1_790_000_000.0
NAMESPACES = ("team-a", "team-b")
PATTERNS = ("gpt-4", "gpt-*", "llama", "*")
MODELS = ("gpt-4", "gpt-4o", "gpt-any", "llama", "other")
OPERATIONS = ("Chat", "Embeddings")
ROLES = ("reader", "writer", "nobody-has-it")
HOSTS = ("", "a.example.com", "b.example.com")
WHENS = ("true", "false", "request.model == 'gpt-4'", "request.address == '10.0.0.1'", "consumer.team == 'red'")
METHODS = ("APIKey", "MTLS", "Anonymous")


def some(values: tuple[str, ...], least: int = 0, most: int = 2) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=least, max_size=most, unique=True)


def given_fields(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, [])}


def object_of(kind: Kind, namespace: str, name: str, spec: dict[str, Any]) -> Resource:
    return Resource(ObjectKey(kind, namespace, name), spec)


def rule_lists(whens: st.SearchStrategy[str | None]) -> st.SearchStrategy[list[dict[str, Any]]]:
    rule = st.fixed_dictionaries(
        {
            "effect": st.sampled_from(("Allow", "Allow", "Deny")),
            "roles": some(ROLES),
            "models": some(PATTERNS, most=1),
            "operations": some((*OPERATIONS, "Models"), most=2),
            "when": whens,
        }
    ).map(given_fields)
    lists = st.lists(rule, min_size=1, max_size=4)
    return lists.map(lambda listed: [{"name": f"r{index}", **one} for index, one in enumerate(listed)])


def policy_specs(whens: st.SearchStrategy[str | None]) -> st.SearchStrategy[dict[str, Any]]:
    targets: list[dict[str, str]] = [{"kind": "Namespace"}, {"kind": "AIRoute", "name": "one"}]
    return st.fixed_dictionaries(
        {
            "targetRefs": st.sampled_from(targets).map(lambda ref: [ref]),
            "strength": st.sampled_from(("Required", "Required", "Default")),
            "mode": st.sampled_from(("Enforce", "Enforce", "Enforce", "Shadow")),
            "authentication": st.none() | some(METHODS, least=1, most=3).map(lambda methods: {"methods": methods}),
            "authorization": rule_lists(whens).map(lambda listed: {"rules": listed}),
        }
    ).map(given_fields)


route_specs = st.fixed_dictionaries(
    {
        "hostnames": some(("a.example.com", "*.example.com"), most=1),
        "models": some(PATTERNS, least=1),
        "operations": some(OPERATIONS, least=1),
        "allowedNamespaces": some(("*", "team-b"), most=1),
        "targets": st.just([{"backendRef": {"name": "mock"}}]),
    }
).map(given_fields)
consumer_specs = st.fixed_dictionaries(
    {
        "team": st.sampled_from(("red", "blue")),
        "roles": some(ROLES[:2]),
        "suspended": st.just(False),
        "credentials": st.sampled_from(("key", "certificate", "both", "none")),
    }
)


def credentials(which: str, number: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if which in ("key", "both"):
        found["apiKeys"] = [{"name": "main", "sha256": f"{number + 1:064x}"}]
    if which in ("certificate", "both"):
        found["mtls"] = [{"name": "main", "dns": f"c{number}.example.com"}]
    return found


@st.composite
def worlds(draw: st.DrawFn, whens: st.SearchStrategy[str | None] = st.none()) -> World:  # noqa: B008 - a strategy
    found: list[Resource] = []
    base = {"authentication": {"methods": draw(some(METHODS, least=1, most=3))}, "targetRefs": [{"kind": "Namespace"}]}
    for namespace in NAMESPACES:
        found.append(object_of(Kind.BACKEND, namespace, "mock", {"provider": "Mock"}))
        found.append(object_of(Kind.POLICY, namespace, "base", base))
    for name in ("one", "two")[: draw(st.integers(1, 2))]:
        found.append(object_of(Kind.ROUTE, "team-a", name, draw(route_specs)))
    for index in range(draw(st.integers(0, 3))):
        found.append(object_of(Kind.POLICY, "team-a", f"p{index}", draw(policy_specs(whens))))
    for index in range(draw(st.integers(1, 3))):
        spec: dict[str, Any] = dict(draw(consumer_specs))
        spec["credentials"] = credentials(spec["credentials"], index)
        found.append(object_of(Kind.CONSUMER, draw(st.sampled_from(NAMESPACES)), f"c{index}", spec))
    return World({resource.key: resource for resource in found})


def view_of(world: World) -> View:
    compiled, runtime = Workbench(FACTS).runtime_of(world)
    bad = [verdict for verdict in compiled.verdicts.values() if any(error.field == "spec" for error in verdict.errors)]
    assert not bad
    return View(world, FACTS, compiled, runtime, NOW, 0)


def calls() -> Iterator[Call]:
    for host, model, operation, address in product(HOSTS, MODELS, OPERATIONS, ("10.0.0.1", "10.0.0.2")):
        yield Call(
            host=host,
            path="/v1",
            base="/v1",
            operation=Operation(operation),
            model=model,
            headers={},
            address=address,
            peer=address,
            prompt_tokens=1,
        )


def identities(runtime: Runtime, consumer: Consumer) -> Iterator[Identity]:
    own = [Method.API_KEY] * bool(consumer.entry.keys) + [Method.MTLS] * bool(consumer.entry.certificates)
    for chosen in [[one] for one in own] + [own] * (len(own) > 1):
        yield assume(runtime, consumer, chosen)


def named(findings: Iterator[Finding], code: Code) -> set[ObjectKey]:
    return {finding.object for finding in findings if finding.code is code}


def lets_in(runtime: Runtime, who: Identity) -> bool:
    if any(decide_for(runtime, call, who, NOW).denial is None for call in calls()):
        return True
    listed = (models_for(runtime, call, who, NOW) for call in calls())
    return any(bool(found) and not isinstance(found, Denial) for found in listed)


thorough = settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@given(worlds(st.none() | st.sampled_from(WHENS)))
@thorough
def test_a_consumer_that_is_called_unused_is_never_let_in(world: World) -> None:
    view = view_of(world)
    found = list(consumers(view))
    flagged = named(iter(found), Code.UNUSED_CONSUMER) | named(iter(found), Code.CONSUMER_WITHOUT_CREDENTIAL)
    for key in flagged:
        consumer = view.runtime.consumers[f"{key.namespace}/{key.name}"]
        assert not any(lets_in(view.runtime, who) for who in identities(view.runtime, consumer)), key


@given(worlds())
@thorough
def test_where_no_expression_decides_every_unused_consumer_is_found(world: World) -> None:
    view = view_of(world)
    conflicted = any(not verdict.accepted for verdict in view.compiled.verdicts.values())
    overlapping = len(view.runtime.routes) > 1
    if conflicted or overlapping:
        return  # which route takes a call is not what this lint looks at
    flagged = {*(finding.object for finding in consumers(view) if finding.code is not Code.UNLIMITED_CONSUMER)}
    for key, entry in view.consumers.items():
        consumer = view.runtime.consumers[entry.source.key]
        used = any(lets_in(view.runtime, who) for who in identities(view.runtime, consumer))
        assert (key in flagged) is not used, key


@given(worlds(st.none() | st.sampled_from(WHENS)))
@thorough
def test_a_route_that_is_said_to_have_no_caller_answers_nobody(world: World) -> None:
    view = view_of(world)
    found = list(routes(view))
    flagged = named(iter(found), Code.ROUTE_WITHOUT_CALLER) | named(iter(found), Code.ROUTE_WITHOUT_AUTHENTICATION)
    closed = {f"{key.namespace}/{key.name}" for key in flagged}
    for who in everybody(view.runtime):
        for call in calls():
            decision = decide_for(view.runtime, call, who, NOW)
            assert decision.denial is not None or decision.route is None or decision.route.key not in closed


def everybody(runtime: Runtime) -> Iterator[Identity]:
    yield NOBODY
    for consumer in runtime.consumers.values():
        yield from identities(runtime, consumer)


def rule_at(view: View, finding: Finding) -> Rule:
    policy = view.runtime.policies[f"{finding.object.namespace}/{finding.object.name}"]
    name = finding.message.split()[1]
    return next(rule for rule in (*policy.allow, *policy.deny) if rule.ref.rule == name)


@given(worlds(st.none() | st.sampled_from(WHENS)))
@thorough
def test_a_rule_that_is_said_never_to_match_matches_no_call(world: World) -> None:
    view = view_of(world)
    for finding in rules(view):
        if finding.code is Code.RULE_NEVER_MATCHES:
            rule = rule_at(view, finding)
            held = [route for route in view.runtime.routes.values() if rule.ref.key in _policies(route.entry.policies)]
            for route, who, call in product(held, everybody(view.runtime), calls()):
                if view.runtime.table.find(call.host, call.base, call.operation, call.model, {}) is None:
                    continue
                admitted = who is NOBODY or route.admits is None or who.consumer.namespace in route.admits
                claimed = view.runtime.table.find(call.host, call.base, call.operation, call.model, {})
                if admitted and claimed is not None and claimed[0] == route.key:
                    assert not matches(rule, subject_of(view.runtime, call, route, who, NOW), None, False)


def _policies(attachments: Iterable[Attachment]) -> set[str]:
    """Those whose rules are in force."""
    return {one.policy for one in attachments if Section.AUTHORIZATION in one.sections}


@given(worlds(st.none() | st.sampled_from(WHENS)))
@thorough
def test_an_allow_rule_that_is_said_to_be_always_denied_lets_nobody_in(world: World) -> None:
    view = view_of(world)
    for finding in rules(view):
        if finding.code is Code.RULE_ALWAYS_DENIED:
            rule = rule_at(view, finding)
            for who, call in product(everybody(view.runtime), calls()):
                decision = decide_for(view.runtime, call, who, NOW)
                if decision.denial is None and decision.route is not None:
                    attached = rule.ref.key in _policies(decision.route.entry.policies)
                    subject = subject_of(view.runtime, call, decision.route, who, NOW)
                    assert not (attached and matches(rule, subject, None, False))


@given(worlds(st.none() | st.sampled_from(WHENS)))
@thorough
def test_taking_away_a_rule_that_is_said_to_be_redundant_changes_no_decision(world: World) -> None:
    view = view_of(world)
    for finding in rules(view):
        if finding.code is Code.RULE_REDUNDANT:
            without = view_of(_without_rule(world, finding.object, rule_at(view, finding).ref.rule))
            assert outcomes(view.runtime) == outcomes(without.runtime)


def _without_rule(world: World, key: ObjectKey, name: str) -> World:
    resource = world.resources[key]
    left = [rule for rule in resource.spec["authorization"]["rules"] if rule["name"] != name]
    changed = Resource(key, {**resource.spec, "authorization": {"rules": left}})
    return World({**world.resources, key: changed})


def outcomes(runtime: Runtime) -> list[object]:
    found: list[object] = []
    for who in everybody(runtime):
        found += [decide_for(runtime, call, who, NOW).denial is None for call in calls()]
        listed = models_for(runtime, next(calls()), who, NOW)
        found.append(listed if isinstance(listed, list) else None)
    return found


@pytest.mark.parametrize("effect", list(Effect))
def test_the_worlds_hold_what_the_laws_are_about(effect: Effect) -> None:
    """Without it the properties above might hold of nothing."""
    rules_of_both = [
        {"name": "r0", "effect": effect.value, "roles": ["reader", "writer"]},
        {"name": "r1", "effect": effect.value, "roles": ["reader"]},
        {"name": "r2", "effect": effect.value, "roles": ["nobody-has-it"]},
    ]
    policy = {
        "targetRefs": [{"kind": "Namespace"}],
        "authentication": {"methods": ["APIKey"]},
        "authorization": {"rules": rules_of_both},
    }
    world = World(
        {
            resource.key: resource
            for resource in (
                object_of(Kind.BACKEND, "team-a", "mock", {"provider": "Mock"}),
                object_of(
                    Kind.ROUTE, "team-a", "one", {"models": ["m"], "targets": [{"backendRef": {"name": "mock"}}]}
                ),
                object_of(Kind.POLICY, "team-a", "p", policy),
                object_of(Kind.CONSUMER, "team-a", "c", {"roles": ["reader"], "credentials": credentials("key", 1)}),
            )
        }
    )
    found = {(finding.code, finding.message.split()[1]) for finding in rules(view_of(world))}
    assert found == {(Code.RULE_REDUNDANT, "r1"), (Code.RULE_NEVER_MATCHES, "r2")}
