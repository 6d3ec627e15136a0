"""The ways in which Argo CD writes and deletes: none of them makes a loop, and nothing is left behind."""

from __future__ import annotations

import time

import pytest

from bench.figures import Goal
from cluster.harness.conditions import is_ready
from cluster.harness.objects import Manifest, custom, mock_backend, path_of
from cluster.harness.processes import wait_until
from cluster.harness.rest import ApiError
from delivery.clusters import Cluster, Delivery
from delivery.quiet import syncs, unrest

NAMESPACE, KEY = "team-search", "demo-key-for-the-quickstart"
QUIET_SECONDS = 15.0
SYNC_OPTIONS = "argocd.argoproj.io/sync-options"
WAVE = "argocd.argoproj.io/sync-wave"

pytestmark = pytest.mark.timeout(1800)


@pytest.mark.parametrize("option", ["Replace=true", "ServerSideApply=true", "ServerSideApply=false"])
def test_no_way_of_writing_makes_a_loop(delivered: Delivery, goals: list[Goal], option: str) -> None:
    """Written twice in that way: the status survives, the new generation is judged, and nothing is synced again."""
    name = f"way-{option.lower().replace('=', '-').replace('serverside', '')}"
    for models in (["one"], ["two"]):
        policy = _policy(name, models, annotations={SYNC_OPTIONS: option})
        delivered.repository.write(f"policies/{name}.yaml", [policy])
        delivered.wait_synced(delivered.repository.push(f"{option}: {models}"))
    for cluster in delivered.clusters:
        found = cluster.system.get(policy)
        assert found["metadata"]["generation"] == 2
        assert is_ready(found)
        assert found["spec"]["authorization"]["rules"][0]["models"] == ["two"]
    seen = unrest(delivered.policies, QUIET_SECONDS)
    goals.append(Goal(f"{option}: syncs in {QUIET_SECONDS:g} s after", str(len(seen)), "0", not seen))
    assert seen == []


def test_an_edit_by_hand_is_healed_once(delivered: Delivery, goals: list[Goal]) -> None:
    policy = _policy("closed", ["chat"])
    policy["spec"]["mode"] = "Enforce"
    delivered.repository.write("policies/closed.yaml", [policy])
    closed = delivered.repository.push("Close it")
    delivered.wait_synced(closed)
    cluster = delivered.clusters[-1]
    cluster.system.wait_for_status(403, key=KEY)
    before = syncs(delivered.policies()[-1])

    cluster.server.admin.patch(path_of(policy), {"spec": {"mode": "Shadow"}})
    cluster.system.wait_for_status(200, key=KEY)
    began = time.monotonic()
    wait_until(
        lambda: cluster.system.get(policy)["spec"]["mode"] == "Enforce", what="Argo CD to put it back", deadline=120
    )
    healed = time.monotonic() - began
    cluster.system.wait_for_status(403, key=KEY)
    wait_until(lambda: is_ready(cluster.system.get(policy)), what="the policy to be ready", deadline=30)
    assert syncs(delivered.policies()[-1]) != before
    # Argo CD looks again after it has written, and until then says what it saw before.
    delivered.wait_synced(closed)
    seen = unrest(delivered.policies, QUIET_SECONDS)
    goals.append(Goal("self-heal after an edit by hand", f"{healed:.1f} s, then {len(seen)} syncs", "once", not seen))
    assert seen == []

    delivered.repository.remove("policies/closed.yaml")
    delivered.wait_synced(delivered.repository.push("Open it"))
    for each in delivered.clusters:
        each.system.wait_for_status(200, key=KEY)


def test_what_is_taken_out_of_git_is_gone_at_once(delivered: Delivery, goals: list[Goal]) -> None:
    """No finalizer of ours waits for anybody: with the operator dead the objects go all the same."""
    documents = [mock_backend(NAMESPACE, "gone"), _policy("gone", ["gone"])]
    delivered.repository.write("policies/gone.yaml", documents)
    delivered.wait_synced(delivered.repository.push("Two objects that will go"))
    cluster = delivered.clusters[0]
    cluster.system.operator.kill9()
    try:
        delivered.repository.remove("policies/gone.yaml")
        delivered.wait_synced(delivered.repository.push("And they go"))
        left = [each for cluster in delivered.clusters for each in documents if _exists(cluster, each)]
    finally:
        cluster.system.start_operator()
    goals.append(Goal("pruned with the operator dead: objects left", str(len(left)), "0", not left))
    assert left == []


def test_a_refused_object_holds_up_later_waves_only(delivered: Delivery) -> None:
    """Why the example has no waves among policies: Argo CD waits for each wave but the last to be healthy."""
    refused = _policy("refused", ["x"], annotations={WAVE: "1"})
    refused["spec"]["authorization"]["rules"][0]["when"] = "request.noSuchAttribute == 'x'"
    beside = _policy("beside", ["x"], annotations={WAVE: "1"})
    after = _policy("after", ["x"], annotations={WAVE: "2"})
    delivered.repository.write("policies/waves.yaml", [refused, beside, after])
    delivered.repository.push("Waves")
    cluster = delivered.clusters[0]
    wait_until(lambda: _failed_sync(delivered), what="the sync to fail", deadline=300)
    assert _exists(cluster, beside)
    assert not _exists(cluster, after)

    for policy in (refused, beside, after):
        policy["metadata"]["annotations"].pop(WAVE)
    delivered.repository.write("policies/waves.yaml", [refused, beside, after])
    delivered.wait_synced(delivered.repository.push("No waves"), health="Degraded")
    assert _exists(cluster, after)
    delivered.repository.remove("policies/waves.yaml")
    delivered.wait_synced(delivered.repository.push("Without them"))


def _failed_sync(delivered: Delivery) -> bool:
    """Failed, or failed and trying again."""
    operation = delivered.policies()[0]["status"].get("operationState", {})
    return operation.get("phase") == "Failed" or "retry" in operation.get("message", "").lower()


def _exists(cluster: Cluster, manifest: Manifest) -> bool:
    try:
        cluster.system.get(manifest)
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    return True


def _policy(name: str, models: list[str], *, annotations: dict[str, str] | None = None) -> Manifest:
    rule = {"name": "closed", "effect": "Deny", "models": models}
    policy = custom(
        "AIPolicy", NAMESPACE, name, {"targetRefs": [{"kind": "Namespace"}], "authorization": {"rules": [rule]}}
    )
    policy["metadata"]["annotations"] = dict(annotations or {})
    return policy
