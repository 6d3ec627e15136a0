"""What a data plane remembers of its callers stays bounded, whatever they do."""

import pytest

from samples.snapshots import NOON, attach, backend, call, consumer, keys_only, policy, route, runtime_of
from tidegate_dataplane import behaviour as module
from tidegate_dataplane.behaviour import Behaviour, network_of
from tidegate_dataplane.engine.decide import decide
from tidegate_dataplane.snapshot.entries import RiskEntry, SignalEntry, SignalKind

RISK = RiskEntry(
    signals=(
        SignalEntry(name="new", kind=SignalKind.NEW_ADDRESS, weight=1),
        SignalEntry(name="country", kind=SignalKind.NEW_COUNTRY, weight=1, header="x-country"),
    ),
    deny=1000,
)
RUNTIME = runtime_of(
    backend(),
    consumer(),
    keys_only(),
    policy("team-a/risk", risk=RISK),
    route(models=("*",), policies=attach("team-a/login", "team-a/risk")),
)


def learn(memory: Behaviour, address: str = "192.0.2.7", model: str = "gpt-4o", country: str = "DE") -> None:
    asked = call(address=address, model=model, proxy_headers={"x-country": country})
    memory.learn(asked, decide(RUNTIME, asked, NOON), NOON)


def test_places_countries_and_models_of_a_consumer_are_bounded_and_the_latest_stay() -> None:
    memory = Behaviour()
    for number in range(300):
        learn(memory, address=f"10.{number % 256}.{number // 256}.1", model=f"m{number}", country=f"C{number}")
    assert memory.calls("team-a/search") == 300
    for seen, known in ((299, True), (240, True), (0, False)):
        assert memory.knows_address("team-a/search", f"10.{seen % 256}.{seen // 256}.9") is known
        assert memory.knows_model("team-a/search", f"m{seen}") is known
    assert memory.knows_country("team-a/search", "C299")
    assert not memory.knows_country("team-a/search", "C200")


def test_addresses_that_fail_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ADDRESSES", 10)
    memory = Behaviour()
    for number in range(30):
        memory.failed(f"192.0.2.{number}", NOON)
    assert memory.recent_failures("192.0.2.29", 60, NOON) == 1
    assert memory.recent_failures("192.0.2.0", 60, NOON) == 0


def test_failures_of_one_address_are_bounded_over_a_day() -> None:
    memory = Behaviour()
    for second in range(0, 3 * 86_400, 60):
        memory.failed("192.0.2.1", NOON + second)
    assert 500 <= memory.recent_failures("192.0.2.1", 86_400, NOON + 3 * 86_400) <= 512


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2"),
        ("::ffff:192.0.2.7", "192.0.2"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_what_counts_as_one_place(address: str, network: str) -> None:
    assert network_of(address) == network
