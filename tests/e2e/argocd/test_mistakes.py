"""One mistake among two hundred changes, and `git revert` of it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from bench.figures import Goal
from cluster.harness.callers import ask
from cluster.harness.conditions import is_ready
from cluster.harness.objects import Manifest, custom
from cluster.harness.processes import wait_until
from delivery.clusters import POLICIES, Cluster, Delivery

NAMESPACE, KEY = "team-search", "demo-key-for-the-quickstart"
BROKEN = 27
SYNC_DEADLINE = 600.0

pytestmark = pytest.mark.timeout(3600)


def test_one_broken_policy_among_two_hundred_changes(
    delivered: Delivery, goals: list[Goal], pytestconfig: pytest.Config
) -> None:
    """Each policy closes a model of its own: first `before-N`, after the push `after-N`."""
    changes = int(pytestconfig.getoption("--changes"))
    delivered.repository.write("policies/many-routes.yaml", _routes())
    _write(delivered, "before", changes)
    delivered.wait_synced(delivered.repository.push("Two hundred policies"), deadline=SYNC_DEADLINE)
    _in_force(delivered, "before", range(changes), "after")

    _write(delivered, "after", changes, broken=BROKEN)
    broken = delivered.repository.push("Change all of them, one wrongly")
    delivered.wait_synced(broken, health="Degraded", deadline=SYNC_DEADLINE)
    others = [number for number in range(changes) if number != BROKEN]
    live = _in_force(delivered, "after", others, "before")
    _in_force(delivered, "before", [BROKEN], "after")
    messages = [_degraded(delivered, cluster) for cluster in delivered.clusters]
    told = delivered.argo.run_from_guide("kubectl -n argocd get application ai-policies-azure-eu")
    assert told == f"AIPolicy/{_name(BROKEN)}: {messages[0]}\n"
    goals += [
        Goal(
            f"of {changes} changes, one broken: live in every cluster", str(live), str(changes - 1), live == changes - 1
        ),
        Goal("the broken one in Argo CD", messages[0][:120], "Degraded, the compiler's words", True),
    ]

    reverted = delivered.repository.revert(broken)
    delivered.wait_synced(reverted, deadline=SYNC_DEADLINE)
    _in_force(delivered, "before", range(changes), "after")
    goals.append(Goal("git revert of it", "Healthy in every cluster", "Healthy, no hand", True))


def _degraded(delivered: Delivery, cluster: Cluster) -> str:
    """What Argo CD says of the broken policy, and of nothing else."""
    application = delivered.argo.application(f"{POLICIES}-{cluster.name}")
    health = {each["name"]: each.get("health", {}) for each in application["status"]["resources"]}
    degraded = {name: found["message"] for name, found in health.items() if found.get("status") == "Degraded"}
    assert list(degraded) == [_name(BROKEN)], degraded
    message = str(degraded[_name(BROKEN)])
    assert "has no member 'noSuchAttribute'" in message
    assert "The last good form, generation 1, is serving." in message
    return message


def _in_force(delivered: Delivery, word: str, numbers: Iterable[int], other: str) -> int:
    """Wait until every data plane refuses the models of that word, and answers those of the other; how many."""
    listed = list(numbers)
    for cluster in delivered.clusters:
        for plane in cluster.system.planes:
            for number in listed:
                _wait_status(plane.url, f"{word}-{number}", 403)
                _wait_status(plane.url, f"{other}-{number}", 200)
        ready = [is_ready(cluster.system.get(_policy(number, word))) for number in listed]
        assert all(ready) or listed == [BROKEN], (cluster.name, ready)
    return len(listed)


def _wait_status(url: str, model: str, status: int) -> None:
    wait_until(lambda: ask(url, key=KEY, model=model).status == status, what=f"{status} for {model} from {url}")


def _write(delivered: Delivery, word: str, changes: int, *, broken: int | None = None) -> None:
    documents = [_policy(number, word, wrong=number == broken) for number in range(changes)]
    delivered.repository.write("policies/many.yaml", documents)


def _routes() -> list[Manifest]:
    """Both words' models, in either jurisdiction."""
    return [
        custom(
            "AIRoute",
            NAMESPACE,
            f"many-{place}",
            {
                "models": ["before-*", "after-*"],
                "targets": [{"backendRef": {"name": f"mock-{place}"}, "model": "m"}],
                "placement": {"clusterSelector": {"matchLabels": {"jurisdiction": place.upper()}}},
            },
        )
        for place in ("eu", "us")
    ]


def _policy(number: int, word: str, *, wrong: bool = False) -> Manifest:
    rule: dict[str, object] = {"name": "closed", "effect": "Deny", "models": [f"{word}-{number}"]}
    if wrong:
        rule["when"] = "request.noSuchAttribute == 'x'"
    spec = {"targetRefs": [{"kind": "Namespace"}], "authorization": {"rules": [rule]}}
    return custom("AIPolicy", NAMESPACE, _name(number), spec)


def _name(number: int) -> str:
    return f"rule-{number:03d}"
