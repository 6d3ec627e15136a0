from __future__ import annotations

from tidegate_dataplane.store.breaker import Breaker
from tidegate_dataplane.store.protocol import Reason


def closed(at: float) -> Breaker:
    breaker = Breaker(0.0)
    assert breaker.succeeded(at)
    return breaker


def test_it_starts_open_and_probes_at_once() -> None:
    breaker = Breaker(0.0)
    assert (breaker.open, breaker.reason, breaker.delay(0.9)) == (True, Reason.STARTING, 0.0)


def test_one_failure_opens_it_and_the_first_probe_comes_at_once() -> None:
    breaker = closed(at=0.0)
    assert breaker.failed(Reason.TIMEOUT, 100.0)
    assert (breaker.open, breaker.reason, breaker.since, breaker.opened) == (True, Reason.TIMEOUT, 100.0, 1)
    assert breaker.delay(0.9) == 0.0


def test_further_probes_come_after_random_times() -> None:
    breaker = closed(at=0.0)
    breaker.failed(Reason.TIMEOUT, 100.0)
    assert not breaker.failed(Reason.REFUSED, 101.0)
    assert (breaker.reason, breaker.since, breaker.opened) == (Reason.REFUSED, 100.0, 1)
    assert (breaker.delay(0.0), breaker.delay(0.5)) == (0.5, 1.25)


def test_a_store_that_fails_again_soon_is_not_probed_at_once() -> None:
    breaker = closed(at=0.0)
    breaker.failed(Reason.TIMEOUT, 100.0)
    breaker.succeeded(100.1)
    assert breaker.failed(Reason.TIMEOUT, 101.0)
    assert breaker.delay(0.0) == 0.5
    breaker.succeeded(102.0)
    breaker.failed(Reason.TIMEOUT, 107.5)
    assert breaker.delay(0.0) == 0.0


def test_a_probe_closes_it_once() -> None:
    breaker = closed(at=0.0)
    assert not breaker.succeeded(1.0)
    breaker.failed(Reason.LOST, 9.0)
    assert breaker.succeeded(10.0)
    assert (breaker.open, breaker.reason, breaker.since) == (False, Reason.NONE, 10.0)


def test_what_fails_while_it_starts_is_told_once_and_is_no_opening() -> None:
    breaker = Breaker(0.0)
    assert [breaker.failed(Reason.REFUSED, float(at)) for at in range(3)] == [True, False, False]
    assert breaker.opened == 0
