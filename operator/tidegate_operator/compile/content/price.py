"""Prices that an AIBackend names: decimal US dollars become integer micro-dollars, exactly."""

from decimal import Decimal
from typing import Final

from tidegate_crds.v1alpha1.aibackend import LongContextPrice, ModelPrice
from tidegate_dataplane.snapshot.entries import LongContextEntry, PriceEntry
from tidegate_operator.compile.problems import Problems

_MICRO: Final = 1_000_000
_MOST_PER_MILLION: Final = 100_000
_MOST_EACH: Final = 1_000


def price_entry(price: ModelPrice, field: str, problems: Problems) -> PriceEntry:
    """Lower a valid price; notes as problems what can only be a slip of the unit."""

    def tokens(text: str, name: str) -> int:
        return _micro(text, f"{field}.{name}", _MOST_PER_MILLION, "for a million tokens", problems)

    def optional(text: str | None, name: str) -> int | None:
        return None if text is None else tokens(text, name)

    def piece(text: str | None, name: str) -> int:
        return 0 if text is None else _micro(text, f"{field}.{name}", _MOST_EACH, "each", problems)

    def tier(step: LongContextPrice, name: str) -> LongContextEntry:
        return LongContextEntry(
            above=step.above,
            input=tokens(step.input, f"{name}.input"),
            output=tokens(step.output, f"{name}.output"),
            cached_input=optional(step.cached_input, f"{name}.cachedInput"),
        )

    tiers = [tier(step, f"longContext[{position}]") for position, step in enumerate(price.long_context)]
    return PriceEntry(
        input=tokens(price.input, "input"),
        output=tokens(price.output, "output"),
        cached_input=optional(price.cached_input, "cachedInput"),
        cache_write=optional(price.cache_write, "cacheWrite"),
        reasoning=optional(price.reasoning, "reasoning"),
        input_audio=optional(price.input_audio, "inputAudio"),
        output_audio=optional(price.output_audio, "outputAudio"),
        image=piece(price.image, "image"),
        request=piece(price.request, "request"),
        long_context=tuple(sorted(tiers, key=lambda step: step.above)),
    )


def _micro(text: str, field: str, most: int, unit: str, problems: Problems) -> int:
    value = Decimal(text)
    if value > most:
        problems.add(field, f"is more than {most:,} US dollars {unit}: prices are written in dollars, not in cents")
    return int(value * _MICRO)
