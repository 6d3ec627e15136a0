"""What a call costs, and the most that it may cost. Pure integers: a sum is rounded once, at its end, and upwards.

Tokens times micro-dollars for a million tokens are pico-dollars; a million of them make a micro-dollar.
"""

from enum import StrEnum
from typing import Final

from msgspec import Struct

from tidegate_dataplane.pricing.usage import Usage
from tidegate_dataplane.snapshot.entries import LongContextEntry, PriceEntry

PICO: Final = 1_000_000
"""Pico-dollars in a micro-dollar."""
IMAGE_TOKENS: Final = 8_192
"""Output tokens that are reserved for an image. A large one of high quality takes 6,240, and each preview of it 100
(OpenAI, "Image generation", cost and latency)."""


class PriceSource(StrEnum):
    """Where a price is from: its provider's table, its backend, a quota's default, or nowhere."""

    TABLE = "Table"
    OVERRIDE = "Override"
    DEFAULT = "Default"
    UNKNOWN = "Unknown"


class Rates(Struct, frozen=True, gc=False):
    """Pico-dollars for one token of each kind; `dearest_*` are the highest that a token may cost."""

    input: int
    output: int
    cached: int
    cache_write: int
    reasoning: int
    input_audio: int
    output_audio: int
    input_image: int
    output_image: int
    dearest_input: int
    dearest_output: int


class Price(Struct, frozen=True, gc=False):
    """A price ready to be applied. `tiers` are (above, rates), the highest first; `request` and `image` pico-dollars.

    `table` are the first 16 hex digits of the hash of what it stands in; with `source` it goes into the audit record.
    `services` are the prices of other service tiers.
    """

    rates: Rates
    tiers: tuple[tuple[int, Rates], ...]
    request: int
    image: int
    source: PriceSource
    table: str
    services: dict[str, "Price"] = {}

    def in_service(self, tier: str) -> "Price":
        """The price in a service tier; the standard one where no other is known."""
        return self.services.get(tier, self) if tier and self.services else self


def lower_price(entry: PriceEntry, source: PriceSource, table: str = "") -> Price:
    """A price of the snapshot, made ready."""
    tiers = sorted(entry.long_context, key=lambda tier: tier.above, reverse=True)
    return Price(
        rates=_rates(entry, entry.input, entry.output, entry.cached_input, entry.cache_write),
        tiers=tuple((tier.above, _tier_rates(entry, tier)) for tier in tiers),
        request=entry.request * PICO,
        image=entry.image * PICO,
        source=source,
        table=table,
        services={name: lower_price(each, source, table) for name, each in entry.services.items()},
    )


def cost(price: Price, usage: Usage) -> int:
    """Micro-dollars, rounded up. The whole call has the price of the tier that its input reaches."""
    rates = price.rates
    for above, tier in price.tiers:
        if usage.input > above:
            rates = tier
            break
    cached, written, audio, image = usage.cached, usage.cache_write, usage.input_audio, usage.input_image
    total = price.request
    if (left := usage.input - cached - written - audio - image) >= 0:
        total += left * rates.input
        if cached or written or audio or image:
            total += cached * rates.cached + written * rates.cache_write
            total += audio * rates.input_audio + image * rates.input_image
    else:
        parts = ((cached, rates.cached), (written, rates.cache_write))
        total += _dearest(usage.input, *parts, (audio, rates.input_audio), (image, rates.input_image))
    thought, audio, image = usage.reasoning, usage.output_audio, usage.output_image
    if (left := usage.output - thought - audio - image) >= 0:
        total += left * rates.output
        if thought or audio or image:
            total += thought * rates.reasoning + audio * rates.output_audio + image * rates.output_image
    else:
        parts = ((thought, rates.reasoning), (audio, rates.output_audio))
        total += _dearest(usage.output, *parts, (image, rates.output_image))
    if usage.images:
        total += usage.images * price.image
    return -(-total // PICO)


def _dearest(whole: int, *parts: tuple[int, int]) -> int:
    """Pico-dollars of the dearest tokens of overlapping parts (tokens, rate), such as audio from the cache, that come
    to more than the whole."""
    total = 0
    for tokens, rate in sorted(parts, key=_rate_of, reverse=True):
        total += min(tokens, whole) * rate
        whole -= min(tokens, whole)
    return total


def _rate_of(part: tuple[int, int]) -> int:
    return part[1]


def bound(price: Price, input_tokens: int, max_output_tokens: int, images: int = 0) -> int:
    """Micro-dollars that no call with so many tokens at most costs more than, whatever kinds of tokens they are.

    Each of the `images` that it asks for is taken to be IMAGE_TOKENS more.
    """
    rates = price.rates
    input, output = rates.dearest_input, rates.dearest_output
    for above, tier in price.tiers:
        if input_tokens > above:
            input, output = max(input, tier.dearest_input), max(output, tier.dearest_output)
    total = input_tokens * input + max_output_tokens * output + price.request
    if images:
        total += images * (price.image + IMAGE_TOKENS * output)
    return -(-total // PICO)


def _tier_rates(entry: PriceEntry, tier: LongContextEntry) -> Rates:
    cached = entry.cached_input if tier.cached_input is None else tier.cached_input
    written = entry.cache_write if tier.cache_write is None else tier.cache_write
    return _rates(entry, tier.input, tier.output, cached, written)


def _rates(entry: PriceEntry, input: int, output: int, cached: int | None, cache_write: int | None) -> Rates:
    of_input = [_or(each, input) for each in (cached, cache_write, entry.input_audio, entry.input_image)]
    of_output = [_or(each, output) for each in (entry.reasoning, entry.output_audio, entry.output_image)]
    return Rates(
        input=input,
        output=output,
        cached=of_input[0],
        cache_write=of_input[1],
        reasoning=of_output[0],
        input_audio=of_input[2],
        output_audio=of_output[1],
        input_image=of_input[3],
        output_image=of_output[2],
        dearest_input=max(input, *of_input),
        dearest_output=max(output, *of_output),
    )


def _or(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value
