"""What is said of a change, by what it would do to the World."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tidegate_operator.admission.findings import DEFAULT_DENIED, Change, Finding, Operation, Topic, answer
from tidegate_operator.admission.review import Reviewer
from tidegate_operator.world import Facts, Kind, ObjectKey, Resource, World

NOW = 1_800_000_000.0
SHA = "0123456789abcdef" * 4
ROUTE: dict[str, Any] = {"models": ["chat"], "targets": [{"backendRef": {"name": "mock"}}]}
POLICY: dict[str, Any] = {
    "targetRefs": [{"kind": "Namespace"}],
    "authentication": {"methods": ["APIKey"]},
    "authorization": {"rules": [{"name": "all", "effect": "Allow", "roles": ["inference"]}]},
}
CONSUMER: dict[str, Any] = {"roles": ["inference"], "credentials": {"apiKeys": [{"name": "ci", "sha256": SHA}]}}
TOKENS: dict[str, Any] = {"name": "idp", "issuer": "https://idp.example.com", "audiences": ["gateway"]}
LIMITS = [{"unit": "Tokens", "amount": "5", "window": {"calendar": "Month"}}]


def _resource(kind: Kind, name: str, spec: dict[str, Any], namespace: str = "team-a", created: int = 1) -> Resource:
    return Resource(ObjectKey(kind, namespace, name), spec, uid=f"{kind}-{namespace}-{name}", created=created)


BACKEND = _resource(Kind.BACKEND, "mock", {"provider": "Mock"})
CHAT = _resource(Kind.ROUTE, "chat", ROUTE)
RULES = _resource(Kind.POLICY, "rules", POLICY)
APP = _resource(Kind.CONSUMER, "app", CONSUMER)
ALL = (BACKEND, CHAT, RULES, APP)


def _world(*resources: Resource) -> World:
    return World({one.key: one for one in resources})


def _create(resource: Resource) -> Change:
    return Change(Operation.CREATE, resource.key, None, resource)


def _update(resource: Resource, **spec: Any) -> Change:
    after = replace(resource, spec={**resource.spec, **spec}, generation=resource.generation + 1)
    return Change(Operation.UPDATE, resource.key, resource, after)


def _delete(resource: Resource) -> Change:
    return Change(Operation.DELETE, resource.key, resource, None)


def _review(world: World, change: Change) -> tuple[Finding, ...]:
    return Reviewer(Facts()).review(world, change, NOW)


def _topics(world: World, change: Change) -> list[Topic]:
    return [one.topic for one in _review(world, change)]


def _rules(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"rules": list(rules)}


def test_nothing_is_said_of_what_harms_nobody() -> None:
    world = _world(*ALL)
    assert _review(world, _update(CHAT, timeout="10s")) == ()
    assert _review(world, _create(_resource(Kind.ROUTE, "other", {**ROUTE, "models": ["other"]}))) == ()
    assert _review(world, _update(APP, team="search")) == ()


def test_a_route_that_another_answers_is_a_conflict() -> None:
    (found,) = _review(_world(*ALL), _create(_resource(Kind.ROUTE, "second", ROUTE, created=2)))
    assert found.topic is Topic.CONFLICT
    assert "AIRoute team-a/chat, which comes first, already answers Chat for model chat" in found.message


def test_a_conflict_with_another_namespace_names_nothing_of_it() -> None:
    backend = _resource(Kind.BACKEND, "mock", {"provider": "Mock"}, namespace="team-b")
    second = _resource(Kind.ROUTE, "second", ROUTE, namespace="team-b", created=2)
    (found,) = _review(_world(*ALL, backend), _create(second))
    assert "an older route of another namespace" in found.message
    assert "team-a" not in found.message


def test_an_older_route_that_takes_what_a_younger_one_answers_is_told() -> None:
    younger = _resource(Kind.ROUTE, "younger", {**ROUTE, "models": ["fast"]}, created=2)
    (found,) = _review(_world(*ALL, younger), _update(CHAT, models=["chat", "fast"]))
    assert (found.topic, found.message[:23]) == (Topic.CONFLICT, "AIRoute team-a/younger:")


def test_missing_references_are_told() -> None:
    (found,) = _review(_world(RULES, APP), _create(CHAT))
    assert found.topic is Topic.REFERENCE
    assert found.message.startswith("spec.targets[0].backendRef: AIBackend team-a/mock does not exist")


def test_a_deletion_that_others_rest_on_names_those_of_the_own_namespace_and_counts_the_rest() -> None:
    shared = _resource(Kind.BACKEND, "mock", {"provider": "Mock", "allowedNamespaces": ["team-b"]})
    there = {"models": ["there"], "targets": [{"backendRef": {"name": "mock", "namespace": "team-a"}}]}
    far = _resource(Kind.ROUTE, "far", there, namespace="team-b")
    found = _review(_world(shared, CHAT, RULES, APP, far), _delete(shared))
    assert [one.topic for one in found] == [Topic.DANGLING, Topic.DANGLING]
    texts = " | ".join(one.message for one in found)
    assert "AIRoute team-a/chat: spec.targets[0].backendRef: AIBackend team-a/mock does not exist" in texts
    assert "1 AIRoute of other namespaces would refer in vain to what is deleted" in texts
    assert "far" not in texts


def test_a_circle_of_quotas_is_told() -> None:
    def quota(name: str, parent: str) -> Resource:
        return _resource(Kind.QUOTA, name, {"targetRefs": [{"kind": "Namespace"}], "limits": LIMITS, "parent": parent})

    world = _world(*ALL, quota("a", "b"))
    found = _review(world, _create(quota("b", "a")))
    assert [one.topic for one in found] == [Topic.CYCLE]
    assert found[0].message.startswith("spec.parent: leads back to this quota")


def test_what_only_the_compiler_can_read_is_told() -> None:
    rule = {"name": "broken", "effect": "Deny", "when": "request.model =="}
    topics = _topics(_world(*ALL), _update(RULES, authorization=_rules(rule)))
    # The last good form stays in force, so nobody is locked out.
    assert topics == [Topic.INVALID]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_update(RULES, authorization=_rules({"name": "x", "effect": "Allow", "roles": ["nobody"]})), "role"),
        (_update(RULES, authorization=_rules({"name": "x", "effect": "Deny"})), "deny all"),
        (_update(RULES, authorization=_rules({"name": "x", "effect": "Allow", "models": ["other"]})), "model"),
        (_update(RULES, authentication={"methods": ["MTLS"]}), "method"),
        (_update(RULES, network={"deny": ["0.0.0.0/0", "::/0"]}), "network"),
        (_update(RULES, network={"allow": ["10.0.0.0/8"], "deny": ["10.0.0.0/9", "10.128.0.0/9"]}), "network"),
        (_delete(RULES), "the only policy that accepts a method"),
        (_update(CHAT, subscription={"plans": [{"name": "basic"}]}), "subscription"),
        (_update(APP, suspended=True), "the only consumer"),
        (_update(APP, roles=[]), "the only consumer's role"),
        (_delete(APP), "the only consumer"),
        (_create(_resource(Kind.POLICY, "more", {**POLICY, "authentication": {"methods": ["MTLS"]}})), "intersection"),
    ],
)
def test_a_change_that_leaves_nobody_is_a_lockout(change: Change, why: str) -> None:
    assert _topics(_world(*ALL), change) == [Topic.LOCKOUT], why


@pytest.mark.parametrize(
    "change",
    [
        _update(RULES, authorization=_rules({"name": "x", "effect": "Deny", "when": "request.model != ''"})),
        _update(RULES, authorization=_rules({"name": "x", "effect": "Allow", "when": "now.getHours('UTC') > 24"})),
        _update(RULES, network={"allow": ["203.0.113.0/24"]}),
        _update(RULES, network={"allow": ["10.0.0.0/8"], "deny": ["10.0.0.0/9"]}),
        _update(RULES, mode="Shadow", authentication={"methods": ["APIKey"]}),
        _update(
            RULES,
            authentication={"methods": ["JWT"], "jwt": [{**TOKENS, "claims": {"name": "token.subject"}}]},
            authorization=_rules({"name": "x", "effect": "Allow"}),
        ),
        _update(RULES, risk={"signals": [{"name": "n", "type": "NewAddress", "weight": 5}], "thresholds": {"deny": 1}}),
        _update(RULES, rateLimits=[{"name": "slow", "requests": 1, "period": "31d"}]),
    ],
    ids=[
        "conditional deny",
        "conditional allow",
        "network",
        "part of it",
        "shadow",
        "tokens name callers",
        "risk",
        "rate",
    ],
)
def test_what_may_let_somebody_in_is_no_lockout(change: Change) -> None:
    other = _resource(Kind.POLICY, "other", {**POLICY, "mode": "Enforce"})
    world = _world(*ALL, other) if change.after is not None and change.after.spec.get("mode") else _world(*ALL)
    assert Topic.LOCKOUT not in _topics(world, change)


def test_a_route_that_nobody_could_call_before_cannot_be_locked() -> None:
    world = _world(BACKEND, CHAT, RULES)
    assert _topics(world, _update(RULES, authentication={"methods": ["MTLS"]})) == []


def test_another_consumer_like_it_keeps_the_route_open() -> None:
    twin = _resource(
        Kind.CONSUMER, "twin", {**CONSUMER, "credentials": {"apiKeys": [{"name": "a", "sha256": SHA[::-1]}]}}
    )
    assert _topics(_world(*ALL, twin), _delete(APP)) == []


def test_an_ended_key_lets_nobody_in() -> None:
    ended = {"apiKeys": [{"name": "old", "sha256": SHA, "notAfter": "2020-01-01T00:00:00Z"}]}
    assert _topics(_world(*ALL), _update(APP, credentials=ended)) == [Topic.LOCKOUT]


def test_an_ended_key_beside_a_certificate_hides_nobody_whose_key_works() -> None:
    subject = [{"name": "c", "dns": "app.example.com"}]
    old = {"apiKeys": [{"name": "old", "sha256": SHA[::-1], "notAfter": "2020-01-01T00:00:00Z"}], "mtls": subject}
    first = _resource(Kind.CONSUMER, "aaa", {**CONSUMER, "credentials": old})
    both = {**CONSUMER, "credentials": {**CONSUMER["credentials"], "mtls": [{"name": "c", "dns": "b.example.com"}]}}
    second = _resource(Kind.CONSUMER, "bbb", both)
    lower = _update(RULES, rateLimits=[{"name": "a", "requests": 1}])
    assert _topics(_world(BACKEND, CHAT, RULES, first, second), lower) == []


def test_a_policy_of_the_gateway_locks_routes_of_others_without_naming_them() -> None:
    policy = _resource(
        Kind.POLICY,
        "wide",
        {"targetRefs": [{"kind": "Gateway"}], "authentication": {"methods": ["MTLS"]}},
        namespace="tidegate-system",
    )
    (found,) = _review(_world(*ALL), _create(policy))
    assert found.message == "nobody could call a route of another namespace any more, and somebody can now"


def test_the_default_denies_a_lockout_and_warns_of_the_rest() -> None:
    world = _world(*ALL)
    locking = _update(RULES, authentication={"methods": ["MTLS"]})
    given = answer(locking, _review(world, locking), DEFAULT_DENIED)
    assert not given.allowed
    assert "nobody could call AIRoute team-a/chat any more" in given.message
    assert "set the annotation tidegate.dev/admission: Warn" in given.message
    second = _create(_resource(Kind.ROUTE, "second", ROUTE, created=2))
    given = answer(second, _review(world, second), DEFAULT_DENIED)
    assert given.allowed
    assert len(given.warnings) == 1
    assert not answer(second, _review(world, second), frozenset({Topic.CONFLICT})).allowed


def test_a_deletion_and_an_author_who_insists_are_never_denied() -> None:
    world = _world(*ALL)
    everything = frozenset(Topic)
    for change in (_delete(RULES), replace(_update(RULES, authentication={"methods": ["MTLS"]}), insists=True)):
        given = answer(change, _review(world, change), everything)
        assert given.allowed
        assert given.warnings


def test_what_was_wrong_before_does_not_forbid_mending_something_else() -> None:
    second = _resource(Kind.ROUTE, "second", ROUTE, created=2)
    world, change = _world(*ALL, second), _update(second, timeout="10s")
    given = answer(change, _review(world, change), frozenset(Topic))
    assert given.allowed
    assert "already answers Chat" in given.warnings[0]


def test_one_reviewer_says_the_same_as_a_fresh_one() -> None:
    reviewer = Reviewer(Facts())
    world = _world(*ALL)
    changes = [
        _update(RULES, authentication={"methods": ["MTLS"]}),
        _create(_resource(Kind.ROUTE, "second", ROUTE, created=2)),
        _delete(BACKEND),
        _update(CHAT, timeout="10s"),
        _delete(APP),
    ]
    for change in [*changes, *reversed(changes)]:
        assert reviewer.review(world, change, NOW) == _review(world, change)
    assert reviewer.review(_world(RULES, APP), _create(CHAT), NOW) == _review(_world(RULES, APP), _create(CHAT))


def test_an_object_that_has_not_come_through_the_watch_is_taken_from_the_review() -> None:
    change = _update(CHAT, targets=[{"backendRef": {"name": "gone"}}])
    assert _topics(_world(BACKEND, RULES, APP), change) == [Topic.REFERENCE]
