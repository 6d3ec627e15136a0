"""`tidegate fleet` over three real clusters in different clouds: what it shows, what it names, what it leaves alone."""

from __future__ import annotations

import copy
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.harness.objects import PLURALS, Manifest, custom, key_policy, mock_backend, path_of, route, tenant
from cluster.harness.processes import wait_until
from e2e.fleet.clusters import TEAM, Clusters, Shown, clusters
from samples.kinds import ONE_OF_EACH, placed

KEY = "key-of-a-caller-in-every-cluster"
FACTS = {
    "azure-eu": {"cloud": "azure", "region": "westeurope", "jurisdiction": "EU"},
    "aws-eu": {"cloud": "aws", "region": "eu-central-1", "jurisdiction": "EU"},
    "aws-us": {"cloud": "aws", "region": "us-east-1", "jurisdiction": "US"},
}
NOT_CEL = {"authorization": {"rules": [{"name": "bad", "effect": "Deny", "when": "request.model =="}]}}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    """Three clusters to which the same was delivered, some of it placed in AWS alone."""
    with clusters(FACTS, tmp_path_factory.mktemp("fleet")) as running:
        running.apply(*delivered())
        for system in running.systems.values():
            system.wait_all_ready(delivered())
        yield running


@pytest.fixture
def settled(fleet: Clusters) -> Iterator[Clusters]:
    """As `fleet`; afterwards every cluster has again what was delivered, and nothing else."""
    yield fleet
    wanted = {path_of(item): item for item in delivered()}
    for system in fleet.systems.values():
        for plural in PLURALS.values():
            for item in system.admin.list(f"/apis/tidegate.dev/v1alpha1/{plural}"):
                path = path_of(item)
                if path not in wanted:
                    system.admin.delete(path)
        for item in wanted.values():
            body = copy.deepcopy(item)
            body["metadata"].setdefault("annotations", {})
            system.apply(body)
        system.wait_all_ready(delivered())


def delivered() -> list[Manifest]:
    """What Git holds: a tenant, and a route that is placed in AWS."""
    placed = route(TEAM, "aws-only", models=["aws-only"], **_placed(cloud="aws"))
    return [*tenant(TEAM, KEY), placed]


def _placed(**facts: str) -> dict[str, Any]:
    return {"placement": {"clusterSelector": {"matchLabels": facts}}}


def test_alike_clusters_are_alike_whatever_placement_leaves_out(fleet: Clusters) -> None:
    shown = fleet.show_json()
    assert (shown.exit_code, shown.differences()) == (0, {})
    azure, aws, us = (shown.cluster(name) for name in FACTS)
    assert azure["facts"] == {"name": "azure-eu", "cloud": "azure", "region": "westeurope", "jurisdiction": "EU"}
    assert (azure["objects"], azure["placed"], aws["placed"]) == (5, 4, 5)
    # The two in AWS place the same policy; the one in Azure leaves a route out.
    assert aws["placedDigest"] == us["placedDigest"] != azure["placedDigest"]
    assert (aws["accepted"], aws["programmed"], aws["refused"]) == (5, 5, [])
    assert shown.json["sharedObjects"] == shown.json["alikeObjects"] == 4


def test_a_row_tells_leader_data_planes_and_an_unknown_commit(fleet: Clusters) -> None:
    system = fleet.systems["azure-eu"]
    revision = system.published().revision

    def told() -> Any:
        return fleet.show_json(contexts=["azure-eu"]).cluster("azure-eu")

    wait_until(lambda: told()["gateways"][0]["dataPlanes"]["revisions"] == {str(revision): 1}, what="the Lease to tell")
    gateway = told()["gateways"][0]
    assert (gateway["name"], gateway["revision"]) == ("default", revision)
    assert gateway["leader"]["identity"] == "the-operator"
    assert gateway["leader"]["ageSeconds"] < 10
    assert told()["commitSource"] == "unknown"
    table = fleet.show(contexts=["azure-eu"])
    assert table.exit_code == 0
    assert "commit unknown" in table.text
    assert f"1 on {revision}" in table.text


