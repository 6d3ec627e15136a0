"""The adaptive limit finds the capacity of a simulated provider, and finds it again when it changes."""

from __future__ import annotations

from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pressure.server import CHAT, SimulatedServer
from tidegate_dataplane.pressure.gradient import GradientLimit

WITHIN = 0.2


def settled(server: SimulatedServer, *, after: float, during: float = 300.0) -> float:
    """The mean limit, as a share of the capacity, `after` seconds from now (a call takes one second)."""
    for _ in server.run(after):
        pass
    return server.average(during) / server.places


def medians(places: int, *changes: int) -> list[float]:
    """Of five servers: the settled limit as a share of the capacity, at first and after each change of it."""
    runs = []
    for seed in range(5):
        server = SimulatedServer(GradientLimit(20, least=1, most=2000), places, seed=seed)
        shares = [settled(server, after=600)]
        for places_then in changes:
            server.places = places_then
            shares.append(settled(server, after=600))
        runs.append(shares)
    return [median(stage) for stage in zip(*runs, strict=True)]


@pytest.mark.parametrize("places", [32, 64, 128])
def test_it_settles_at_the_capacity_of_a_server_with_exponential_times(places: int) -> None:
    assert medians(places) == [pytest.approx(1.0, abs=WITHIN)]


@pytest.mark.parametrize(("before", "after"), [(40, 80), (100, 50)])
def test_it_follows_a_capacity_that_doubles_or_halves(before: int, after: int) -> None:
    assert medians(before, after) == [pytest.approx(1.0, abs=WITHIN)] * 2


@settings(max_examples=15)
@given(places=st.integers(16, 96), share=st.floats(0.05, 4.0), seed=st.integers(0, 1000))
def test_wherever_it_begins_it_uses_the_server_and_does_not_drown_it(places: int, share: float, seed: int) -> None:
    server = SimulatedServer(GradientLimit(max(1, int(share * places)), least=1, most=2000), places, seed=seed)
    assert 0.4 <= settled(server, after=800) <= 1.6


@given(least=st.integers(1, 50), span=st.integers(0, 100), seed=st.integers(0, 100))
@settings(max_examples=20)
def test_it_never_leaves_its_bounds(least: int, span: int, seed: int) -> None:
    most = least + span
    server = SimulatedServer(GradientLimit(least, least=least, most=most), 20, seed=seed)
    assert all(least <= limit <= most for limit in server.run(60))


def test_it_does_not_grow_while_it_is_not_used() -> None:
    server = SimulatedServer(GradientLimit(20, least=1, most=2000), 1000, seed=4)
    server.demand = 8
    assert {*server.run(300)} == {20}


def test_it_is_not_lowered_by_a_mixture_of_quick_and_slow_kinds() -> None:
    """Each kind of call has a usual time of its own: a slow model beside a quick one is no congestion."""
    limit = GradientLimit(50, least=1, most=200)
    slow = ("Chat", "large", True)
    lowest, now = 200, 0.0
    for turn in range(20_000):
        now += 0.01
        few_slow = turn // 5_000 % 2
        kind, took = (slow, 8.0) if turn % (10 if few_slow else 2) == 0 else (CHAT, 0.4)
        limit.answered(kind, now - took, now, limit.limit)
        if turn > 5_000:
            lowest = min(lowest, limit.limit)
    assert lowest >= 120, "but for its probes, it grows to its bound"


def test_refusals_for_overload_shrink_it_once_for_all_calls_that_were_under_way() -> None:
    limit = GradientLimit(100, least=10, most=100)
    for _ in range(90):
        limit.overloaded(1.0)
    assert limit.limit == 90
    limit.overloaded(2.5)
    assert limit.limit == 81


def test_a_provider_that_became_slower_for_good_is_not_strangled() -> None:
    server = SimulatedServer(GradientLimit(20, least=1, most=100), 1_000, seed=5, random=False)
    for _ in server.run(300):
        pass
    assert server.limit.limit >= 60
    server.mean = 3.0
    for _ in server.run(3_000):
        pass
    assert max(server.run(300)) >= 60
