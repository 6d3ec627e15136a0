"""Asking for access and granting it, each under its own rights on a real API server, as callers notice it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cluster.harness.callers import send
from cluster.harness.kubectl import Kubectl, KubectlFailed
from cluster.harness.namespaces import remove_namespace
from cluster.harness.objects import Manifest, consumer, custom, key_policy, mock_backend, path_of, route, secret
from cluster.harness.system import System

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "subscriptions"
PLANS = {"plans": [{"name": "basic", "rateLimit": {"requests": 6000}}, {"name": "gold"}]}


@dataclass(frozen=True)
class Parties:
    """A team that wants access, the owner of the route, and kubectl as each of them."""

    team: str
    owner: str
    key: str
    requester: Kubectl
    approver: Kubectl
    approver_config: Path

    def subscription(self, name: str = "search-chat", **more: Any) -> Manifest:
        spec = {
            "consumerRef": {"name": "search"},
            "routeRef": {"namespace": self.owner, "name": "chat"},
            "plan": "gold",
            "reason": "to rank results",
        }
        return custom("AISubscription", self.team, name, {**spec, **more})

    def approval(self, *, namespace: str = "", **more: Any) -> Manifest:
        granted = {"namespace": self.team, "name": "search-chat", "consumer": "search", "route": "chat", "plan": "gold"}
        name = f"{self.team}.search-chat"
        return custom("AIApproval", namespace or self.owner, name, {"subscription": granted, **more})


def _bind(system: System, namespace: str, role: str, account_namespace: str, account: str) -> None:
    body = {
        "metadata": {"name": f"{role}-{account}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": account_namespace}],
    }
    system.admin.create(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings", body)


@pytest.fixture
def parties(system: System, make_namespace: Callable[..., str]) -> Parties:
    """A route that asks for a subscription, and a consumer that has none; everything is in force."""
    team, owner = make_namespace("team"), make_namespace("models")
    key = f"key-of-the-search-team-{team}"
    configs = {
        account: system.server.kubeconfig_for_serviceaccount(namespace, account)
        for namespace, account in ((team, "requester"), (owner, "approver"))
    }
    _bind(system, team, "tidegate-subscriber", team, "requester")
    _bind(system, owner, "tidegate-approver", owner, "approver")
    _bind(system, team, "tidegate-subscription-viewer", owner, "approver")
    world = [
        secret(team, "search", {"token": key}),
        consumer(team, "search"),
        mock_backend(owner),
        route(owner, "chat", models=[owner], allowedNamespaces=[team], subscription=PLANS),
        key_policy(owner),
    ]
    system.apply(*world)
    system.wait_all_ready(world)
    requester, approver = Kubectl(configs["requester"]), Kubectl(configs["approver"])
    return Parties(team, owner, key, requester, approver, configs["approver"])


def _ends(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _asked_and_granted(system: System, parties: Parties, **approval: Any) -> tuple[Manifest, Manifest]:
    wish, grant = parties.subscription(), parties.approval(**approval)
    parties.requester.apply(json.dumps(wish))
    parties.approver.apply(json.dumps(grant))
    system.wait_for_status(200, key=parties.key, model=parties.owner)
    return wish, grant


def test_from_the_wish_to_the_revocation(system: System, parties: Parties) -> None:
    wish = parties.subscription()
    parties.requester.apply(json.dumps(wish))
    found = system.wait_for(wish, "Approved", "False", reason="Pending")
    conditions = {item["type"]: item for item in found["status"]["conditions"]}
    assert list(conditions) == ["Accepted", "ResolvedRefs", "Approved", "Programmed", "Ready"]
    name = f"{parties.team}/search-chat"
    assert f"tidegate approve {name} | kubectl apply -f -" in conditions["Approved"]["message"]
    # A wish that nobody has granted yet is no fault: it must not hold up an Argo CD sync.
    system.wait_for(wish, "Ready", reason="Pending")
    system.wait_for_status(403, key=parties.key, model=parties.owner, code="subscription_required")

    # As the message says, under the approver's rights alone.
    printed = subprocess.run(
        [sys.executable, "-c", "from tidegate_operator.cli import main; main()", "approve", name, "--until", "1h"],
        env={**os.environ, "KUBECONFIG": str(parties.approver_config)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "to rank results" in printed.stderr
    parties.approver.apply(printed.stdout, server_side=False)
    system.wait_for_status(200, key=parties.key, model=parties.owner)
    granted = system.wait_for(wish, "Approved", reason="Approved")
    approval = parties.approval()
    assert granted["status"]["expires"] == system.get(approval)["spec"]["notAfter"]
    system.wait_for(approval, "Programmed")
    for plane in system.planes:
        listed = send("GET", f"{plane.url}/v1/models", key=parties.key).json
        assert [model["id"] for model in listed["data"]] == [parties.owner]

    patch = ["--type=merge", "-p", '{"spec": {"revoked": true}}']
    parties.approver.run("patch", "-n", parties.owner, f"aiapproval/{approval['metadata']['name']}", *patch)
    took = system.wait_for_status(403, key=parties.key, model=parties.owner, code="subscription_required")
    assert took < 1
    system.wait_for(wish, "Approved", "False", reason="Revoked")
    assert "expires" not in system.get(wish)["status"]


@pytest.mark.parametrize("which", ["subscription", "approval"])
def test_access_ends_with_either_object(system: System, parties: Parties, which: str) -> None:
    wish, grant = _asked_and_granted(system, parties)
    if which == "subscription":
        parties.requester.run("delete", "-n", parties.team, "aisubscription/search-chat")
    else:
        parties.approver.run("delete", "-n", parties.owner, f"aiapproval/{grant['metadata']['name']}")
    took = system.wait_for_status(403, key=parties.key, model=parties.owner, code="subscription_required")
    assert took < 1
    if which == "subscription":
        system.wait_for(grant, "ResolvedRefs", "False", reason="SubscriptionNotFound")
    else:
        system.wait_for(wish, "Approved", "False", reason="Pending")


def test_who_may_not_approve_cannot(system: System, parties: Parties) -> None:
    wish = parties.subscription()
    parties.requester.apply(json.dumps(wish))
    for namespace in (parties.owner, parties.team):
        with pytest.raises(KubectlFailed, match=r"aiapprovals.*forbidden|forbidden.*aiapprovals"):
            parties.requester.apply(json.dumps(parties.approval(namespace=namespace)))
    with pytest.raises(KubectlFailed, match="forbidden"):
        parties.requester.run(
            "patch", "-n", parties.team, "aisubscription/search-chat", "--subresource=status", "--type=merge",
            "-p", json.dumps({"status": {"conditions": []}}),
        )  # fmt: skip
    # Even with every right in its own namespace: only an approval in the route's namespace counts.
    own = parties.approval(namespace=parties.team)
    system.apply(own)
    system.wait_for(own, "ResolvedRefs", "False", reason="SubscriptionNotFound")
    assert system.condition(wish, "Approved")["reason"] == "Pending"
    system.wait_for_status(403, key=parties.key, model=parties.owner, code="subscription_required")


def test_what_is_edited_after_the_approval_waits_again(system: System, parties: Parties) -> None:
    wish, grant = _asked_and_granted(system, parties)
    patch = ["--type=merge", "-p", '{"spec": {"plan": "basic"}}']
    parties.requester.run("patch", "-n", parties.team, "aisubscription/search-chat", *patch)
    took = system.wait_for_status(403, key=parties.key, model=parties.owner, code="subscription_required")
    assert took < 1
    found = system.wait_for(wish, "Approved", "False", reason="Pending")
    assert "grants another plan" in found["status"]["conditions"][2]["message"]
    mismatch = system.wait_for(grant, "ResolvedRefs", "False", reason="Mismatch")
    assert "spec.subscription.plan: " in mismatch["status"]["conditions"][1]["message"]
    parties.requester.apply(json.dumps(wish))
    system.wait_for_status(200, key=parties.key, model=parties.owner)


def test_access_ends_when_its_time_has_come(system: System, parties: Parties) -> None:
    end = _ends(10)
    wish, _ = _asked_and_granted(system, parties, notAfter=end)
    granted = system.wait_for(wish, "Approved")
    assert granted["status"]["expires"] == end
    system.wait_for_status(403, key=parties.key, model=parties.owner, code="subscription_required")
    assert datetime.now(UTC) >= datetime.fromisoformat(end)
    # Nothing was edited: the operator's own timer says so.
    found = system.wait_for(wish, "Approved", "False", reason="Expired")
    assert datetime.now(UTC) - datetime.fromisoformat(end) < timedelta(seconds=10)
    assert parties.approval()["metadata"]["name"] in found["status"]["conditions"][2]["message"]


def test_an_argo_cd_sync_is_stable(system: System, parties: Parties) -> None:
    wish, grant = parties.subscription(notAfter=_ends(3600)), parties.approval()
    applied = [
        system.admin.apply(path_of(one), one, field_manager="argocd-controller", force=True) for one in (wish, grant)
    ]
    system.wait_for(wish, "Approved")
    system.wait_for(grant, "Ready")
    system.wait_for(wish, "Ready", reason="Approved")
    for manifest, first in zip((wish, grant), applied, strict=True):
        settled = system.get(manifest)
        again = system.admin.apply(path_of(manifest), manifest, field_manager="argocd-controller", force=True)
        assert again["metadata"]["resourceVersion"] == settled["metadata"]["resourceVersion"]
        assert again["metadata"]["generation"] == first["metadata"]["generation"] == 1
        assert "finalizers" not in again["metadata"]
        assert manifest["spec"].items() <= again["spec"].items()


def test_a_list_tells_who_waits(system: System, parties: Parties) -> None:
    _asked_and_granted(system, parties, notAfter="2100-01-01T00:00:00Z")
    waiting = parties.subscription("another", plan="basic")
    parties.requester.apply(json.dumps(waiting))
    system.wait_for(waiting, "Approved", "False", reason="Pending")
    system.wait_for(parties.subscription(), "Ready", reason="Approved")
    header, *rows = parties.requester.run("get", "-n", parties.team, "aisub").splitlines()
    columns = {row.split()[0]: dict(zip(header.split(), row.split(), strict=False)) for row in rows}
    assert columns["another"] | {"AGE": ""} == {
        "NAME": "another", "READY": "True", "REASON": "Pending", "CONSUMER": "search", "ROUTE": "chat",
        "PLAN": "basic", "APPROVED": "False", "EXPIRES": columns["another"]["EXPIRES"], "AGE": "",
    }  # fmt: skip
    assert columns["search-chat"]["APPROVED"] == "True"
    assert columns["search-chat"]["EXPIRES"] == "2100-01-01T00:00:00Z"


def test_the_example_works_in_a_cluster_and_is_mended_by_a_merge(
    system: System, kubectl: Kubectl, tmp_path: Path
) -> None:
    namespaces = ("models", "team-search", "team-support")
    for namespace in namespaces:
        system.server.ensure_namespace(namespace)
    try:
        kubectl.apply(EXAMPLE)
        waiting = "demo-key-of-the-support-team"
        system.wait_for_status(200, key="demo-key-of-the-search-team", model="chat-large")
        system.wait_for_status(403, key=waiting, model="chat-large", code="subscription_required")
        # What a merge would bring, made from the folder alone.
        merged = tmp_path / "support-chat.yaml"
        command = ["approve", "team-support/support-chat", "--until", "90d", "--dir", str(EXAMPLE)]
        program = [sys.executable, "-c", "from tidegate_operator.cli import main; main()"]
        merged.write_text(subprocess.run([*program, *command], capture_output=True, text=True, check=True).stdout)
        kubectl.apply(merged)
        system.wait_for_status(200, key=waiting, model="chat-large")
    finally:
        for namespace in namespaces:
            remove_namespace(system.admin, namespace)
