"""What differs between clusters though placement does not explain it, on clusters made of plain data."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_dataplane.snapshot.entries import ClusterFacts
from tidegate_operator.conditions import Condition
from tidegate_operator.fleet.cluster import ClusterView, FleetObject, GatewayView, GitSync, Leader
from tidegate_operator.fleet.compare import DifferenceKind, compare, count, placed_digest, problems
from tidegate_operator.fleet.items import fleet_object
from tidegate_operator.ingest import CustomObject, Meta
from tidegate_operator.plane_summary import PlaneSummary
from tidegate_operator.world import Kind, ObjectKey

AZURE = ClusterFacts(name="azure-eu", cloud="azure", jurisdiction="EU")
AWS = ClusterFacts(name="aws-us", cloud="aws", jurisdiction="US")
LEADER = Leader("operator-0", 1.0)


def declared(name: str = "chat", *, kind: Kind = Kind.ROUTE, only: dict[str, str] | None = None, **spec: Any) -> Any:
    """An object as its author wrote it, not judged yet."""
    placement = {"placement": {"clusterSelector": {"matchLabels": only}}} if only is not None else {}
    item = CustomObject(Meta(name=name, namespace="team-a", generation=2), {"models": ["m"], **spec, **placement})
    return fleet_object(kind, item)


def judged(found: FleetObject, *, served: int | None = 2, **statuses: str) -> FleetObject:
    """As it is once the operator has written its status; `statuses` are those that are not True."""
    conditions = tuple(
        Condition(kind, statuses.get(kind, "True"), 2, "Because", "Of something.", "")
        for kind in ("Accepted", "ResolvedRefs", "Programmed", "Ready")
    )
    return FleetObject(
        found.key, found.digest, 2, found.parts, found.selector, observed=2, served=served, conditions=conditions
    )


def chat(**more: Any) -> FleetObject:
    return judged(declared(**more))


def cluster(name: str, facts: ClusterFacts | None, *objects: FleetObject, **more: Any) -> ClusterView:
    gateways = (GatewayView("default", 7, 3, facts, LEADER, PlaneSummary(7, {"7": 2})),) if facts is not None else ()
    return ClusterView(
        name=name, server=f"https://{name}", gateways=gateways, objects={each.key: each for each in objects}, **more
    )


def kinds(*views: ClusterView) -> list[tuple[DifferenceKind, str]]:
    return [(found.kind, found.subject) for found in compare(views).differences]


def test_the_same_is_no_difference() -> None:
    found = compare([cluster("a", AZURE, chat()), cluster("b", AWS, chat())])
    assert (found.differences, found.shared, found.alike) == ((), 1, 1)


def test_what_placement_leaves_out_is_no_difference() -> None:
    placed = chat(only={"cloud": "azure"})
    assert kinds(cluster("a", AZURE, placed), cluster("b", AWS)) == []
    assert kinds(cluster("a", AZURE, placed), cluster("b", AWS, chat(only={"cloud": "azure"}, models=["other"]))) == []


def test_what_is_missing_though_its_placement_selects_the_cluster() -> None:
    assert kinds(cluster("a", AZURE, chat()), cluster("b", AWS)) == [(DifferenceKind.MISSING, "AIRoute team-a/chat")]
    elsewhere = chat(only={"cloud": "aws"})
    assert kinds(cluster("a", AZURE, elsewhere), cluster("b", AWS)) == [(DifferenceKind.MISSING, "AIRoute team-a/chat")]


def test_another_spec_names_the_fields() -> None:
    (found,) = compare([cluster("a", AZURE, chat(timeout="9s")), cluster("b", AWS, chat(timeout="5s"))]).differences
    assert (found.kind, found.message) == (DifferenceKind.SPEC, "spec.timeout differs: a against b")


def test_each_cluster_may_place_a_copy_of_its_own_but_not_another_spec() -> None:
    mine, theirs = chat(only={"cloud": "azure"}), chat(only={"cloud": "aws"})
    assert kinds(cluster("a", AZURE, mine), cluster("b", AWS, theirs)) == []
    other = chat(only={"cloud": "aws"}, models=["other"])
    assert kinds(cluster("a", AZURE, mine), cluster("b", AWS, other)) == [(DifferenceKind.SPEC, "AIRoute team-a/chat")]


def test_a_copy_that_keeps_itself_out_is_named() -> None:
    views = cluster("a", AZURE, chat()), cluster("b", AWS, chat(only={"cloud": "azure"}))
    assert kinds(*views) == [(DifferenceKind.PLACEMENT, "AIRoute team-a/chat")]


@pytest.mark.parametrize(
    ("status", "said"),
    [("Accepted", "refused"), ("ResolvedRefs", "without a reference"), ("Programmed", "not on every data plane")],
)
def test_the_same_spec_with_another_fate_is_named(status: str, said: str) -> None:
    worse = judged(declared(), served=1, **{status: "False"})
    (found,) = compare([cluster("a", AZURE, chat()), cluster("b", AWS, worse)]).differences
    assert found.kind is DifferenceKind.STATE
    assert said in found.message
    assert "Because: Of something." in found.clusters["b"]
    assert found.clusters["a"] == "InForce"


def test_what_is_refused_everywhere_is_no_difference_but_counted() -> None:
    views = [cluster(name, AZURE, judged(declared(), served=1, Accepted="False")) for name in ("a", "b")]
    assert kinds(*views) == []
    assert count(views[0]).refused == 1


def test_an_older_form_that_is_served_in_one_is_named() -> None:
    assert kinds(cluster("a", AZURE, chat()), cluster("b", AWS, judged(declared(), served=1))) == [
        (DifferenceKind.SERVED, "AIRoute team-a/chat")
    ]


def test_what_no_operator_has_judged_yet_is_named() -> None:
    assert kinds(cluster("a", AZURE, chat()), cluster("b", AWS, declared())) == [
        (DifferenceKind.STATE, "AIRoute team-a/chat")
    ]


def test_commits_and_schemas_are_compared() -> None:
    mine = GitSync("argocd/policies", "a" * 40, "Synced", "Healthy", objects=1)
    theirs = GitSync("argocd/policies", "b" * 40, "OutOfSync", "Healthy", objects=1)
    views = cluster("a", AZURE, applications=(mine,)), cluster("b", AWS, applications=(theirs,))
    assert kinds(*views) == [(DifferenceKind.COMMIT, "")]
    old = ClusterView("b", "https://b", (GatewayView("default", 7, 2, AWS, LEADER),))
    assert kinds(cluster("a", AZURE), old) == [(DifferenceKind.SCHEMA, "")]


def test_a_cluster_of_unknown_facts_is_not_compared() -> None:
    found = compare([cluster("a", AZURE, chat()), cluster("b", None), cluster("c", AWS, chat())])
    assert (found.compared, found.differences) == (("a", "c"), ())
    assert problems(cluster("b", None)) != []


def test_the_digest_is_of_what_takes_effect() -> None:
    both, azure_only = chat(), chat(name="here", only={"cloud": "azure"})
    assert placed_digest(cluster("a", AZURE, both, azure_only)) != placed_digest(cluster("b", AWS, both, azure_only))
    assert placed_digest(cluster("b", AWS, both, azure_only)) == placed_digest(cluster("c", AWS, both))
    # How a copy came to be placed does not matter; which form of it is in force does.
    assert placed_digest(cluster("a", AZURE, chat(only={"cloud": "azure"}))) == placed_digest(cluster("b", AWS, chat()))
    assert placed_digest(cluster("a", AZURE, both)) != placed_digest(cluster("b", AWS, judged(declared(), served=1)))
    assert placed_digest(cluster("a", None, both)) == ""


SELECTORS = st.sampled_from([None, {"cloud": "azure"}, {"cloud": "aws"}, {"jurisdiction": "EU"}, {"name": "nowhere"}])


@given(objects=st.lists(st.tuples(st.sampled_from("abcdef"), SELECTORS, st.integers(1, 3)), max_size=8))
def test_clusters_that_were_given_the_same_never_differ(objects: list[tuple[str, Any, int]]) -> None:
    given_to_all = {name: chat(name=name, only=only, weight=weight) for name, only, weight in objects}.values()
    views = [cluster("a", AZURE, *given_to_all), cluster("b", AWS, *given_to_all), cluster("c", AWS, *given_to_all)]
    assert compare(views).differences == ()
    assert placed_digest(views[1]) == placed_digest(views[2])


@given(objects=st.lists(st.tuples(st.sampled_from("abcdef"), SELECTORS, st.integers(1, 3)), min_size=1, max_size=8))
def test_whatever_takes_effect_is_missed(objects: list[tuple[str, Any, int]]) -> None:
    given_to_all = list({name: chat(name=name, only=only, weight=weight) for name, only, weight in objects}.values())
    lost, rest = given_to_all[0], given_to_all[1:]
    views = [cluster("a", AZURE, *given_to_all), cluster("b", AWS, *rest)]
    expected = [(DifferenceKind.MISSING, str(lost.key))] if lost.selects(AWS) else []
    assert kinds(*views) == expected


def test_problems_of_one_cluster() -> None:
    gateway = GatewayView("default", 7, 3, AZURE, Leader("operator-0", 95.0), PlaneSummary(7, {"7": 1, "6": 1}, 0, 1))
    assert problems(ClusterView("a", "https://a", (gateway,))) == [
        "the leader operator-0 has not renewed its Lease for 95 s: edits have no effect",
        "1 of 2 data planes still run an older revision than 7",
        "data planes that do not answer the operator: 1",
    ]
    assert problems(cluster("a", AZURE)) == []


def test_keys_of_the_same_name_but_another_kind_are_others() -> None:
    policy = judged(declared(kind=Kind.POLICY))
    found = compare([cluster("a", AZURE, chat(), policy), cluster("b", AWS, chat())])
    assert [each.subject for each in found.differences] == [str(ObjectKey(Kind.POLICY, "team-a", "chat"))]
