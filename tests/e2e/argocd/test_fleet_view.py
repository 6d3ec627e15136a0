"""`tidegate fleet` beside the real Argo CD: which commit a cluster has, and how far it is behind a branch."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.harness.objects import Manifest, custom
from cluster.harness.processes import wait_until
from delivery.clusters import POLICIES, Delivery
from e2e.fleet.clusters import Shown, let_look, run_fleet, write_kubeconfig

pytestmark = pytest.mark.timeout(1800)


@dataclass(frozen=True)
class Looking:
    """The contexts of somebody who may look at every cluster, and a clone of the repository."""

    kubeconfig: Path
    contexts: tuple[str, ...]
    clone: Path

    def show(self, *more: str, contexts: tuple[str, ...] | None = None) -> Shown:
        """Run `tidegate fleet --output json` in the clone."""
        return run_fleet(self.kubeconfig, contexts or self.contexts, "--output", "json", *more, folder=self.clone)

    def fetch(self) -> None:
        """Hear of what was pushed."""
        subprocess.run(["git", "fetch", "-q"], cwd=self.clone, check=True)


@pytest.fixture(scope="module")
def looking(delivered: Delivery, tmp_path_factory: pytest.TempPathFactory) -> Looking:
    """The clone is two commits ahead of what was pushed."""
    folder = tmp_path_factory.mktemp("looking")
    for cluster in delivered.clusters:
        let_look(cluster.server)
    servers = {cluster.name: cluster.server for cluster in delivered.clusters}
    # Argo CD syncs what changes something, and takes note of what does not.
    delivered.repository.write("policies/looking.yaml", [_policy("looking", effect="Deny")])
    delivered.wait_synced(delivered.repository.push("A policy that closes nothing"))
    clone = delivered.repository.clone(folder / "clone", ahead=2)
    return Looking(write_kubeconfig(servers, folder), tuple(servers), clone)


def test_the_commit_of_each_cluster_and_how_far_it_is_behind(delivered: Delivery, looking: Looking) -> None:
    shown = looking.show("--git-ref", "origin/main")
    assert (shown.exit_code, shown.differences()) == (0, {})
    for name in looking.contexts:
        told = shown.cluster(name)
        assert told["commits"] == [shown.json["head"]]
        assert (told["commitSource"], told["behind"]) == ("argocd", 0)
        policies = next(each for each in told["applications"] if each["name"].endswith(f"/{POLICIES}-{name}"))
        assert (policies["sync"], policies["health"]) == ("Synced", "Healthy")
    ahead = looking.show("--git-ref", "HEAD")
    assert ahead.exit_code == 1
    assert [ahead.cluster(name)["behind"] for name in looking.contexts] == [2, 2, 2]


def test_argo_cd_may_run_in_a_cluster_that_is_not_shown(looking: Looking) -> None:
    hub, *shown_too = looking.contexts
    alone = looking.show("--git-ref", "origin/main", contexts=tuple(shown_too))
    assert {alone.cluster(name)["commitSource"] for name in shown_too} == {"unknown"}
    shown = looking.show("--git-ref", "origin/main", "--argocd-context", hub, contexts=tuple(shown_too))
    assert shown.exit_code == 0
    for name in shown_too:
        assert (shown.cluster(name)["commitSource"], shown.cluster(name)["behind"]) == ("argocd", 0)


def test_a_commit_that_cannot_be_applied_is_not_taken_for_applied(delivered: Delivery, looking: Looking) -> None:
    """Argo CD says at once that it has seen the commit; the API servers refuse what is in it."""
    applied = looking.show("--git-ref", "origin/main").json["head"]
    delivered.repository.write("policies/sideways.yaml", [_policy("sideways", effect="Sideways")])
    refused = delivered.repository.push("No such effect")
    try:
        wait_until(
            lambda: all(_is_behind(looking.show().cluster(name), refused) for name in looking.contexts),
            what="every cluster to be told as behind",
            deadline=120,
        )
        looking.fetch()
        shown = looking.show("--git-ref", "origin/main")
        assert (shown.exit_code, shown.json["head"]) == (1, refused)
        for name in looking.contexts:
            told = shown.cluster(name)
            assert (told["commits"], told["behind"]) == ([applied], 1)
    finally:
        delivered.wait_synced(delivered.repository.revert(refused))
    assert looking.show().exit_code == 0


def _policy(name: str, *, effect: str) -> Manifest:
    rule = {"name": "closed", "effect": effect, "models": ["no-such-model"]}
    return custom(
        "AIPolicy",
        "team-search",
        name,
        {"targetRefs": [{"kind": "Namespace"}], "authorization": {"rules": [rule]}},
    )


def _is_behind(told: Any, commit: str) -> bool:
    return any(problem.startswith(f"Argo CD has not applied {commit[:8]}: ") for problem in told["problems"])
