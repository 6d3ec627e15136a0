"""Reserving, settling and releasing: what passes, what is refused and how it is said."""

import math
from datetime import datetime

import pytest

from samples.demands import allowance, bucket, calendar, sliding
from tidegate_dataplane.engine import limit_exceeded
from tidegate_dataplane.ledger.demand import Demand, Excess, amounts_of
from tidegate_dataplane.ledger.ledger import Ledger, Reservation
from tidegate_dataplane.snapshot.entries import CalendarPeriod, Unit

DAY = calendar(CalendarPeriod.DAY)
MIDNIGHT = datetime.fromisoformat("2026-07-01T00:00:00+00:00").timestamp()
NOON = MIDNIGHT + 12 * 3600


class Till:
    """A ledger that names each call itself."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.calls = 0

    def ask(self, *demands: Demand, now: float = NOON, prompt: int = 0, output: int = 0) -> Reservation | Excess:
        self.calls += 1
        answer = self.ledger.reserve(f"call-{self.calls}", demands, amounts_of(prompt, output), now)
        assert isinstance(answer, Reservation | Excess)
        return answer

    def settle(self, reservation: Reservation, input_tokens: int, output_tokens: int, now: float = NOON) -> None:
        self.ledger.settle(reservation, amounts_of(input_tokens, output_tokens), now)

    def used(self, demand: Demand, now: float = NOON) -> int:
        return self.ledger.local.used(demand, now)

    def take(self, *demands: Demand, now: float = NOON, prompt: int = 0, output: int = 0) -> Reservation:
        answer = self.ask(*demands, now=now, prompt=prompt, output=output)
        assert isinstance(answer, Reservation)
        return answer

    def refused(self, *demands: Demand, now: float = NOON, prompt: int = 0, output: int = 0) -> Excess:
        answer = self.ask(*demands, now=now, prompt=prompt, output=output)
        assert isinstance(answer, Excess)
        return answer


@pytest.fixture
def till() -> Till:
    return Till()


def test_a_bucket_gives_its_burst_at_once_and_then_its_rate(till: Till) -> None:
    limit = bucket(burst=3, rate=2.0)
    for _ in range(3):
        till.take(limit)
    excess = till.refused(limit)
    assert (excess.used, excess.limit, excess.retry_after) == (3, 3, 0.5)
    assert excess.reset_at == NOON + 1.5
    till.refused(limit, now=NOON + 0.49)
    till.take(limit, now=NOON + 0.5)
    till.refused(limit, now=NOON + 0.5)
    for _ in range(3):
        till.take(limit, now=NOON + 60)
    till.refused(limit, now=NOON + 60)


def test_a_clock_that_steps_back_gives_nothing_away(till: Till) -> None:
    limits = (bucket(burst=1, rate=1.0), allowance(amount=5, window=sliding(60)), allowance(amount=5, window=DAY))
    till.take(*limits, prompt=5)
    till.refused(*limits[:1], now=NOON - 100)
    till.refused(limits[1], now=NOON - 100, prompt=1)
    till.refused(limits[2], now=MIDNIGHT - 1, prompt=1)


@pytest.mark.parametrize(
    ("unit", "reserved", "settled"),
    [(Unit.REQUESTS, 1, 1), (Unit.TOKENS, 150, 110), (Unit.INPUT_TOKENS, 100, 90), (Unit.OUTPUT_TOKENS, 50, 20)],
)
def test_each_unit_reserves_the_estimate_and_keeps_what_was_used(
    till: Till, unit: Unit, reserved: int, settled: int
) -> None:
    limit = allowance(unit=unit, amount=1000, window=DAY)
    held = till.take(limit, prompt=100, output=50)
    assert till.used(limit, NOON) == reserved
    till.settle(held, 90, 20)
    assert till.used(limit, NOON) == settled


def test_what_others_hold_counts(till: Till) -> None:
    limit = allowance(amount=200, window=DAY)
    first = till.take(limit, prompt=100, output=50)
    excess = till.refused(limit, prompt=30, output=30)
    assert (excess.used, excess.asked, excess.limit) == (150, 60, 200)
    assert excess.retry_after == 12 * 3600
    till.settle(first, 100, 10, NOON)
    till.take(limit, prompt=30, output=30)


def test_all_or_nothing(till: Till) -> None:
    wide, narrow = bucket(burst=5, rate=1.0), allowance(amount=10, window=DAY)
    till.refused(wide, narrow, prompt=11)
    assert till.used(wide, NOON) == 0
    assert till.used(narrow, NOON) == 0
    assert till.ledger.outstanding == 0


def test_the_refusal_with_the_longest_wait_is_named(till: Till) -> None:
    fast, daily = bucket(burst=1, rate=1.0), allowance(unit=Unit.REQUESTS, amount=1, window=DAY)
    till.take(fast, daily)
    assert till.refused(fast, daily).demand is daily


def test_a_call_that_asks_for_more_than_the_whole_limit_never_passes(till: Till) -> None:
    for window in (DAY, sliding(60)):
        excess = till.refused(allowance(amount=10, window=window), prompt=11)
        assert excess.retry_after == math.inf
        denial = limit_exceeded(excess)
        assert (denial.status, denial.code, denial.retry_after) == (429, "quota_exceeded", None)
        assert "ask for fewer tokens" in denial.message


def test_an_amount_of_nothing_is_not_blamed_on_the_call(till: Till) -> None:
    denial = limit_exceeded(till.refused(allowance(amount=0, window=DAY), prompt=1))
    assert (denial.status, denial.code, denial.retry_after) == (429, "quota_exceeded", None)
    assert "allows nothing here: ask its owner" in denial.message
    assert "fewer tokens" not in denial.message


def test_a_refusal_says_which_limit_and_when_to_return(till: Till) -> None:
    limit = bucket("per-app", burst=1, rate=0.1)
    till.take(limit)
    denial = limit_exceeded(till.refused(limit))
    assert (denial.status, denial.code, denial.retry_after) == (429, "rate_limit_exceeded", 10)
    assert denial.message == "AIPolicy team-a/rates per-app is reached: retry in 10 s."
    assert str(denial.rule) == "AIPolicy team-a/rates rule per-app"


def test_settling_twice_and_releasing_after_changes_nothing(till: Till) -> None:
    limits = (bucket(burst=5, rate=0.001), allowance(amount=1000, window=DAY), allowance(amount=99, window=sliding(60)))
    held = till.take(*limits, prompt=40, output=50)
    till.settle(held, 100, 20)
    till.settle(held, 1, 1, NOON)
    till.ledger.release(held)
    assert [till.used(limit, NOON) for limit in limits] == [1, 120, 120]
    assert till.ledger.overshoot_tokens == 30
    till.refused(limits[2], prompt=1)


def test_release_gives_everything_back(till: Till) -> None:
    limits = (bucket(burst=1, rate=0.001), allowance(amount=90, window=DAY), allowance(amount=90, window=sliding(60)))
    for _ in range(3):
        held = till.take(*limits, prompt=40, output=50)
        till.ledger.release(held)
        till.ledger.release(held)
    assert [till.used(limit, NOON) for limit in limits] == [0, 0, 0]


def test_the_same_request_reserves_once(till: Till) -> None:
    limit = allowance(unit=Unit.REQUESTS, amount=5, window=DAY)
    first = till.ledger.reserve("a", (limit,), amounts_of(), NOON)
    assert till.ledger.reserve("a", (limit,), amounts_of(), NOON) is first
    assert till.used(limit, NOON) == 1


def test_a_calendar_window_begins_anew_and_charges_a_reservation_where_it_came(till: Till) -> None:
    limit = allowance(amount=100, window=DAY)
    evening, morning = MIDNIGHT + 86_399, MIDNIGHT + 86_400
    held = till.take(limit, now=evening, prompt=80)
    till.refused(limit, now=evening, prompt=80)
    till.take(limit, now=morning, prompt=80)
    till.settle(held, 40, 30, morning)
    assert till.used(limit, morning) == 80


def test_a_sliding_window_is_freed_as_time_passes(till: Till) -> None:
    limit = allowance(amount=100, window=sliding(60))
    till.take(limit, now=NOON, prompt=60)
    till.take(limit, now=NOON + 30, prompt=40)
    excess = till.refused(limit, now=NOON + 45, prompt=50)
    assert excess.retry_after == 16
    till.refused(limit, now=NOON + 60.9, prompt=50)
    till.take(limit, now=NOON + 61, prompt=50)
    till.refused(limit, now=NOON + 61, prompt=20)


def test_what_need_not_be_obeyed_is_counted_and_reported(till: Till) -> None:
    alert = allowance(amount=10, window=DAY, obeyed=False)
    shadow = bucket(burst=1, rate=0.001, obeyed=False)
    assert till.take(alert, shadow, prompt=8).exceeded == ()
    over = till.take(alert, shadow, prompt=8)
    assert [(one.demand, one.used) for one in over.exceeded] == [(alert, 8), (shadow, 1)]
    assert till.used(alert, NOON) == 16
    assert till.used(shadow, NOON) == 1, "what would have been refused takes nothing"
    till.ledger.release(over)
    assert (till.used(alert, NOON), till.used(shadow, NOON)) == (8, 1)


def test_a_changed_amount_keeps_what_is_used(till: Till) -> None:
    till.take(allowance(amount=100, window=DAY), prompt=80)
    till.refused(allowance(amount=90, window=DAY), prompt=20)
    till.take(allowance(amount=110, window=DAY), prompt=20)
    till.take(bucket(burst=3, rate=0.001))
    till.refused(bucket(burst=1, rate=0.001))
    till.take(bucket(burst=2, rate=0.001))


def test_idle_counters_go_and_those_in_use_stay(till: Till) -> None:
    kept = allowance("kept", amount=10**6, window=calendar(CalendarPeriod.MONTH))
    till.take(kept, prompt=7)
    for number in range(20_000):
        visitor = f"visitor-{number}"
        demands = (bucket(visitor, burst=5, rate=5.0), allowance(visitor, amount=9, window=sliding(1)))
        till.settle(till.take(*demands, now=NOON + number * 0.01, prompt=1), 1, 0)
    assert till.ledger.counters < 2_000
    assert till.used(kept, NOON + 200) == 7


def test_a_counter_made_in_the_middle_of_a_call_does_not_sweep_its_neighbours(till: Till) -> None:
    first, second = bucket("first", burst=1, rate=0.001), bucket("second", burst=1, rate=0.001)
    till.ledger.release(till.take(first))
    till.take(first, second)
    till.refused(first)
    till.refused(second)


def test_what_goes_beyond_a_reservation_counts_though_its_counter_was_forgotten_meanwhile() -> None:
    till = Till()
    demand = allowance("long", amount=1_000, window=DAY)
    late, tomorrow = MIDNIGHT + 86_399, MIDNIGHT + 86_460
    call = till.take(demand, now=late, output=100)
    for number in range(3_000):
        till.take(allowance(f"other-{number}", amount=1_000, window=DAY), now=tomorrow, output=1)
    assert till.used(demand, tomorrow) == 0
    till.settle(call, 0, 700, now=late)
    assert till.used(demand, tomorrow) == 600