def test_what_is_missing_differs_or_is_refused_in_one_cluster_is_named(settled: Clusters) -> None:
    fleet = settled
    fleet.systems["aws-us"].delete(route(TEAM, "aws-only", models=[]))
    fleet.apply(mock_backend(TEAM, reply="Another answer."), to=["aws-eu"])
    fleet.apply(key_policy(TEAM, "keys", **NOT_CEL), to=["azure-eu", "aws-eu", "aws-us"])
    lonely = route(TEAM, "azure-only", models=["azure-only"], **_placed(cloud="azure"))
    fleet.apply(lonely, to=["azure-eu"])
    for system in fleet.systems.values():
        system.wait_for(key_policy(TEAM), "Accepted", "False")
    fleet.systems["azure-eu"].wait_for(lonely, "Ready")
    fleet.systems["aws-eu"].wait_for(mock_backend(TEAM), "Ready")

    shown = fleet.show_json()
    assert shown.exit_code == 1
    # The broken policy is the same everywhere and refused everywhere: no difference. So is a route for Azure alone.
    assert shown.differences() == {
        f"AIRoute {TEAM}/aws-only": ("Missing", {"aws-eu": "present", "azure-eu": "present", "aws-us": "missing"}),
        f"AIBackend {TEAM}/mock": ("Spec", _digests(shown, f"AIBackend {TEAM}/mock")),
    }
    (said,) = [each for each in shown.json["differences"] if each["kind"] == "Spec"]
    assert said["message"] == "spec.mock differs: azure-eu and aws-us against aws-eu"
    refused = shown.cluster("aws-us")["refused"]
    assert [(each["object"], each["form"]) for each in refused] == [(f"AIPolicy {TEAM}/keys", "older")]
    table = fleet.show()
    assert "Refused: 3" in table.text
    assert "Differences that placement does not explain: 2" in table.text


def _digests(shown: Shown, name: str) -> dict[str, str]:
    _, told = shown.differences()[name]
    assert len(set(told.values())) == 2
    assert told["azure-eu"] == told["aws-us"]
    return told


def test_the_same_spec_that_lacks_a_secret_in_one_cluster_is_named(settled: Clusters) -> None:
    fleet = settled
    fleet.systems["aws-eu"].delete(tenant(TEAM, KEY)[0])
    caller = tenant(TEAM, KEY)[3]
    fleet.systems["aws-eu"].wait_for(caller, "ResolvedRefs", "False")
    kind, told = fleet.show_json().differences()[f"AIConsumer {TEAM}/caller"]
    assert kind == "State"
    assert told["azure-eu"] == "InForce"
    assert told["aws-eu"].startswith("Unresolved: ")


def test_another_placement_of_one_copy_is_named(settled: Clusters) -> None:
    fleet = settled
    moved = route(TEAM, "chat", models=["chat"], **_placed(cloud="azure"))
    fleet.apply(moved, to=["aws-us"])
    fleet.systems["aws-us"].wait_for(moved, "Ready", reason="NotPlaced")
    kind, told = fleet.show_json().differences()[f"AIRoute {TEAM}/chat"]
    assert (kind, told) == ("Placement", {"azure-eu": "placed", "aws-eu": "placed", "aws-us": "not placed"})


@pytest.mark.parametrize("kind", list(ONE_OF_EACH))
def test_every_kind_is_placed_by_its_selector(settled: Clusters, kind: str) -> None:
    fleet = settled
    item = custom(kind, TEAM, "one", placed(kind, {"cloud": "aws"}))
    fleet.apply(item)
    fleet.systems["azure-eu"].wait_for(item, "Programmed", "False", reason="NotPlaced")
    for name in ("aws-eu", "aws-us"):
        fleet.systems[name].wait_for(item, "Programmed")
    assert f"{kind} {TEAM}/one" in fleet.systems["aws-eu"].published().entries
    assert f"{kind} {TEAM}/one" not in fleet.systems["azure-eu"].published().entries
    shown = fleet.show_json()
    assert shown.differences() == {}
    assert [shown.cluster(name)["placed"] for name in FACTS] == [4, 6, 6]


def test_commits_are_read_from_annotations_and_compared(settled: Clusters) -> None:
    fleet = settled
    for name, commit in (("azure-eu", "a" * 40), ("aws-eu", "a" * 40), ("aws-us", "b" * 40)):
        for item in delivered():
            if item["apiVersion"] != "v1":
                fleet.systems[name].admin.patch(
                    path_of(item), {"metadata": {"annotations": {"tidegate.dev/commit": commit}}}
                )
    shown = fleet.show_json()
    assert shown.cluster("aws-us")["commits"] == ["b" * 40]
    assert shown.cluster("aws-us")["commitSource"] == "annotation"
    assert shown.differences() == {"": ("Commit", {"azure-eu": "a" * 40, "aws-eu": "a" * 40, "aws-us": "b" * 40})}
    for system in fleet.systems.values():
        for item in delivered():
            if item["apiVersion"] != "v1":
                system.admin.patch(path_of(item), {"metadata": {"annotations": {"tidegate.dev/commit": None}}})
    assert fleet.show_json().exit_code == 0


