"""One leader at a time, and no longer than its Lease says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tidegate_operator import leadership
from tidegate_operator.kube import LEASES, ApiError, ClusterReplaced
from tidegate_operator.leadership import Election, micro_time
from tidegate_operator.outputs import Gateway

GATEWAY = Gateway("default", "tidegate-system")
LEASE = LEASES.path("tidegate-system", "tidegate-default")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(leadership, "RENEW_DEADLINE_SECONDS", 0.2)


class Candidate:
    """An election in which `leads` tells whether it leads now."""

    def __init__(self, api: Any, identity: str) -> None:
        self.election = Election(api, GATEWAY, identity=identity, on_version=lambda version: None)
        self.leads = asyncio.Event()
        self.terms = 0

    async def lead(self) -> None:
        self.terms += 1
        self.leads.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.leads.clear()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.election.run(self.lead))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _held_by(api: Any, holder: str, *, renewed: datetime, seconds: int = 15) -> None:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": micro_time(renewed)}
    api._store(LEASE, {"metadata": {"name": "tidegate-default"}, "spec": spec})


async def _within(event: asyncio.Event, seconds: float = 3.0) -> None:
    async with asyncio.timeout(seconds):
        await event.wait()


async def test_the_first_leads_the_second_waits_and_takes_over_when_it_ends(api: Any) -> None:
    first, second = Candidate(api, "first"), Candidate(api, "second")
    async with first.running():
        await _within(first.leads)
        async with second.running():
            await asyncio.sleep(0.1)
            assert not second.leads.is_set()
            assert await first.election.verify()
            assert not await second.election.verify()
            async with _stopping(first):
                await _within(second.leads)
    assert api.objects[LEASE]["spec"]["leaseTransitions"] >= 1


@asynccontextmanager
async def _stopping(candidate: Candidate) -> AsyncIterator[None]:
    await candidate.election._release()
    candidate.election._lease = _Silent()  # type: ignore[assignment]
    yield


class _Silent:
    """The API server does not answer this candidate any more."""

    async def read(self) -> None:
        raise TimeoutError

    async def write(self, spec: Any, replacing: Any) -> None:
        raise TimeoutError


async def test_who_cannot_renew_stops_leading(api: Any) -> None:
    candidate = Candidate(api, "one")
    async with candidate.running():
        await _within(candidate.leads)
        api.fail = lambda method, path: ApiError(503, "Away", "no")
        async with asyncio.timeout(3):
            while candidate.leads.is_set():  # noqa: ASYNC110 - it is cleared by the end of a task
                await asyncio.sleep(0.01)
        api.fail = lambda method, path: None
        await _within(candidate.leads)
    assert candidate.terms == 2


async def test_a_restarted_container_takes_its_own_lease_at_once(api: Any) -> None:
    _held_by(api, "pod-1", renewed=datetime.now(UTC))
    candidate = Candidate(api, "pod-1")
    async with candidate.running():
        await _within(candidate.leads)


async def test_a_lease_that_is_renewed_is_respected_and_an_abandoned_one_is_not(api: Any) -> None:
    _held_by(api, "other", renewed=datetime.now(UTC) - timedelta(seconds=30))
    candidate = Candidate(api, "one")
    async with candidate.running():
        await asyncio.sleep(0.2)
        assert not candidate.leads.is_set()
        _held_by(api, "other", renewed=datetime.now(UTC) - timedelta(seconds=90))
        await _within(candidate.leads)


async def test_a_lease_expires_by_the_observers_own_clock(api: Any) -> None:
    # Its clock may be wrong by hours; that it does not move for a second is what counts.
    _held_by(api, "other", renewed=datetime.now(UTC) + timedelta(hours=5), seconds=1)
    candidate = Candidate(api, "one")
    async with candidate.running():
        await asyncio.sleep(0.5)
        assert not candidate.leads.is_set()
        await _within(candidate.leads)


def _another(api: Any) -> None:
    api.edit(LEASE, lambda lease: lease["metadata"].update(uid="another"))


@pytest.mark.parametrize("harm", [_another, lambda api: api.objects.pop(LEASE)], ids=["another", "gone"])
async def test_a_lease_that_is_gone_or_another_is_another_cluster(api: Any, harm: Callable[[Any], None]) -> None:
    first, standby = Candidate(api, "one"), Candidate(api, "two")
    async with first.running() as leading:
        await _within(first.leads)
        async with standby.running() as waiting:
            await asyncio.sleep(0.1)
            harm(api)
            for task in (leading, waiting):
                with pytest.raises(ClusterReplaced, match="etcd was wiped or restored, or somebody deleted the Lease"):
                    await asyncio.wait_for(task, 3)
    assert not first.leads.is_set()
    assert standby.terms == 0


async def test_the_lease_is_given_back_at_the_end(api: Any) -> None:
    candidate = Candidate(api, "one")
    async with candidate.running():
        await _within(candidate.leads)
        assert api.objects[LEASE]["spec"]["holderIdentity"] == "one"
    assert "holderIdentity" not in api.objects[LEASE]["spec"]
