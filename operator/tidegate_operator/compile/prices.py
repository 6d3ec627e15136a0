"""Default prices: the table that the package genai-prices brings, cut down to what a data plane needs.

Pure: the bundled data of the installed version and nothing else; its newest price of each model; its updater, which
would ask the network, is never called. The package is imported here alone, and only where a backend needs a table.

The package tells models by rules, a data plane by exact names and by prefixes. An exact name has the price that the
package's own order of rules gives it. "Starts with" is a prefix, and so is a date behind a literal name. Of what a
model costs only tokens are taken: hours of audio, characters and searches are not in an answer's usage, and a model
that costs nothing else has no price here.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from decimal import ROUND_CEILING, Decimal
from functools import cache
from typing import TYPE_CHECKING, Final

import msgspec

from tidegate_dataplane.snapshot.entries import LongContextEntry, PriceEntry, PriceTable, Provider

if TYPE_CHECKING:
    from genai_prices import types

    Prices = dict[str, Decimal | types.TieredPrices]

_MICRO: Final = 1_000_000
# Azure sells OpenAI's models at OpenAI's prices where it names none of its own, but has service tiers of its own.
_SELLERS: Final = {Provider.OPEN_AI: ("openai",), Provider.AZURE_OPEN_AI: ("azure", "openai")}
# What a provider gives away: of any other model without a price, nobody knows what it costs.
_FREE: Final = frozenset({"moderation"})
_CONTAINING: Final = {"moderation": ("moderation", "omni-moderation", "text-moderation")}
_DATED: Final = re.compile(r"^\^((?:[A-Za-z0-9:/_-]|\\\.)+-)\\d\{(?:4|8)\}")


def price_tables(providers: Iterable[Provider]) -> tuple[PriceTable, ...]:
    """The tables of those providers that have one, in the order of their names."""
    found = (price_table(provider) for provider in sorted(set(providers)))
    return tuple(table for table in found if table is not None)


@cache
def price_table(provider: Provider) -> PriceTable | None:
    """What the models of a provider cost by default; None where there is no table of them."""
    if provider not in _SELLERS:
        return None
    models = _flat(_models(_SELLERS[provider]), services=provider is Provider.OPEN_AI)
    digest = hashlib.sha256(msgspec.json.encode(models, order="deterministic")).hexdigest()
    return PriceTable(provider=provider, hash=digest, models=models)


def _models(sellers: tuple[str, ...]) -> "list[types.ModelInfo]":
    from genai_prices.data import providers

    by_id = {provider.id: provider for provider in providers}
    return [model for seller in sellers for model in by_id[seller].models]


def _flat(models: "list[types.ModelInfo]", *, services: bool) -> dict[str, PriceEntry]:
    prices = {id(model): _price(model, services=services) for model in models}
    flat: dict[str, PriceEntry] = {}
    for model in models:
        for name in _names(model.match):
            # What the package would say to this very name; to a prefix it says what its model costs.
            owner = model if name.endswith("*") else next(each for each in models if each.is_match(name))
            price = prices[id(owner)]
            if price is not None:
                flat.setdefault(name, price)
    return dict(sorted(flat.items()))


def _names(rule: "types.MatchLogic") -> Iterator[str]:
    """Exact names and prefixes, lower-case, by which a rule knows its model."""
    from genai_prices import types

    match rule:
        case types.ClauseOr():
            for each in rule.or_:
                yield from _names(each)
        case types.ClauseEquals():
            yield rule.equals.lower()
        case types.ClauseStartsWith():
            yield rule.starts_with.lower() + "*"
        case types.ClauseContains():
            text = rule.contains.lower()
            yield from (f"{each}*" for each in _CONTAINING.get(text, (text,)))
        case types.ClauseRegex():
            found = _DATED.match(rule.regex)
            if found is not None:
                yield found[1].replace("\\.", ".").lower() + "20*"


def _price(model: "types.ModelInfo", *, services: bool) -> PriceEntry | None:
    standard = _given(_newest(model))
    if "input_mtok" not in standard and "output_mtok" not in standard:
        return PriceEntry() if not standard and model.id in _FREE else None
    base = _entry(standard)
    if not services:
        return base
    others = {tier: _entry({**standard, **given}) for tier, given in _services(model).items()}
    return msgspec.structs.replace(base, services={tier: each for tier, each in others.items() if each != base})


def _given(prices: "types.ModelPrice") -> "Prices":
    return {key: value for key, value in vars(prices).items() if value is not None}


def _services(model: "types.ModelInfo") -> "dict[str, Prices]":
    """What differs in other service tiers; of several statements of one price, the first holds."""
    found: dict[str, Prices] = {}
    for variant in model.price_variants or ():
        if variant.when.keys() == {"service_tier"}:
            known = found.setdefault(variant.when["service_tier"], {})
            for key, value in _given(variant.prices).items():
                known.setdefault(key, value)
    return dict(sorted(found.items()))


def _entry(given: "Prices") -> PriceEntry:
    base = {key: value if isinstance(value, Decimal) else value.base for key, value in given.items()}
    return PriceEntry(
        input=_micro(base.get("input_mtok")) or 0,
        output=_micro(base.get("output_mtok")) or 0,
        cached_input=_micro(base.get("cache_read_mtok")),
        cache_write=_micro(base.get("cache_write_mtok")),
        input_audio=_micro(base.get("input_audio_mtok")),
        output_audio=_micro(base.get("output_audio_mtok")),
        input_image=_micro(base.get("input_image_mtok")),
        output_image=_micro(base.get("output_image_mtok")),
        long_context=_long_context(given),
    )


def _newest(model: "types.ModelInfo") -> "types.ModelPrice":
    """The last price that holds at every time of day."""
    from genai_prices import types

    if not isinstance(model.prices, list):
        return model.prices
    lasting = [each for each in model.prices if not isinstance(each.constraint, types.TimeOfDateConstraint)]
    return (lasting or model.prices)[-1].prices


def _long_context(given: "Prices") -> tuple[LongContextEntry, ...]:
    tiered = [value for value in given.values() if not isinstance(value, Decimal)]
    return tuple(
        LongContextEntry(
            above=above,
            input=_micro(_at(given.get("input_mtok"), above)) or 0,
            output=_micro(_at(given.get("output_mtok"), above)) or 0,
            cached_input=_micro(_at(given.get("cache_read_mtok"), above)),
            cache_write=_micro(_at(given.get("cache_write_mtok"), above)),
        )
        for above in sorted({tier.start for value in tiered for tier in value.tiers})
    )


def _at(value: "Decimal | types.TieredPrices | None", above: int) -> Decimal | None:
    """The price of a call with more input than `above`."""
    if value is None or isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if tier.start <= above]
    return reached[-1] if reached else value.base


def _micro(dollars: Decimal | None) -> int | None:
    """Micro-dollars, rounded up."""
    return None if dollars is None else int((dollars * _MICRO).to_integral_value(ROUND_CEILING))
