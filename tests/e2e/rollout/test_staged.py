"""Staged roll-out: a bad revision is stopped on the data planes that try it, a good one goes to all."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.callers import ask, send
from cluster.harness.install import SYSTEM_NAMESPACE
from cluster.harness.objects import Manifest, consumer, custom, mock_backend, secret, tenant
from cluster.harness.processes import wait_until
from cluster.harness.system import System
from e2e.rollout.commands import OnCall

TEAM = "team-a"
KEY = "a-key-of-team-a-000001"
OTHER = "a-key-of-team-a-000002"
PLANES = 4
MAPS = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps"


class Callers:
    """Two consumers call every data plane all the time; what they were answered is counted by data plane."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.answers: dict[tuple[str, int], Counter[int]] = {}
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(key, number), daemon=True)
            for key in (KEY, OTHER)
            for number in range(len(system.planes))
        ]

    def _call(self, key: str, number: int) -> None:
        counts = self.answers.setdefault((key, number), Counter())
        while not self._over.is_set():
            try:
                counts[ask(self.system.planes[number].url, key=key).status] += 1
            except OSError:
                counts[0] += 1
            self._over.wait(0.05)

    @contextmanager
    def calling(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()


def _restart(system: System, seconds: int) -> None:
    """The operator begins anew, with staged roll-outs."""
    system.operator.kill9()
    before = system.operator.log_text().count("leading as")
    system.start_operator(more=["--canary", "25%", "--canary-seconds", str(seconds)])
    wait_until(lambda: system.operator.log_text().count("leading as") > before, what="a leader", deadline=30.0)


def _declare(server: ApiServer, system: System) -> None:
    """Before anything is staged: each change would wait for the trial of the one before."""
    server.ensure_namespace(TEAM)
    world = [*tenant(TEAM, KEY, reply="one"), secret(TEAM, "other", {"token": OTHER}), consumer(TEAM, "other")]
    system.apply(*world)
    system.wait_all_ready(world)
    for key in (KEY, OTHER):
        system.wait_for_status(200, key=key, deadline=60.0)


def _denies_one() -> Manifest:
    rules = [{"name": "nobody-called-other", "effect": "Deny", "when": "consumer.name == 'other'"}]
    return custom("AIPolicy", TEAM, "bad", {"targetRefs": [{"kind": "Namespace"}], "authorization": {"rules": rules}})


@pytest.mark.timeout(400)
def test_a_revision_that_denies_one_consumer_is_stopped_and_taken_back(server: ApiServer, tmp_path: Path) -> None:
    on_call = OnCall(server)
    with System(server, tmp_path, data_planes=PLANES) as system:
        _declare(server, system)
        _restart(system, 60)
        callers = Callers(system)
        with callers.calling():
            time.sleep(1.0)  # calls before the change, too
            began = time.monotonic()
            system.apply(_denies_one())
            wait_until(lambda: len(set(system.revisions())) > 1, what="a trial", deadline=30.0)
            tried = max(system.revisions())
            trial = time.monotonic() - began
            wait_until(lambda: min(system.revisions()) > tried, what="the old content everywhere", deadline=60.0)
            seconds = time.monotonic() - began
            print(f"applied to tried {trial:.2f} s, to stopped and taken back everywhere {seconds:.2f} s")
            refused = {number for (key, number), counts in callers.answers.items() if counts[403]}
            denied = {key: sum(c[403] for (k, _), c in callers.answers.items() if k == key) for key in (KEY, OTHER)}
            print(f"refused on data planes {sorted(refused)}: {denied}")
            assert len(refused) == 1, "more data planes than the one that tried it refused somebody"
            assert denied[KEY] == 0
        assert seconds <= 10.0
        failed = sum(counts[0] + counts[503] for counts in callers.answers.values())
        assert failed == 0

        stopped = system.wait_for(_denies_one(), "Programmed", "False", reason="RolloutStopped")
        message = next(c["message"] for c in stopped["status"]["conditions"] if c["type"] == "Programmed")
        print(message)
        assert f"revision {tried} was stopped" in message
        assert f"AIConsumer {TEAM}/other" in message
        events = server.admin.list(f"/api/v1/namespaces/{TEAM}/events")
        assert any(event["reason"] == "RolloutStopped" for event in events)
        assert "was stopped" in on_call.run("revisions")

        # It stays out: over a restart of the operator, and of the data plane that tried it.
        _restart(system, 60)
        for number in range(PLANES):
            system.planes[number].process.kill9()
            system.start_plane(number)
        system.wait_ready()
        system.wait_for_status(200, key=OTHER)
        system.wait_for(_denies_one(), "Programmed", "False", reason="RolloutStopped")

        # What is put right is tried anew, and passes only after its time: so that time is short here.
        system.admin.delete(f"/apis/tidegate.dev/v1alpha1/namespaces/{TEAM}/aipolicies/bad")
        wait_until(lambda: not on_call.revisions()["rollout"], what="nothing to be stopped", deadline=20.0)


@pytest.mark.timeout(400)
def test_a_good_revision_goes_to_all_and_closings_never_wait(server: ApiServer, tmp_path: Path) -> None:
    with System(server, tmp_path, data_planes=PLANES) as system:
        _declare(server, system)
        _restart(system, 8)
        system.apply(mock_backend(TEAM, reply="two"))
        seen: set[tuple[str, ...]] = set()

        def texts() -> list[str]:
            found = [reply.text for reply in system.ask_all(key=KEY)]
            seen.add(tuple(sorted(found)))
            return found

        wait_until(lambda: texts().count("two") == 1, what="one data plane to try it", deadline=20.0)
        held = system.wait_for(mock_backend(TEAM), "Programmed", "False", reason="Canary")
        assert "Tried on 1 data planes first" in str(held["status"])

        # Closed on all, on the one that tries something too; and what is declared besides waits its turn.
        began = time.monotonic()
        system.apply(consumer(TEAM, "other", suspended=True))
        system.wait_for_status(403, key=OTHER)
        print(f"suspended during a trial: refused everywhere after {time.monotonic() - began:.2f} s")
        assert texts().count("two") == 1, "the trial was over before the closing"

        wait_until(lambda: texts().count("two") == PLANES, what="all data planes to have it", deadline=60.0)
        system.wait_for(mock_backend(TEAM), "Ready")
        assert all(found.count("two") in (0, 1, PLANES) or len(set(found)) == 2 for found in seen)
        report = send("GET", f"{system.planes[0].admin_url}/-/rollout").json
        assert set(report) == {"trial", "revision", "revisions"}


@pytest.mark.timeout(400)
def test_a_data_plane_that_starts_during_a_trial_takes_its_part(server: ApiServer, tmp_path: Path) -> None:
    with System(server, tmp_path, data_planes=2) as system:
        _declare(server, system)
        _restart(system, 300)
        system.apply(mock_backend(TEAM, reply="two"))
        wait_until(lambda: len(set(system.revisions())) == 2, what="a trial", deadline=20.0)
        before = system.revisions()
        for number in range(2):
            system.planes[number].process.kill9()
            system.start_plane(number).wait_ready()
        wait_until(lambda: system.revisions() == before, what="each in its part again", deadline=20.0)

        # The operator dies: whoever leads next withdraws what was tried, and tries it anew.
        _restart(system, 300)
        wait_until(
            lambda: min(system.revisions()) > max(before) and len(set(system.revisions())) == 2,
            what="a new trial",
            deadline=30.0,
        )
