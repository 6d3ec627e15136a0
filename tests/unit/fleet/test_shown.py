"""What people and programs are told of a fleet, and the exit code that says it in one number."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate_dataplane.snapshot.entries import ClusterFacts
from tidegate_operator.conditions import Condition
from tidegate_operator.fleet.cluster import (
    ClusterView,
    FleetObject,
    GatewayView,
    GitSync,
    Leader,
    QuotaUse,
    Read,
    Unreachable,
)
from tidegate_operator.fleet.json_form import as_json
from tidegate_operator.fleet.table import as_table
from tidegate_operator.fleet.view import ALIKE, DIFFERENT, INCOMPLETE, Fleet, fleet_of
from tidegate_operator.plane_summary import PlaneSummary
from tidegate_operator.world import Kind, ObjectKey

ROUTE = ObjectKey(Kind.ROUTE, "team-a", "chat")


def _object(*, digest: str = "d1", refusal: str = "", quota: QuotaUse | None = None) -> FleetObject:
    accepted = Condition("Accepted", "False" if refusal else "True", 1, "Invalid", refusal, "")
    rest = tuple(Condition(kind, "True", 1, kind, "", "") for kind in ("ResolvedRefs", "Programmed"))
    return FleetObject(
        ROUTE, digest, 1, observed=1, served=None if refusal else 1, conditions=(accepted, *rest), quota=quota
    )


def _cluster(name: str, found: FleetObject | None = None, *, age: float = 1.0, **more: Any) -> ClusterView:
    leader, planes = Leader("operator-0", age), PlaneSummary(7, {"7": 2})
    gateway = GatewayView("default", 7, 3, ClusterFacts(name=name, cloud="azure"), leader, planes)
    objects = {ROUTE: found if found is not None else _object()}
    return ClusterView(name=name, server=f"https://{name}", gateways=(gateway,), objects=objects, **more)


def _table(fleet: Fleet) -> str:
    return as_table(fleet, top=5, limit=50)


@pytest.mark.parametrize(
    ("reads", "code"),
    [
        ([_cluster("a"), _cluster("b")], ALIKE),
        ([_cluster("a")], ALIKE),
        ([_cluster("a"), _cluster("b", _object(digest="d2"))], DIFFERENT),
        ([_cluster("a", _object(refusal="no")), _cluster("b", _object(refusal="no"))], DIFFERENT),
        ([_cluster("a", age=600)], DIFFERENT),
        ([ClusterView("a", "https://a")], DIFFERENT),
        ([_cluster("a"), Unreachable("b", "away")], INCOMPLETE),
        ([_cluster("a"), _cluster("b", _object(digest="d2")), Unreachable("c", "away")], INCOMPLETE),
    ],
)
def test_the_exit_code(reads: list[Any], code: int) -> None:
    fleet = fleet_of(reads)
    assert fleet.exit_code == code
    assert json.loads(as_json(fleet, top=5))["exitCode"] == code
    assert all(read.name in _table(fleet) for read in reads)


def test_a_cluster_behind_a_branch_is_different() -> None:
    sync = GitSync("argocd/policies", "a" * 40, "OutOfSync", "Healthy", objects=3)
    fleet = fleet_of([_cluster("a", applications=(sync,))], head="b" * 40, lags={"a": 3})
    assert fleet.exit_code == DIFFERENT
    assert "aaaaaaaa OutOfSync/Healthy, 3 behind" in _table(fleet)
    assert fleet_of([_cluster("a", applications=(sync,))], head="a" * 40, lags={"a": 0}).exit_code == ALIKE


def test_a_commit_that_argo_cd_cannot_apply_is_a_problem() -> None:
    stuck = GitSync("argocd/policies", "a" * 40, "OutOfSync", "Healthy", objects=3, target="b" * 40)
    fleet = fleet_of([_cluster("a", applications=(stuck,))])
    assert fleet.exit_code == DIFFERENT
    assert "! Argo CD has not applied bbbbbbbb: argocd/policies is OutOfSync, at aaaaaaaa" in _table(fleet)
    first = GitSync("argocd/policies", "", "OutOfSync", "Missing", objects=3, target="b" * 40)
    never = _table(fleet_of([_cluster("a", applications=(first,))]))
    assert "! Argo CD has not applied bbbbbbbb: argocd/policies is OutOfSync, and was never synced" in never
    assert "no Argo CD Application delivers here" not in never
    body = json.loads(as_json(fleet, top=5))["clusters"][0]["applications"][0]
    assert (body["revision"], body["target"]) == ("a" * 40, "b" * 40)


def test_the_fullest_quotas_come_first_and_empty_ones_not_at_all() -> None:
    full, half = QuotaUse(95, "95", "100", "Requests per Day"), QuotaUse(50, "50", "100", "Requests per Day")
    none = QuotaUse(0, "0", "100", "Requests per Day")
    reads = [_cluster(name, _object(quota=use)) for name, use in (("a", half), ("b", full), ("c", none))]
    lines = [line.split() for line in _table(fleet_of(reads)).splitlines() if "%" in line]
    assert [(line[0], line[2]) for line in lines] == [("b", "95"), ("a", "50")]


def test_what_others_wrote_cannot_move_the_cursor() -> None:
    reads: list[Read] = [
        _cluster("a", _object(refusal="\x1b[2Jgone\nnext " + "x" * 1000)),
        Unreachable("b", "\x1b[31mred"),
    ]
    text = _table(fleet_of(reads))
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) < 300
