"""The leading operator dies while something changes every second; another follows."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.harness.conditions import condition
from cluster.harness.objects import path_of
from cluster.harness.processes import ChildProcess, wait_until
from cluster.harness.rest import ApiError
from cluster.harness.system import System
from e2e.faults.changes import Changes, change

KILLS = int(os.environ.get("TIDEGATE_LEADER_KILLS", "3"))
MOST_SECONDS = 15.0
LEASE = "/apis/coordination.k8s.io/v1/namespaces/tidegate-system/leases/tidegate-default"


def leader_of(system: System) -> str:
    """Who holds the Lease."""
    try:
        return str(system.admin.get(LEASE)["spec"].get("holderIdentity", ""))
    except (ApiError, OSError):
        return ""


def _warm(start: Callable[[], ChildProcess], log: Path) -> ChildProcess:
    """Start an operator and wait until it has listed everything, as a standby has that was not started this second."""
    before = _lists(log)
    process = start()
    wait_until(lambda: _lists(log) > before, what="the standby to list", deadline=60, process=process)
    return process


def _lists(log: Path) -> int:
    return log.read_text(errors="replace").count('"listed ') if log.exists() else 0


def check_statuses(system: System, changes: int) -> None:
    """Nothing was lost: every change is in force and says so for its newest generation."""
    published = system.published()
    for number in range(1, changes + 1):
        made, _ = change(number)
        item = system.wait_for(made, "Ready")
        ready = condition(item, "Ready")
        assert (ready["status"], item["status"]["servedGeneration"]) == ("True", item["metadata"]["generation"])
        assert f"AIRoute {made['metadata']['namespace']}/change-{number}" in published.entries
    assert system.admin.get(path_of(change(1)[1]))["spec"]["mock"]["reply"] == f"Change {changes}."


@pytest.mark.timeout(120 + 60 * KILLS)
def test_a_dead_leader_is_followed_before_anybody_minds(
    system: System, start_another: Callable[[str], ChildProcess]
) -> None:
    logs = {"the-operator": system.operator.log, "second": system.directory / "operator-second.log"}
    operators = {"the-operator": system.operator, "second": _warm(lambda: start_another("second"), logs["second"])}
    pauses, gaps = [], []
    with Changes(system) as changes:
        changes.wait(3)
        for _ in range(KILLS):
            before, dead = changes.gap, leader_of(system)
            operators[dead].kill9()
            killed = time.monotonic()
            wait_until(lambda: leader_of(system) not in ("", dead), what="another to lead", deadline=30)  # noqa: B023 - called at once
            pauses.append(time.monotonic() - killed)
            changes.wait_until_obeyed()
            gaps.append(changes.gap if changes.gap > before else before)
            again = system.start_operator if dead == "the-operator" else lambda: start_another("second")
            operators[dead] = _warm(again, logs[dead])
            changes.wait(2)
    usual = statistics.quantiles(changes.obeyed.values(), n=10)[0]
    print(
        f"{KILLS} leaders killed under one change a second: another leads after {max(pauses):.1f} s, the"
        f" longest wait of a change {changes.gap:.1f} s, the quickest tenth {usual * 1000:.0f} ms"
    )
    assert changes.failures == []
    assert changes.torn == []
    assert changes.revisions == sorted(changes.revisions)
    assert changes.gap <= MOST_SECONDS
    check_statuses(system, len(changes.applied))


def test_a_leader_that_is_stopped_hands_over_at_once(
    system: System, start_another: Callable[[str], ChildProcess]
) -> None:
    """An upgrade of the operator, a drained node: SIGTERM gives the Lease back."""
    _warm(lambda: start_another("second"), system.directory / "operator-second.log")
    with Changes(system) as changes:
        changes.wait(3)
        system.operator.stop()
        changes.wait(5)
    print(f"a leader that is stopped: the longest wait of a change {changes.gap:.1f} s")
    assert (changes.failures, changes.torn) == ([], [])
    assert changes.gap <= 5
    check_statuses(system, len(changes.applied))
