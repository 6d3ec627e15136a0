"""Objects with the statuses that the operator writes, made by its own compiler: what Argo CD and Flux have to judge.

Every case is a small world that `compile_world` judges, and data planes whose reports `judge` weighs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from compiling.case import facts_of, next_world, read_back
from tidegate_operator.compile import Served, compile_world
from tidegate_operator.conditions import NO_STATUS, Held, PlaneReport, ProgrammedReason, judge, status_body
from tidegate_operator.release.hold import Freeze, Rollback
from tidegate_operator.release.planning import freeze_message, rollback_message
from tidegate_operator.world import Kind, ObjectKey, World

Object = dict[str, Any]

NAMESPACE = "team-a"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
REVISION = 42
RUNS_IT = (PlaneReport("10.0.0.7:9090", ready=True, revision=42), PlaneReport("10.0.0.8:9090", ready=True, revision=42))
ONE_BEHIND = (RUNS_IT[0], PlaneReport("10.0.0.8:9090", ready=True, revision=41))
ONE_REFUSES = (
    RUNS_IT[0],
    PlaneReport("10.0.0.8:9090", ready=True, revision=41, refusal="TooLarge: shard 03 has 9 MiB"),
)
ELSEWHERE = {"clusterSelector": {"matchLabels": {"cloud": "gcp"}}}

_KEYS = {"apiKeys": [{"name": "main", "sha256": "0" * 64}]}
_OUT_OF_ORDER = {
    "name": "main",
    "sha256": "0" * 64,
    "notBefore": "2026-12-01T00:00:00Z",
    "notAfter": "2026-11-01T00:00:00Z",
}
_WHOLE = [{"kind": "Namespace"}]


_STOPPED = "The roll-out of revision 42 was stopped on plane-1 by gate deny-rate: 40 % of calls against 1 % elsewhere."
_HELD = (
    (
        "suspended_frozen",
        "Suspended",
        "InProgress",
        Held(ProgrammedReason.FROZEN, freeze_message(Freeze("release day"))),
    ),
    (
        "degraded_rolled_back",
        "Degraded",
        "Failed",
        Held(ProgrammedReason.PINNED_TO_REVISION, rollback_message(Rollback(41, "too many denials"))),
    ),
    ("degraded_rollout_stopped", "Degraded", "Failed", Held(ProgrammedReason.ROLLOUT_STOPPED, _STOPPED)),
    (
        "progressing_tried_first",
        "Progressing",
        "InProgress",
        Held(ProgrammedReason.CANARY, "Tried on 1 data planes first: plane-1."),
    ),
)
"""What is declared and waits, though nothing is wrong with it."""


@dataclass(frozen=True)
class Case:
    """One object as it stands in the API server, and what Argo CD and kstatus should make of it."""

    name: str
    health: str
    kstatus: str
    object: Object


@dataclass(frozen=True)
class Specs:
    """Specs of one kind: a valid one, one that only the compiler refuses, and one that refers to nothing."""

    good: Mapping[str, Any]
    bad: Mapping[str, Any]
    unresolved: Mapping[str, Any] = field(default_factory=dict)


_SPECS: Mapping[Kind, Specs] = {
    Kind.ROUTE: Specs(
        {"models": ["chat"], "targets": [{"backendRef": {"name": "mock"}}]},
        {"models": ["chat"], "targets": [{"backendRef": {"name": "mock"}}], "timeout": "0s"},
        {"models": ["chat"], "targets": [{"backendRef": {"name": "none"}}]},
    ),
    Kind.POLICY: Specs(
        {"targetRefs": _WHOLE, "authentication": {"methods": ["APIKey"]}},
        {
            "targetRefs": _WHOLE,
            "authorization": {"rules": [{"name": "odd", "effect": "Deny", "when": "request.noSuchAttribute == 'x'"}]},
        },
        {"targetRefs": [{"kind": "AIRoute", "name": "none"}], "authentication": {"methods": ["APIKey"]}},
    ),
    Kind.BACKEND: Specs(
        {"provider": "OpenAICompatible", "endpoint": "https://models.example.com/v1"},
        {"provider": "OpenAICompatible", "endpoint": "https://models.example.com/../v1"},
        {
            "provider": "OpenAICompatible",
            "endpoint": "https://models.example.com/v1",
            "credential": {"secretRef": {"name": "none", "key": "api-key"}},
        },
    ),
    Kind.CONSUMER: Specs(
        {"credentials": _KEYS},
        {"credentials": {"apiKeys": [_OUT_OF_ORDER]}},
        {"credentials": {"apiKeys": [{"name": "main", "secretRef": {"name": "none", "key": "token"}}]}},
    ),
    Kind.QUOTA: Specs(
        {"targetRefs": _WHOLE, "limits": [{"unit": "Requests", "amount": "10", "window": {"sliding": "1h"}}]},
        {
            "targetRefs": _WHOLE,
            "limits": [
                {"unit": "Requests", "amount": "10", "window": {"calendar": "Day", "timeZone": "Europe/Atlantis"}}
            ],
        },
        {
            "targetRefs": [{"kind": "AIRoute", "name": "none"}],
            "limits": [{"unit": "Requests", "amount": "10", "window": {"sliding": "1h"}}],
        },
    ),
    Kind.SUBSCRIPTION: Specs(
        {
            "consumerRef": {"name": "search"},
            "routeRef": {"name": "paid"},
            "plan": "basic",
            "reason": "Answers for the search page.",
        },
        {"consumerRef": {"name": "search"}, "routeRef": {"name": "paid"}, "plan": "basic"},
    ),
    Kind.APPROVAL: Specs(
        {"request": {"id": "apr-mfrggzdfmztwq2lk", "route": "paid"}, "notAfter": "2023-11-15T00:00:00Z"},
        {"request": {"id": "apr-mfrggzdfmztwq2lk", "route": "paid"}, "notAfter": "2024-11-21T22:13:20Z"},
        {
            "subscription": {
                "namespace": NAMESPACE,
                "name": "none",
                "consumer": "search",
                "route": "paid",
                "plan": "basic",
            },
        },
    ),
}
"""What else they need is `_SURROUNDINGS`."""

_SURROUNDINGS: list[Object] = [
    {"kind": "AIBackend", "name": "mock", "spec": {"provider": "Mock"}},
    {"kind": "AIConsumer", "name": "search", "spec": {"credentials": {"apiKeys": [{"name": "a", "sha256": "1" * 64}]}}},
    {
        "kind": "AIRoute",
        "name": "paid",
        "spec": {
            "models": ["paid"],
            "targets": [{"backendRef": {"name": "mock"}}],
            "subscription": {"plans": [{"name": "basic"}]},
        },
    },
]


def cases(kind: Kind) -> Iterator[Case]:
    """Every state that an object of the kind can be seen in."""
    specs = _SPECS[kind]
    yield Case(
        "progressing_not_seen", "Progressing", "InProgress", _written(kind, specs.good, 1, {"observedGeneration": 0})
    )
    older = _status(kind, [specs.good])
    yield Case("progressing_older_generation", "Progressing", "InProgress", _written(kind, specs.good, 2, older))
    yield _judged("progressing_one_behind", "Progressing", "InProgress", kind, [specs.good], planes=ONE_BEHIND)
    yield _judged("progressing_no_data_plane", "Progressing", "InProgress", kind, [specs.good], planes=())
    yield _judged("progressing_unpublished", "Progressing", "InProgress", kind, [specs.good], first_revision=None)
    yield _judged("healthy", "Healthy", "Current", kind, [specs.good])
    yield _judged("degraded_refused_last_good_serving", "Degraded", "Failed", kind, [specs.good, specs.bad])
    yield _judged("degraded_never_valid", "Degraded", "Failed", kind, [specs.bad])
    yield _judged("degraded_data_plane_refused", "Degraded", "Failed", kind, [specs.good], planes=ONE_REFUSES)
    if specs.unresolved:
        # What is missing may be on its way, in the same push: Flux goes on waiting for it, and tells what it waits for.
        yield _judged("degraded_reference_missing", "Degraded", "InProgress", kind, [specs.unresolved])
    if kind is not Kind.APPROVAL:
        placed = {**specs.good, "placement": ELSEWHERE}
        yield _judged("healthy_not_placed", "Healthy", "Current", kind, [placed])
        yield _judged(
            "degraded_refused_not_placed", "Degraded", "Failed", kind, [{**specs.bad, "placement": ELSEWHERE}]
        )
    for name, health, kstatus, held in _HELD:
        yield _judged(name, health, kstatus, kind, [specs.good], held=held)
    yield from _MORE.get(kind, lambda: iter(()))()


def _consumer_cases() -> Iterator[Case]:
    spec = {**_SPECS[Kind.CONSUMER].good, "suspended": True}
    yield _judged("healthy_suspended", "Healthy", "Current", Kind.CONSUMER, [spec])


def _route_cases() -> Iterator[Case]:
    older = {"kind": "AIRoute", "name": "older", "created": -60, "spec": _SPECS[Kind.ROUTE].good}
    specs = [_SPECS[Kind.ROUTE].good]
    yield _judged("degraded_conflicted", "Degraded", "Failed", Kind.ROUTE, specs, others=[older])


def _subscription_cases() -> Iterator[Case]:
    """Nobody has approved, or it has ended: that is no fault of what was declared, and must not hold up a sync."""
    spec = _SPECS[Kind.SUBSCRIPTION].good
    ended = {**spec, "notAfter": "2026-02-01T00:00:00Z"}
    granted = {
        "kind": "AIApproval",
        "name": "yes",
        "spec": {
            "subscription": {
                "namespace": NAMESPACE,
                "name": "sample",
                "consumer": "search",
                "route": "paid",
                "plan": "basic",
            }
        },
    }
    yield _judged("healthy_approved", "Healthy", "Current", Kind.SUBSCRIPTION, [spec], others=[granted])
    yield _judged("healthy_expired", "Healthy", "Current", Kind.SUBSCRIPTION, [ended], others=[granted])


_MORE: Mapping[Kind, Callable[[], Iterator[Case]]] = {
    Kind.CONSUMER: _consumer_cases,
    Kind.ROUTE: _route_cases,
    Kind.SUBSCRIPTION: _subscription_cases,
}


def _judged(name: str, health: str, kstatus: str, kind: Kind, specs: list[Mapping[str, Any]], **more: Any) -> Case:
    return Case(name, health, kstatus, _written(kind, specs[-1], len(specs), _status(kind, specs, **more)))


def _status(
    kind: Kind,
    specs: list[Mapping[str, Any]],
    *,
    planes: tuple[PlaneReport, ...] = RUNS_IT,
    first_revision: int | None = REVISION,
    others: list[Object] | None = None,
    held: Held | None = None,
) -> Object:
    """The status after each of `specs` was applied in turn, a minute apart."""
    world, served, status = World({}), Served({}), NO_STATUS
    facts = facts_of({"cluster": {"name": "aws-1", "cloud": "aws"}})
    key = ObjectKey(kind, NAMESPACE, "sample")
    surroundings = [each for each in [*_SURROUNDINGS, *(others or [])] if each["name"] != "sample"]
    for minute, spec in enumerate(specs):
        step = {"apply": [*surroundings, {"kind": kind.value, "name": "sample", "spec": spec}]}
        world = next_world(world, step)
        compiled = compile_world(world, facts, served)
        served = read_back(compiled)
        status = judge(
            compiled.verdicts[key],
            first_revision=first_revision,
            planes=planes,
            previous=status,
            now=NOW + timedelta(minutes=minute),
            held=held,
        )
    return status_body(status)


def _written(kind: Kind, spec: Mapping[str, Any], generation: int, status: Object) -> Object:
    return {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": kind.value,
        "metadata": {"name": "sample", "namespace": NAMESPACE, "generation": generation},
        "spec": dict(spec),
        "status": status,
    }
