"""The operator's clock jumps, as a machine's does that was suspended or is set by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from cluster.harness.apiserver import ApiServer
from cluster.harness.gateway import OPERATOR_ACCOUNT
from cluster.harness.install import SYSTEM_NAMESPACE
from cluster.harness.processes import ChildProcess, wait_until
from cluster.harness.system import System
from e2e.faults.changes import Changes
from e2e.faults.conftest import declare
from e2e.faults.test_leader import LEASE, check_statuses, leader_of

HOUR = 3600


class MovedSystem(System):
    """Its operator's clock can be moved."""

    @property
    def clock(self) -> Path:
        """Holds by how many seconds the clock is wrong."""
        return self.directory / "clock"

    def start_operator(self, *, more: Sequence[str] = ()) -> ChildProcess:
        urls = [part for _, admin in self._ports for part in ("--data-plane-url", f"http://127.0.0.1:{admin}")]
        config = self.server.kubeconfig_for_serviceaccount(SYSTEM_NAMESPACE, OPERATOR_ACCOUNT)
        program: list[str | Path] = [sys.executable, Path(__file__).with_name("moved_clock.py"), self.clock, "operator"]
        flags: list[str | Path] = [
            "--kubeconfig",
            config,
            "--namespace",
            SYSTEM_NAMESPACE,
            "--identity",
            "the-operator",
            *urls,
            *more,
        ]
        self._operator = ChildProcess("operator", [*program, *flags], log=self.directory / "operator.log")
        return self._operator


@pytest.fixture
def system(server: ApiServer, tmp_path: Path) -> Iterator[MovedSystem]:
    with MovedSystem(server, tmp_path) as running:
        declare(running)
        yield running


def _transitions(system: System) -> int:
    return int(system.admin.get(LEASE)["spec"].get("leaseTransitions", 0))


@pytest.mark.timeout(300)
def test_a_clock_that_jumps_stops_nothing(system: MovedSystem) -> None:
    with Changes(system) as changes:
        changes.wait(2)
        for jump in (24 * HOUR, -24 * HOUR, 0):
            system.clock.write_text(str(jump))
            changes.wait(4)
    print(f"an operator's clock that jumps by a day: the longest wait of a change {changes.gap:.1f} s")
    assert (changes.failures, changes.torn) == ([], [])
    assert (leader_of(system), _transitions(system)) == ("the-operator", 0)
    assert changes.gap < 5
    check_statuses(system, len(changes.applied))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("jump", "leader"), [(HOUR, "the-operator"), (-HOUR, "second")])
def test_operators_whose_clocks_differ_do_not_take_the_lease_from_each_other(
    system: MovedSystem, start_another: Callable[[str], ChildProcess], jump: int, leader: str
) -> None:
    """A leader whose clock is an hour behind seems to be dead for an hour: the other takes over, once."""
    start_another("second").wait_for_log("listed", deadline=60)
    with Changes(system) as changes:
        changes.wait(2)
        system.clock.write_text(str(jump))
        wait_until(lambda: leader_of(system) == leader, what=f"{leader} to lead", deadline=30)
        changes.wait(15)
        assert leader_of(system) == leader
    assert _transitions(system) == (1 if leader == "second" else 0)
    assert (changes.failures, changes.torn) == ([], [])
    check_statuses(system, len(changes.applied))
