"""The API server and its etcd are harmed: restarted under changes, compacted, wiped and filled again from Git."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.harness.callers import status_of
from cluster.harness.objects import mock_backend, route, tenant
from cluster.harness.processes import wait_until
from cluster.harness.rest import ApiError
from cluster.harness.system import System
from e2e.faults.changes import KEY, TEAM, Changes
from e2e.faults.conftest import declare, install
from e2e.faults.etcd import FragileServer
from e2e.faults.test_leader import check_statuses


@pytest.fixture
def server() -> Iterator[FragileServer]:
    with FragileServer() as running:
        install(running)
        yield running


@pytest.fixture
def system(server: FragileServer, tmp_path: Path) -> Iterator[System]:
    with System(server, tmp_path) as running:
        declare(running)
        yield running


@pytest.mark.timeout(300)
def test_an_api_server_that_restarts_under_changes_loses_none(system: System) -> None:
    away = []
    with Changes(system, patient=True) as changes:
        for stop in (system.server.kill_api, system.server.stop_api):
            changes.wait(3)
            stopped = time.monotonic()
            stop()
            system.server.start_api()
            away.append(time.monotonic() - stopped)
            changes.wait(3)
    print(
        f"an API server restarted twice under one change a second: away for {max(away):.1f} s, the longest wait of a"
        f" change {changes.gap:.1f} s"
    )
    assert (changes.failures, changes.torn) == ([], [])
    assert changes.gap < max(away) + 10
    assert changes.revisions == sorted(changes.revisions)
    check_statuses(system, len(changes.applied))


@pytest.mark.timeout(600)
def test_an_api_server_that_dies_thirty_times_takes_nobody_with_it(system: System) -> None:
    """Connections are cut in every phase of their making, which once in some fifteen times ended an operator."""
    for number in range(1, 31):
        system.server.kill_api()
        system.server.start_api()
        system.apply(mock_backend(TEAM, reply=f"Change {number}."))
        system.wait_for_text(f"Change {number}.", key=KEY, deadline=30)
        assert all(process.alive for process in system.processes)


@pytest.mark.timeout(300)
def test_what_happened_before_a_compaction_is_found(system: System, server: FragileServer) -> None:
    """410 Gone: everybody's last resourceVersion is older than what the API server still knows."""
    extra = route(TEAM, "extra", models=["extra"])
    system.apply(extra)
    system.wait_for_status(200, key=KEY, model="extra")
    known = server.admin.get("/apis/tidegate.dev/v1alpha1/airoutes")["metadata"]["resourceVersion"]
    for process in system.processes:
        process.signal(signal.SIGSTOP)
    system.delete(extra)
    system.apply(mock_backend(TEAM, reply="Before the compaction."))
    server.stop_api()
    server.compact()
    server.start_api()
    # The fault is real: a watch from where they were is refused.
    path = f"/apis/tidegate.dev/v1alpha1/airoutes?watch=true&timeoutSeconds=1&resourceVersion={known}"
    assert "too old resource version" in _refusal(server, path)
    for process in system.processes:
        process.signal(signal.SIGCONT)
    system.wait_for_status(404, key=KEY, model="extra", deadline=60)
    system.wait_for_text("Before the compaction.", key=KEY, deadline=60)
    system.wait_for(mock_backend(TEAM), "Ready")


def _refusal(server: FragileServer, path: str) -> str:
    try:
        return server.admin.request("GET", path).decode()
    except ApiError as error:
        return error.message


@pytest.mark.parametrize("newer", [False, True], ids=["older versions", "newer versions"])
@pytest.mark.timeout(400)
def test_a_wiped_cluster_serves_again_what_git_holds(system: System, server: FragileServer, newer: bool) -> None:
    """etcd is empty, Argo CD applies everything again; data planes served their last snapshot all the while.

    The versions of the new etcd may already have passed those of the old when roles let the operator read again.
    """
    before, newest = system.published().revision, server.newest()
    server.wipe()
    if newer:
        server.write_until(newest + 100)
    answers: set[tuple[int, str]] = set()
    install(server)
    # The operator ends, because its world is another one, and the kubelet starts it again. It leads and waits.

    def waits() -> bool:
        _asked(system, answers)
        if not system.operator.alive:
            system.start_operator()
        return "waiting until everything is declared again" in system.operator.log_text()

    wait_until(waits, what="an operator to lead in the empty cluster", deadline=120)
    first, *rest = tenant(TEAM, KEY, reply="After the wipe.")
    system.apply(first)
    system.apply(*rest)
    wait_until(lambda: _asked(system, answers) == {"After the wipe."}, what="the new world to be served", deadline=120)
    assert answers == {(200, "Change 0."), (200, "After the wipe.")}
    system.wait_all_ready([first, *rest])
    assert system.published().revision > before
    assert min(system.revisions()) > before


def _asked(system: System, answers: set[tuple[int, str]]) -> set[str]:
    """What the data planes say now; all that they ever said is added to `answers`."""
    replies = [(reply.status, reply.text if reply.status == 200 else reply.code) for reply in system.ask_all(key=KEY)]
    answers.update(replies)
    return {text for _, text in replies}


def test_data_planes_tell_that_they_serve_an_old_snapshot_while_the_api_server_is_away(system: System) -> None:
    revision = system.published().revision
    system.server.kill_api()
    try:
        for plane in system.planes:
            wait_until(
                lambda plane=plane: "Failing" in {each["state"] for each in status_of(plane.admin_url)["sources"]},  # type: ignore[misc]
                what="the data plane to say so",
                deadline=60,
            )
            status = status_of(plane.admin_url)
            assert (status["ready"], status["revision"]) == (True, revision)
    finally:
        system.server.start_api()
