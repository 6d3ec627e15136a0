"""What is kept of the API server's JSON, and what is made of words that cannot be read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from tidegate_dataplane.snapshot.codec import encode_index
from tidegate_dataplane.snapshot.entries import SCHEMA_VERSION, ClusterFacts, Index
from tidegate_operator.conditions import PlaneReport
from tidegate_operator.fleet.cluster import ClusterView, GitSync, Unreachable
from tidegate_operator.fleet.items import fleet_object, gateway_view, git_sync
from tidegate_operator.fleet.read import assign_applications
from tidegate_operator.ingest import ConfigMapObject, CustomObject, Meta
from tidegate_operator.leadership import LeaseObject, LeaseSpec, micro_time
from tidegate_operator.plane_summary import PLANES_ANNOTATION, PlaneSummary, encode_summary, parse_summary, summarise
from tidegate_operator.world import Kind

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
FACTS = ClusterFacts(name="azure-eu", cloud="azure", labels={"stage": "prod"})


def _object(**spec: Any) -> CustomObject:
    return CustomObject(Meta(name="chat", namespace="team-a"), spec)


def test_the_digest_leaves_out_the_placement_and_the_order_of_fields() -> None:
    placement = {"clusterSelector": {"matchLabels": {"cloud": "azure"}}}
    one = fleet_object(Kind.ROUTE, _object(models=["m"], timeout="9s", placement=placement))
    two = fleet_object(Kind.ROUTE, _object(timeout="9s", models=["m"]))
    assert one.digest == two.digest
    assert (one.selector, two.selector) == ({"cloud": "azure"}, {})
    assert fleet_object(Kind.ROUTE, _object(timeout="8s", models=["m"])).digest != one.digest


def test_the_commit_and_the_fullest_counter_are_kept() -> None:
    meta = Meta(name="q", namespace="team-a", annotations={"tidegate.dev/commit": "abc", "other": "x"})
    top = [{"limit": "daily", "scope": "app", "used": "40", "amount": "50", "percent": 80, "resets": "soon"}]
    found = fleet_object(Kind.QUOTA, CustomObject(meta, {}, {"counters": 3, "top": top, "fullest": "daily of app"}))
    assert found.commit == "abc"
    assert found.quota is not None
    assert (found.quota.percent, found.quota.used, found.quota.fullest) == (80, "40", "daily of app")


def _index(**fields: Any) -> ConfigMapObject:
    index = Index(schema_version=SCHEMA_VERSION, revision=42, gateway="default", cluster=FACTS, shards=())
    data = {**msgspec.json.decode(encode_index(index)), **fields}
    return ConfigMapObject(Meta(name="tidegate-default"), {"index.json": msgspec.json.encode(data).decode()})


def _lease(age: float, **annotations: str) -> LeaseObject:
    spec = LeaseSpec(holder_identity="operator-0", renew_time=micro_time(NOW - timedelta(seconds=age)))
    return LeaseObject(Meta(name="tidegate-default", annotations=annotations), spec)


def test_a_gateway_is_read_from_its_index_and_its_lease() -> None:
    reports = [PlaneReport("a", True, 42), PlaneReport("b", True, 41, "TooLarge: no"), PlaneReport("c", False)]
    said = encode_summary(summarise(reports, published=42, silent=1))
    view = gateway_view(_index(), _lease(3.5, **{PLANES_ANNOTATION: said}), NOW)
    assert view is not None
    assert (view.name, view.revision, view.facts) == ("default", 42, FACTS)
    assert view.leader is not None
    assert (view.leader.identity, view.leader.age, view.leader.alive) == ("operator-0", 3.5, True)
    assert view.planes == PlaneSummary(42, {"42": 1, "41": 1}, 1, 1, ("b: TooLarge: no",))
    assert (view.planes.ready, view.planes.behind) == (2, 1)


def test_a_newer_operators_index_is_still_read() -> None:
    view = gateway_view(_index(schema_version=99, newer=True), None, NOW)
    assert view is not None
    assert (view.schema_version, view.leader, view.planes) == (99, None, None)


@pytest.mark.parametrize("data", [{}, {"index.json": "{"}, {"index.json": "[]"}])
def test_what_is_no_index_is_no_gateway(data: dict[str, str]) -> None:
    assert gateway_view(ConfigMapObject(Meta(name="tidegate-default"), data), None, NOW) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"revisions": {"x": 1}}', '{"revisions": 1}'])
def test_a_summary_that_cannot_be_read_is_none(text: str) -> None:
    assert parse_summary(text) is None


def test_a_summary_stays_small() -> None:
    reports = [PlaneReport(f"plane-{number}", True, number, "x" * 10_000) for number in range(1000)]
    assert len(encode_summary(summarise(reports, published=999, silent=0))) < 2000


def _application(**destination: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "policies", "namespace": "argocd"},
        "spec": {"destination": destination},
        "status": {
            "sync": {"status": "Synced", "revision": "abc"},
            "health": {"status": "Healthy"},
            "resources": [{"group": "tidegate.dev", "kind": "AIRoute"}, {"group": "", "kind": "Secret"}],
        },
    }


def test_an_application_of_ours_is_read_and_others_are_not() -> None:
    found = git_sync(_application(server="https://b"))
    assert found == GitSync("argocd/policies", "abc", "Synced", "Healthy", "https://b", "", 1, target="abc")
    assert git_sync({**_application(), "status": {"resources": [{"group": "apps"}]}}) is None
    assert git_sync({"metadata": None, "status": "?"}) is None


@pytest.mark.parametrize(
    ("sync", "history", "revision", "target"),
    [
        ({"status": "OutOfSync", "revision": "new"}, [{"revision": "older"}, {"revision": "old"}], "old", "new"),
        ({"status": "Unknown", "revision": "new"}, [{"revision": "old"}], "old", "new"),
        ({"status": "OutOfSync", "revision": "new"}, [], "", "new"),
        ({"status": "OutOfSync", "revision": "new"}, None, "", "new"),
        ({"status": "OutOfSync", "revisions": ["b", "y"]}, [{"revisions": ["a", "x"]}], "a+x", "b+y"),
        # What changed touches nothing of this Application: it is in sync at a commit that it was never synced to.
        ({"status": "Synced", "revision": "new"}, [{"revision": "old"}], "new", "new"),
        ({"status": "OutOfSync", "revision": "new"}, ["?"], "", "new"),
        ({}, "?", "", ""),
    ],
)
def test_a_commit_counts_when_it_is_applied_not_when_it_is_seen(
    sync: Any, history: Any, revision: str, target: str
) -> None:
    application = _application(server="https://b")
    application["status"].update(sync=sync, history=history)
    found = git_sync(application)
    assert found is not None
    assert (found.revision, found.target) == (revision, target)


def test_applications_belong_to_the_cluster_that_they_deliver_to() -> None:
    stays = git_sync(_application(server="https://kubernetes.default.svc"))
    leaves = git_sync(_application(server="https://b/"))
    assert stays is not None
    assert leaves is not None
    hub = ClusterView("a", "https://a", applications=(stays, leaves))
    spoke, gone = ClusterView("b", "https://b"), Unreachable("c", "away")
    one, two, three = assign_applications([hub, spoke, gone])
    assert isinstance(one, ClusterView)
    assert isinstance(two, ClusterView)
    assert (one.applications, two.applications, three) == ((stays,), (leaves,), gone)
    # From a hub that is not shown itself only what leaves it counts.
    (alone,) = assign_applications([spoke], [stays, leaves])
    assert isinstance(alone, ClusterView)
    assert alone.applications == (leaves,)
