"""Laws of the ledger, against models that are slow and plainly right."""

from bisect import bisect_left
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from samples.demands import allowance, bucket, calendar, sliding
from tidegate_dataplane.ledger.calendar import bounds
from tidegate_dataplane.ledger.demand import Demand, Excess, amounts_of
from tidegate_dataplane.ledger.ledger import Ledger, Reservation
from tidegate_dataplane.snapshot.entries import CalendarPeriod, Unit

START = datetime(2026, 3, 28, 20, 0, tzinfo=UTC).timestamp()  # the night in which summer time begins in Berlin
thorough = settings(max_examples=200)

waits = st.one_of(st.integers(0, 5), st.integers(0, 100), st.integers(0, 90_000)).map(float)
amounts = st.integers(0, 40)
ends = st.sampled_from(("settle", "settle", "release", "leave"))


@thorough
@given(st.integers(1, 20), st.integers(1, 50), st.integers(1, 600), st.lists(waits, max_size=60))
def test_a_bucket_never_gives_more_than_burst_and_rate_and_never_less_when_full(
    burst: int, requests: int, period: int, pauses: list[float]
) -> None:
    ledger, limit = Ledger(), bucket(burst=burst, rate=requests / period)
    now, passed = START, list[float]()
    tokens, at = float(burst), START  # the textbook's bucket
    for number, pause in enumerate(pauses):
        now += pause
        tokens, at = min(float(burst), tokens + (now - at) * requests / period), now
        answer = ledger.reserve(str(number), (limit,), amounts_of(), now)
        if isinstance(answer, Reservation):
            assert tokens > 1 - 1e-6
            tokens -= 1
            passed.append(now)
        else:
            assert isinstance(answer, Excess)
            assert tokens < 1
            later = now + answer.retry_after + 1e-6
            assert isinstance(Ledger.reserve(ledger, f"later-{number}", (limit,), amounts_of(), later), Reservation)
            return  # the clock has gone ahead
    for first, begin in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + (passed[last] - begin) * requests / period + 1e-6


class History:
    """A ledger with one limit, and beside it what every admitted call was charged and when it came."""

    def __init__(self, limit: Demand) -> None:
        self.ledger, self.limit, self.now = Ledger(), limit, START
        self.times: list[float] = []
        self.charges: list[int] = []
        self.open: list[tuple[int, Reservation, int, int]] = []

    def between(self, start: float, end: float) -> int:
        """Charged to calls that came from `start` to before `end`."""
        return sum(self.charges[bisect_left(self.times, start) : bisect_left(self.times, end)])

    def reserve(self, prompt: int, output: int) -> Reservation | Excess:
        name = f"{self.now}-{len(self.times)}-{prompt}"
        answer = self.ledger.reserve(name, (self.limit,), amounts_of(prompt, output), self.now)
        assert isinstance(answer, Reservation | Excess)
        if isinstance(answer, Reservation):
            self.open.append((len(self.times), answer, prompt, output))
            self.times.append(self.now)
            self.charges.append(prompt + output)
        return answer

    def finish(self, which: int, used_in: int, used_out: int, *, release: bool) -> None:
        """Settle or release one of the calls that are under way. A provider keeps to max_tokens."""
        if not self.open:
            return
        place, held, prompt, output = self.open.pop(which % len(self.open))
        used_in, used_out = min(used_in, prompt), min(used_out, output)
        if release:
            self.ledger.release(held)
            self.charges[place] = 0
        else:
            self.ledger.settle(held, amounts_of(used_in, used_out), self.now)
            self.charges[place] = used_in + used_out


def play(history: History, drawn: list[Any], unit_of_time: float, check: Any) -> None:
    """`check(answer, asked, used before)` after each call; calls end later, in any order."""
    for wait, prompt, output, which, used_in, used_out, ending in drawn:
        history.now += wait * unit_of_time
        if ending != "none":
            history.finish(which, used_in, used_out, release=ending == "release")
        before = list(history.charges)
        answer = history.reserve(prompt, output)
        check(answer, prompt + output, before)


endings = st.sampled_from(("settle", "release", "none"))
steps = st.lists(
    st.tuples(st.integers(0, 130), amounts, amounts, st.integers(0, 50), amounts, amounts, endings), max_size=60
)