def test_the_fullest_quotas_come_first(settled: Clusters) -> None:
    fleet = settled
    quota = custom(
        "Quota",
        TEAM,
        "calls",
        {
            "targetRefs": [{"kind": "Namespace"}],
            "per": "Consumer",
            "limits": [{"unit": "Requests", "amount": "10", "window": {"calendar": "Day"}}],
        },
    )
    fleet.apply(quota)
    for system in fleet.systems.values():
        system.wait_for(quota, "Ready")
    for reply in (fleet.systems["aws-eu"].ask_all(key=KEY)[0] for _ in range(4)):
        assert reply.status == 200

    def first() -> Any:
        return fleet.show_json("--top", "1").cluster("aws-eu")["quotas"]

    wait_until(lambda: bool(first()) and first()[0]["percent"] == 40, what="the status to tell of use", deadline=60)
    assert first()[0]["name"] == f"{TEAM}/calls"
    assert f"{TEAM}/calls" in fleet.show().text


def test_who_watches_sees_what_changes_until_they_end_it(settled: Clusters, tmp_path: Path) -> None:
    fleet = settled
    said = tmp_path / "said"
    with said.open("wb") as out:
        watching = fleet.watch("--watch", "1", out=out)
        try:
            wait_until(lambda: said.read_text().count("No difference that") >= 2, what="a second look", deadline=30)
            fleet.systems["aws-us"].delete(route(TEAM, "aws-only", models=[]))
            told = f"AIRoute {TEAM}/aws-only is in azure-eu and aws-eu and missing in aws-us"
            wait_until(lambda: told in said.read_text(), what="the watch to tell", deadline=30)
            watching.send_signal(signal.SIGINT)
            assert watching.wait(10) == 130
        finally:
            watching.kill()
            watching.wait()
    assert "Aborted" not in said.read_text()
    assert "Traceback" not in said.read_text()


def test_a_role_that_is_missing_is_said_with_the_remedy(fleet: Clusters) -> None:
    system = fleet.systems["aws-us"]
    binding = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/fleet"
    kept = system.admin.get(binding)
    system.admin.delete(binding)
    try:
        wait_until(lambda: fleet.show_json().exit_code == 2, what="the authorizer to follow")
        assert "tidegate-fleet-viewer" in fleet.show_json().cluster("aws-us")["reason"]
    finally:
        body = {"metadata": {"name": "fleet"}, "roleRef": kept["roleRef"], "subjects": kept["subjects"]}
        system.admin.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", body)
    wait_until(lambda: fleet.show_json().exit_code == 0, what="the authorizer to follow")


def test_an_unknown_context_is_said_with_those_that_there_are(fleet: Clusters) -> None:
    shown = fleet.show(contexts=["azure-eu", "gcp"])
    assert shown.exit_code == 2
    assert "there is no context 'gcp'; there are azure-eu, aws-eu, aws-us" in shown.errors


def test_a_dead_operator_and_a_data_plane_that_hangs_are_told(settled: Clusters) -> None:
    fleet = settled
    system = fleet.systems["aws-us"]
    system.operator.stop()
    shown = fleet.show_json()
    assert shown.exit_code == 1
    (problem,) = shown.cluster("aws-us")["problems"]
    assert problem.startswith("no operator leads")
    system.start_operator()
    wait_until(lambda: fleet.show_json().exit_code == 0, what="the operator to lead again", deadline=30)
    system.planes[0].process.kill9()
    wait_until(
        lambda: "data planes that do not answer the operator: 1" in fleet.show_json().cluster("aws-us")["problems"],
        what="the Lease to tell",
        deadline=30,
    )
    system.start_plane(0).wait_ready()


def test_a_cluster_that_is_away_or_hangs_hides_no_other(fleet: Clusters) -> None:
    """Last: one API server is killed."""
    system = fleet.systems["aws-us"]
    api = system.server.pids[0]
    os.kill(api, signal.SIGSTOP)
    try:
        started = time.monotonic()
        shown = fleet.show_json("--timeout", "2")
        assert time.monotonic() - started < 10
        assert shown.exit_code == 2
        assert shown.cluster("aws-us")["reason"] == "no answer within 2 s"
        assert shown.json["compared"] == ["azure-eu", "aws-eu"]
    finally:
        os.kill(api, signal.SIGCONT)
    system.server.kill_api()
    shown = fleet.show("--timeout", "2")
    assert shown.exit_code == 2
    assert "aws-us    unreachable: " in shown.text
    assert "No difference that placement does not explain (4 objects are placed in each)." in shown.text
    system.server.start_api()
    wait_until(lambda: fleet.show_json().exit_code == 0, what="everything to be as before", deadline=60)
