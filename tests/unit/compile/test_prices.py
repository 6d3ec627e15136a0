"""The tables say of every model what the package says that they were made from."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from itertools import product

import genai_prices
import pytest
from genai_prices import types
from genai_prices.data_snapshot import get_snapshot

from tidegate_dataplane.pricing.lookup import Table
from tidegate_dataplane.pricing.price import cost
from tidegate_dataplane.pricing.usage import Usage
from tidegate_dataplane.snapshot.entries import PriceTable, Provider
from tidegate_operator.compile.prices import price_table, price_tables

IDS = {Provider.OPEN_AI: "openai", Provider.AZURE_OPEN_AI: "azure"}
TOKENS = {"input_mtok", "output_mtok"}
# The tables have the newest prices, whatever the day.
LATER = datetime(2100, 1, 1, tzinfo=UTC)


def table_of(provider: Provider) -> PriceTable:
    table = price_table(provider)
    assert table is not None
    return table


def own_names(rule: types.MatchLogic) -> Iterator[str]:
    """Names that a rule knows, with something behind the beginnings."""
    match rule:
        case types.ClauseOr():
            for each in rule.or_:
                yield from own_names(each)
        case types.ClauseEquals():
            yield rule.equals
        case types.ClauseStartsWith():
            yield from (rule.starts_with, f"{rule.starts_with}-2026-01-31")
        case types.ClauseRegex():
            literal = rule.regex.removeprefix("^").removesuffix("$").replace("\\.", ".")
            yield literal.replace("\\d{4}-\\d{2}-\\d{2}", "2026-01-31")
        case types.ClauseContains():
            yield rule.contains


def models() -> Iterator[tuple[Provider, str]]:
    for provider, identity in IDS.items():
        found = next(each for each in get_snapshot().providers if each.id == identity)
        for model in found.models:
            for name in {model.id, *own_names(model.match)}:
                if model.is_match(name):
                    yield provider, name


NAMES = sorted(models())


def usages(price: types.ModelPrice) -> Iterator[tuple[Usage, types.Usage]]:
    for input, output in product((1, 12_345, 272_000, 272_001, 1_000_000), (0, 777)):
        for cached, written in ((0, 0), (input // 2, 0), (input // 3, input // 4)):
            ours = Usage(input, output, cached=cached, cache_write=written)
            theirs = types.Usage(
                input_tokens=input, output_tokens=output, cache_read_tokens=cached, cache_write_tokens=written
            )
            yield ours, theirs
    if price.input_audio_mtok is not None and price.output_audio_mtok is not None:
        audio = types.Usage(
            input_tokens=900,
            output_tokens=700,
            input_audio_tokens=500,
            output_audio_tokens=300,
            cache_read_tokens=0,
            cache_audio_read_tokens=0,
        )
        yield Usage(900, 700, input_audio=500, output_audio=300), audio
    if price.output_image_mtok is not None:
        pictures = types.Usage(
            input_tokens=900,
            output_tokens=700,
            input_image_tokens=500,
            output_image_tokens=600,
            cache_read_tokens=0,
            cache_image_read_tokens=0,
        )
        yield Usage(900, 700, input_image=500, output_image=600), pictures


def test_there_are_names_to_compare() -> None:
    assert len(NAMES) > 250


@pytest.mark.parametrize(("provider", "name"), NAMES)
def test_every_model_costs_what_the_package_says(provider: Provider, name: str) -> None:
    found = genai_prices.calc_price(types.Usage(), name, provider_id=IDS[provider], genai_request_timestamp=LATER)
    price = Table(table_of(provider)).find(name, "")
    given = {key for key, value in vars(found.model_price).items() if value is not None}
    if not given & TOKENS:
        # Hours of audio, characters: not in an answer's usage. And "no price at all" is not "for nothing".
        assert (price is not None) == (found.model.id == "moderation")
        return
    assert price is not None
    for ours, theirs in usages(found.model_price):
        dollars = genai_prices.calc_price(
            theirs, name, provider_id=IDS[provider], genai_request_timestamp=LATER
        ).total_price
        assert cost(price, ours) == (dollars * 1_000_000).to_integral_value(ROUND_CEILING), (ours, dollars)


SERVICES = sorted(
    {
        (model.id, variant.when["service_tier"])
        for found in get_snapshot().providers
        if found.id == "openai"
        for model in found.models
        for variant in model.price_variants or ()
        if variant.when.keys() == {"service_tier"} and model.is_match(model.id)
    }
)


def test_there_are_service_tiers_to_compare() -> None:
    assert len(SERVICES) > 60


@pytest.mark.parametrize(("name", "tier"), SERVICES)
def test_a_service_tier_costs_what_the_package_says(name: str, tier: str) -> None:
    price = Table(table_of(Provider.OPEN_AI)).find(name, "")
    assert price is not None
    context = {"service_tier": tier}
    found = genai_prices.calc_price(
        types.Usage(), name, provider_id="openai", price_context=context, genai_request_timestamp=LATER
    )
    for ours, theirs in usages(found.model_price):
        dollars = genai_prices.calc_price(
            theirs, name, provider_id="openai", price_context=context, genai_request_timestamp=LATER
        ).total_price
        exact = (dollars * 1_000_000).to_integral_value(ROUND_CEILING)
        assert cost(price.in_service(tier), ours) == exact, (ours, dollars)


def test_azure_sells_openais_models_at_openais_prices() -> None:
    usage = types.Usage(input_tokens=1000, output_tokens=1000)
    price = Table(table_of(Provider.AZURE_OPEN_AI)).find("gpt-4o-mini", "")
    assert price is not None
    dollars = genai_prices.calc_price(
        usage, "gpt-4o-mini", provider_id="azure", genai_request_timestamp=LATER
    ).total_price
    assert Decimal(cost(price, Usage(1000, 1000))) / 1_000_000 == dollars


def test_what_nobody_prices_has_no_price() -> None:
    assert price_tables([Provider.MOCK, Provider.OPEN_AI_COMPATIBLE]) == ()
    table = Table(table_of(Provider.OPEN_AI))
    for name in ("whisper-1", "tts-1", "llama-3.1-8b", "gpt-99", "omni", ""):
        assert table.find(name, "") is None


def test_the_hash_tells_tables_apart_and_is_the_same_each_time() -> None:
    openai, azure = table_of(Provider.OPEN_AI), table_of(Provider.AZURE_OPEN_AI)
    assert openai.hash != azure.hash
    assert len(openai.hash) == 64
    price_table.cache_clear()
    assert table_of(Provider.OPEN_AI) == openai


def test_no_network_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refuse)
    price_table.cache_clear()
    assert table_of(Provider.OPEN_AI).models
