"""From `git push` to enforced in three clusters, by the real Argo CD, with no hand touching anything."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from bench.figures import Goal, median, table
from bench.worlds import chat_body
from cluster.harness.objects import Manifest, custom
from delivery.clusters import Delivery, facts_of
from delivery.quiet import unrest
from delivery.timing import Question, push_and_measure

NAMESPACE, KEY = "team-search", "demo-key-for-the-quickstart"
OPEN, CLOSED = 200, 403

pytestmark = pytest.mark.timeout(3600)


def test_labels_become_facts_and_placement_follows(delivered: Delivery) -> None:
    """From the labels of the cluster's Secret, by the chart, to the operator's flags, and to what is placed where.

    The same files go everywhere; the answer comes from the backend of the cluster's own jurisdiction.
    """
    for cluster in delivered.clusters:
        labels = cluster.labels
        assert facts_of(cluster.server) == [
            f"--cluster-name={cluster.name}",
            f"--cloud={labels['tidegate.dev/cloud']}",
            f"--region={labels['tidegate.dev/region']}",
            f"--jurisdiction={cluster.jurisdiction}",
            f"--cluster-label=environment={labels['environment']}",
        ]
        cluster.system.wait_for_text(f"Answered in the {cluster.jurisdiction}.", key=KEY)
        elsewhere = "us" if cluster.jurisdiction == "EU" else "eu"
        status = cluster.system.get(custom("AIRoute", NAMESPACE, f"chat-{elsewhere}", {}))["status"]
        ready = next(each for each in status["conditions"] if each["type"] == "Ready")
        assert (ready["status"], ready["reason"]) == ("True", "NotPlaced")


def test_a_push_is_enforced_everywhere(
    delivered: Delivery, goals: list[Goal], tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """The time runs from the moment at which the cluster's API server shows what Argo CD wrote."""
    pushes = int(pytestconfig.getoption("--pushes"))
    body = tmp_path / "body.json"
    body.write_bytes(chat_body("chat"))
    delivered.wait_synced(_push_gate(delivered, closed=False, message="A gate that is open"))
    lags: list[list[float]] = []
    totals: list[float] = []
    for number in range(pushes):
        closed = number % 2 == 0
        commit, total, each = push_and_measure(
            delivered.clusters,
            Question(body, KEY, _gate(closed=closed)),
            wanted=CLOSED if closed else OPEN,
            push=partial(_push_gate, delivered, closed=closed, message=f"Push {number}"),
        )
        lags.append(each)
        totals.append(total)
        delivered.wait_synced(commit)
    by_cluster = dict(zip((cluster.name for cluster in delivered.clusters), zip(*lags, strict=True), strict=True))
    rows = [
        (name, len(each), *(f"{x * 1000:.0f}" for x in (min(each), median(each), max(each))))
        for name, each in by_cluster.items()
    ]
    title = "from Argo CD's write to enforced at both data planes, ms"
    print(table(title, ("cluster", "pushes", "fastest", "median", "slowest"), rows))
    worst = max(median(each) for each in by_cluster.values())
    whole = f"{len(totals)} of {pushes}, {median(totals):.1f} s (Argo CD looks every 4 s)"
    goals += [
        Goal("git push → enforced in three clusters", whole, "unattended", len(totals) == pushes),
        Goal("Argo CD's sync → enforced, median", f"{worst * 1000:.0f} ms", "<= 300 ms", worst <= 0.3),
    ]
    assert worst <= 0.3, lags


def test_nothing_is_synced_again(delivered: Delivery, goals: list[Goal], pytestconfig: pytest.Config) -> None:
    minutes = float(pytestconfig.getoption("--quiet-minutes"))
    seen = unrest(delivered.applications, minutes * 60)
    goals.append(Goal(f"OutOfSync, or further syncs, in {minutes:g} min after", str(len(seen)), "0", not seen))
    assert seen == []


def test_nothing_that_is_delivered_has_a_finalizer(delivered: Delivery) -> None:
    for cluster in delivered.clusters:
        for kind in ("aibackends", "aiconsumers", "aipolicies", "airoutes", "quotas"):
            found = cluster.server.admin.list(f"/apis/tidegate.dev/v1alpha1/{kind}")
            assert found
            assert [each["metadata"]["name"] for each in found if each["metadata"].get("finalizers")] == []


def _push_gate(delivered: Delivery, *, closed: bool, message: str) -> str:
    delivered.repository.write("policies/gate.yaml", [_gate(closed=closed)])
    return delivered.repository.push(message)


def _gate(*, closed: bool) -> Manifest:
    """A policy beside the example's own, which closes the namespace or leaves it as it is."""
    rule = {"name": "closed", "effect": "Deny", "models": ["chat" if closed else "no-such-model"]}
    spec = {"targetRefs": [{"kind": "Namespace"}], "authorization": {"rules": [rule]}}
    return custom("AIPolicy", NAMESPACE, "gate", spec)