@thorough
@given(st.integers(1, 200), st.sampled_from(CalendarPeriod), st.sampled_from((1.0, 300.0, 20_000.0)), steps)
def test_a_calendar_quota_admits_exactly_what_fits_in_the_window(
    amount: int, period: CalendarPeriod, unit_of_time: float, drawn: list[Any]
) -> None:
    history = History(allowance(amount=amount, window=calendar(period, "Europe/Berlin")))

    def check(answer: Reservation | Excess, asked: int, before: list[int]) -> None:
        start, end = bounds(period, "Europe/Berlin", history.now)
        used = sum(charge for at, charge in zip(history.times, before, strict=False) if start <= at < end)
        assert isinstance(answer, Reservation) is (used + asked <= amount)
        if isinstance(answer, Excess):
            assert (answer.used, answer.asked, answer.reset_at) == (used, asked, end)

    play(history, drawn, unit_of_time, check)


@thorough
@given(st.integers(1, 200), st.integers(1, 7200), steps)
def test_a_sliding_quota_never_holds_more_than_its_amount_in_any_stretch(
    amount: int, seconds: int, drawn: list[Any]
) -> None:
    history = History(allowance(amount=amount, window=sliding(seconds)))

    def check(answer: Reservation | Excess, asked: int, before: list[int]) -> None:
        if isinstance(answer, Reservation):
            assert history.between(history.now - seconds * (1 - 1e-9), history.now + 1) <= amount
        else:
            # Conservative by two sixtieths at the most.
            assert history.between(history.now - seconds * 62 / 60, history.now + 1) + asked > amount

    play(history, drawn, seconds / 97, check)


units = st.sampled_from((Unit.REQUESTS, Unit.TOKENS, Unit.INPUT_TOKENS, Unit.OUTPUT_TOKENS))
windows = st.sampled_from((sliding(86_400 * 400), calendar(CalendarPeriod.YEAR)))


@thorough
@given(units, windows, st.lists(st.tuples(amounts, amounts, ends, amounts, amounts), max_size=40))
def test_what_is_used_is_what_was_settled_and_what_is_held(unit: Unit, window: Any, drawn: list[Any]) -> None:
    """Conservation, overshoot included: no token is lost or counted twice."""
    ledger, limit, now = Ledger(), allowance(unit=unit, amount=10**9, window=window), START
    expected = overshoot = 0
    for number, (prompt, output, end, used_in, used_out) in enumerate(drawn):
        now += 10
        held = ledger.reserve(str(number), (limit,), amounts_of(prompt, output), now)
        assert isinstance(held, Reservation)
        if end == "settle":
            overshoot += max(0, used_in + used_out - prompt - output)
            ledger.settle(held, amounts_of(used_in, used_out), now + 5)
            expected += measure(unit, used_in, used_out)
        elif end == "release":
            ledger.release(held)
        else:
            expected += measure(unit, prompt, output)
        before = ledger.local.used(limit, now)
        if end != "leave":
            ledger.settle(held, amounts_of(999, 999), now)
            ledger.release(held)
        assert ledger.local.used(limit, now) == before == expected
    assert ledger.overshoot_tokens == overshoot


def measure(unit: Unit, prompt: int, output: int) -> int:
    counted = {
        Unit.REQUESTS: 1,
        Unit.TOKENS: prompt + output,
        Unit.INPUT_TOKENS: prompt,
        Unit.OUTPUT_TOKENS: output,
    }
    return counted[unit]


@thorough
@given(st.lists(st.tuples(waits, st.integers(1, 30)), max_size=60), st.integers(1, 5), st.integers(1, 90))
def test_a_call_takes_from_all_its_limits_or_from_none(drawn: list[Any], burst: int, amount: int) -> None:
    limits = (
        bucket(burst=burst, rate=0.01),
        allowance(amount=amount, window=sliding(600)),
        allowance(unit=Unit.REQUESTS, amount=7, window=calendar(CalendarPeriod.HOUR)),
    )
    ledger, now = Ledger(), START
    for number, (wait, prompt) in enumerate(drawn):
        now += wait
        before = [ledger.local.used(limit, now) for limit in limits]
        answer = ledger.reserve(str(number), limits, amounts_of(prompt), now)
        after = [ledger.local.used(limit, now) for limit in limits]
        if isinstance(answer, Excess):
            assert after == before
        else:
            assert after[1:] == [before[1] + prompt, before[2] + 1]
            assert after[0] == before[0] + 1
            assert all(used <= limit.amount for used, limit in zip(after, limits, strict=True))


@thorough
@given(
    st.sampled_from(CalendarPeriod),
    st.sampled_from(("UTC", "Europe/Berlin", "America/Santiago", "Asia/Kolkata", "Pacific/Apia", "Africa/Cairo")),
    st.floats(0, 4_000_000_000),
)
def test_a_moment_lies_in_its_window_and_all_of_the_window_agrees(
    period: CalendarPeriod, zone: str, now: float
) -> None:
    window = bounds(period, zone, now)
    assert window.start <= now < window.end
    for moment in (window.start, (window.start + window.end) / 2, window.end - 1):
        assert bounds(period, zone, moment) == window
