"""What calls cost, in exact micro-dollars, and that no call costs more than its bound."""

from decimal import ROUND_CEILING, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_dataplane.pricing.price import PriceSource, bound, cost, lower_price
from tidegate_dataplane.pricing.usage import Usage
from tidegate_dataplane.snapshot.entries import LongContextEntry, PriceEntry

# Micro-dollars for a million tokens: $0.15 in, $0.60 out, half of it from the cache.
MINI = PriceEntry(input=150_000, output=600_000, cached_input=75_000)
LONG = PriceEntry(
    input=1_000_000,
    output=5_000_000,
    cached_input=100_000,
    cache_write=1_250_000,
    long_context=(
        LongContextEntry(above=200_000, input=2_000_000, output=7_500_000, cached_input=200_000),
        LongContextEntry(above=400_000, input=3_000_000, output=9_000_000),
    ),
)


def cents(price: PriceEntry, usage: Usage) -> int:
    return cost(lower_price(price, PriceSource.TABLE), usage)


@pytest.mark.parametrize(
    ("price", "usage", "micro"),
    [
        (MINI, Usage(1_000_000, 0), 150_000),
        (MINI, Usage(0, 1_000_000), 600_000),
        (MINI, Usage(0, 0), 0),
        (MINI, Usage(1, 0), 1),  # 0.15 micro-dollars, rounded up
        (MINI, Usage(1, 1), 1),  # 0.75: one rounding, not one for each part
        (MINI, Usage(1000, 100, cached=400), 180),  # 600 * 0.15 + 400 * 0.075 + 100 * 0.6
        (MINI, Usage(1000, 100, cached=1000), 135),
        (LONG, Usage(200_000, 10), 200_050),
        (LONG, Usage(200_001, 10), 400_077),  # every token has the price of the tier
        (LONG, Usage(200_001, 0, cached=200_001), 40_001),
        (LONG, Usage(400_001, 0), 1_200_003),
        (LONG, Usage(400_001, 0, cached=400_001), 40_001),  # the tier says nothing of the cache: as the base price
        (LONG, Usage(1000, 0, cache_write=1000), 1_250),
        (PriceEntry(output=10_000_000, reasoning=2_000_000), Usage(0, 100, reasoning=60), 520),
        (PriceEntry(output=10_000_000), Usage(0, 100, reasoning=60), 1_000),
        (PriceEntry(input=1_000_000, input_audio=40_000_000), Usage(100, 0, input_audio=50), 2_050),
        (PriceEntry(output=1_000_000, output_audio=80_000_000), Usage(0, 100, output_audio=50), 4_050),
        (PriceEntry(image=40_000), Usage(10, 0, images=3), 120_000),
        (PriceEntry(request=100), Usage(10, 10), 100),
    ],
)
def test_a_call_costs(price: PriceEntry, usage: Usage, micro: int) -> None:
    assert cents(price, usage) == micro


def test_parts_that_overlap_never_cost_more_than_the_whole_at_the_dearest_price() -> None:
    assert cents(MINI, Usage(100, 0, cached=1_000_000)) == 8
    audio = PriceEntry(input=1_000_000, cached_input=500_000, input_audio=40_000_000)
    assert cents(audio, Usage(100, 0, cached=80, input_audio=60)) == 60 * 40 + 40 // 2


def test_an_image_reserves_its_tokens_besides_its_own_price() -> None:
    by_tokens = lower_price(PriceEntry(input=5_000_000, output=40_000_000), PriceSource.TABLE)
    assert bound(by_tokens, 10, 0, images=2) >= cost(by_tokens, Usage(10, 2 * 6_240))
    by_piece = lower_price(PriceEntry(image=40_000), PriceSource.OVERRIDE)
    assert bound(by_piece, 10, 0, images=2) == 80_000


amounts = st.integers(0, 10**12)
maybe = st.none() | amounts
tiers = st.lists(
    st.builds(LongContextEntry, above=st.integers(1, 10**6), input=amounts, output=amounts, cached_input=maybe),
    max_size=3,
    unique_by=lambda tier: tier.above,
).map(tuple)
prices = st.builds(
    PriceEntry,
    input=amounts,
    output=amounts,
    cached_input=maybe,
    cache_write=maybe,
    reasoning=maybe,
    input_audio=maybe,
    output_audio=maybe,
    input_image=maybe,
    output_image=maybe,
    image=amounts,
    request=amounts,
    long_context=tiers,
)


@given(
    prices,
    st.lists(st.integers(0, 400_000), min_size=5, max_size=5),
    st.lists(st.integers(0, 9_000), min_size=4, max_size=4),
    st.integers(0, 3),
    st.integers(0, 1_000),
    st.integers(0, 1_000),
)
def test_no_call_costs_more_than_its_bound(
    entry: PriceEntry, of_input: list[int], of_output: list[int], images: int, less: int, fewer: int
) -> None:
    price = lower_price(entry, PriceSource.OVERRIDE)
    usage = Usage(
        max(of_input),
        max(of_output),
        cached=of_input[0],
        cache_write=of_input[1],
        input_audio=of_input[2],
        input_image=of_input[3],
        reasoning=of_output[0],
        output_audio=of_output[1],
        output_image=of_output[2],
        images=images,
    )
    assert cost(price, usage) <= bound(price, usage.input + less, usage.output + fewer, images)


@given(prices, st.integers(0, 10**7), st.integers(0, 10**6))
def test_a_cost_is_the_exact_sum_rounded_up_once(entry: PriceEntry, input: int, output: int) -> None:
    reached = [tier for tier in sorted(entry.long_context, key=lambda tier: tier.above) if input > tier.above]
    rates = (reached[-1].input, reached[-1].output) if reached else (entry.input, entry.output)
    exact = Decimal(input * rates[0] + output * rates[1]) / 1_000_000 + entry.request
    assert cents(entry, Usage(input, output)) == int(exact.to_integral_value(ROUND_CEILING))
