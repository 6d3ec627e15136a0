"""Which price holds for a model of a backend."""

from typing import Any

from samples.snapshots import source
from tidegate_dataplane.pricing.lookup import NO_PRICES, Prices, gathered
from tidegate_dataplane.pricing.override import overrides
from tidegate_dataplane.pricing.price import PriceSource
from tidegate_dataplane.runtime.objects import Backend
from tidegate_dataplane.snapshot.entries import BackendEntry, PriceEntry, PriceTable, Provider


def entry(price: int) -> PriceEntry:
    return PriceEntry(input=price, output=price)


TABLE = PriceTable(
    provider=Provider.OPEN_AI,
    hash="0123456789abcdef" * 4,
    models={
        "gpt-4o": entry(1),
        "gpt-4o-2024-05-13": entry(2),
        "gpt-4o-*": entry(3),
        "gpt-4o-audio*": entry(4),
        "gpt-4*": entry(5),
    },
)


def backend(**fields: Any) -> Backend:
    made = BackendEntry(source=source("team-a/openai"), **{"provider": Provider.OPEN_AI, **fields})
    return Backend(made.source.key, made, overrides(made))


def found(prices: Prices, of: Backend, model: str) -> int | None:
    price = prices.of(of, model)
    return None if price is None else price.rates.input


def test_an_exact_name_comes_before_the_longest_prefix() -> None:
    prices = gathered(NO_PRICES, [TABLE])
    asked = ("gpt-4o", "GPT-4o", "gpt-4o-2024-05-13", "gpt-4o-mini", "gpt-4o-audio-preview", "gpt-4-turbo", "o1", "")
    assert [found(prices, backend(), model) for model in asked] == [1, 1, 2, 3, 4, 5, None, None]


def test_a_price_says_where_it_is_from() -> None:
    price = gathered(NO_PRICES, [TABLE]).of(backend(), "gpt-4o")
    assert price is not None
    assert (price.source, price.table) == (PriceSource.TABLE, "0123456789abcdef")


def test_the_backends_own_price_holds_instead() -> None:
    own = backend(prices={"gpt-4o": entry(9), "llama": entry(8)})
    prices = gathered(NO_PRICES, [TABLE])
    assert [found(prices, own, model) for model in ("gpt-4o", "llama", "gpt-4o-mini")] == [9, 8, 3]
    price = prices.of(own, "llama")
    assert price is not None
    assert price.source is PriceSource.OVERRIDE
    assert len(price.table) == 16
    other = Backend("team-a/other", own.entry, overrides(backend(prices={"llama": entry(7)}).entry))
    dearer = prices.of(other, "llama")
    assert dearer is not None
    assert dearer.table != price.table


def test_a_deployment_of_any_name_has_the_price_of_its_declared_version() -> None:
    table = PriceTable(provider=Provider.AZURE_OPEN_AI, hash=TABLE.hash, models=TABLE.models)
    azure = backend(
        provider=Provider.AZURE_OPEN_AI,
        versions={"gpt-4o": "2024-05-13", "team-chat": "gpt-4o-2024-05-13", "prod": "2024-05-13"},
    )
    prices = gathered(NO_PRICES, [table])
    assert [found(prices, azure, model) for model in ("gpt-4o", "team-chat", "prod")] == [2, 2, None]


def test_a_provider_without_a_table_has_no_prices() -> None:
    assert found(gathered(NO_PRICES, [TABLE]), backend(provider=Provider.OPEN_AI_COMPATIBLE), "gpt-4o") is None


def test_models_that_callers_make_up_are_not_remembered_for_ever() -> None:
    prices = gathered(NO_PRICES, [TABLE])
    for number in range(10_000):
        prices.of(backend(), f"made-up-{number}")
    assert len(prices._found) <= 4096
    assert found(prices, backend(), "gpt-4o") == 1


def test_a_table_that_did_not_change_is_not_made_ready_again() -> None:
    first = gathered(NO_PRICES, [TABLE])
    again = gathered(first, [PriceTable(provider=TABLE.provider, hash=TABLE.hash, models=dict(TABLE.models))])
    assert again.tables[Provider.OPEN_AI] is first.tables[Provider.OPEN_AI]
