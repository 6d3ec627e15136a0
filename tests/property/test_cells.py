"""Laws of single counters, against models that are slow and plainly right: a list of (time, amount) and its sums.

Times are whole ticks, which floats of seconds hold exactly. `Clock` keeps two of them: the true time, and what the
machine's clock shows, which may be put back. Laws about stretches of time are of the true one.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from math import inf

from hypothesis import example, given, settings
from hypothesis import strategies as st

from samples.demands import allowance, bucket, calendar, sliding, slots
from tidegate_dataplane.ledger.calendar import bounds
from tidegate_dataplane.ledger.cells import BucketCell, Calendar, CalendarCell, Cell, GaugeCell, SlidingCell
from tidegate_dataplane.ledger.demand import Demand
from tidegate_dataplane.snapshot.entries import CalendarPeriod

thorough = settings(max_examples=300)
START = datetime(2026, 3, 28, 20, 0, tzinfo=UTC).timestamp()
TICK = 2.0**-10
A_HAIR = 1e-6  # seconds; a float of today's seconds is right to a quarter of a microsecond


@dataclass
class Clock:
    true: float = START
    behind: float = 0.0

    @property
    def now(self) -> float:
        return self.true - self.behind

    def run(self, ticks: int, back: int = 0) -> None:
        self.true += ticks * TICK
        self.behind += back * TICK


@dataclass(eq=False)
class Taking:
    at: float  # true time
    amount: int
    stamp: float = 0.0


@dataclass
class Counter:
    """A cell, and beside it the list of what it let in."""

    cell: Cell
    clock: Clock = field(default_factory=Clock)
    taken: list[Taking] = field(default_factory=list)
    open: list[Taking] = field(default_factory=list)

    def ask(self, demand: Demand, amount: int) -> bool:
        if not self.cell.fits(demand, amount, self.clock.now):
            return False
        taking = Taking(self.clock.true, amount, self.cell.take(amount))
        self.taken.append(taking)
        self.open.append(taking)
        return True

    def end(self, which: int, used: int) -> None:
        """One of the calls under way ends, having used at most what it took."""
        if self.open:
            taking = self.open.pop(which % len(self.open))
            used = min(used, taking.amount)
            self.cell.correct(taking.stamp, used - taking.amount)
            taking.amount = used


waits = st.one_of(st.just(0), st.integers(0, 4), st.integers(0, 600), st.integers(0, 20_000))
backs = st.one_of(st.just(0), st.just(0), st.just(0), st.integers(0, 40), st.integers(0, 40_000))
amounts = st.integers(0, 12)
steps = st.lists(st.tuples(waits, backs, amounts, st.none() | st.tuples(st.integers(0, 30), amounts)), max_size=50)
Steps = list[tuple[int, int, int, tuple[int, int] | None]]
rates = st.one_of(st.integers(1, 2_000).map(float), st.integers(1, 2_000).map(lambda n: n / 60), st.floats(0.05, 5e3))


@thorough
# The first that is given back moves the second: what flowed back of that is not given back again.
@example(18, 12.5, [(0, 0, 1, None), (0, 0, 1, None), (82, 0, 10, (0, 0)), (82, 0, 0, (0, 0)), (0, 0, 10, None)])
@given(st.integers(1, 20), rates, steps)
def test_a_bucket_gives_no_more_than_burst_and_rate_in_any_stretch(burst: int, rate: float, drawn: Steps) -> None:
    """Wherever the stretch begins, whatever is given back, however the clock is put back."""
    demand, counter = bucket(burst=burst, rate=rate), Counter(BucketCell(rate))
    for wait, back, amount, ending in drawn:
        counter.clock.run(wait, back)
        if ending:
            counter.end(*ending)
        counter.ask(demand, amount)
        sums = [0, *accumulate(taking.amount for taking in counter.taken)]
        for place, first in enumerate(counter.taken):
            flowed = (counter.clock.true - first.at + A_HAIR) * rate
            assert sums[-1] - sums[place] <= burst + flowed


@thorough
@given(st.integers(1, 20), rates, steps)
def test_a_bucket_refuses_only_what_the_textbook_refuses(burst: int, rate: float, drawn: Steps) -> None:
    demand, counter = bucket(burst=burst, rate=rate), Counter(BucketCell(rate))
    tokens, at = float(burst), START
    for wait, _, amount, _ in drawn:
        counter.clock.run(wait)
        now = counter.clock.now
        tokens, at = min(float(burst), tokens + (now - at) * rate), now
        hair = A_HAIR * (1 + rate)
        fits = counter.ask(demand, amount)
        assert fits if amount <= tokens - hair else not fits or amount <= tokens + hair
        if fits:
            tokens -= amount
        elif amount <= burst:
            wait_for = counter.cell.retry_after(demand, amount, now)
            assert abs(wait_for - (amount - tokens) / rate) < A_HAIR * (1 + 1 / rate)
        assert abs(counter.cell.used() - (burst - tokens)) < 1 + hair


@thorough
@given(st.lists(st.tuples(st.integers(1, 20), rates, st.integers(0, 3_000), amounts), min_size=1, max_size=30))
def test_what_is_out_of_a_bucket_stays_out_when_its_limit_changes(
    drawn: list[tuple[int, float, int, int]],
) -> None:
    counter, debt = Counter(BucketCell(drawn[0][1])), 0.0
    flow = drawn[0][1]
    for burst, rate, wait, amount in drawn:
        counter.clock.run(wait)
        # The cell learns of a new rate with the first call that comes under it.
        counter.cell.fits(bucket(burst=burst, rate=flow), 0, counter.clock.now)
        debt, flow = max(0.0, debt - wait * TICK * flow), rate
        hair = A_HAIR * (1 + rate)
        fits = counter.ask(bucket(burst=burst, rate=rate), amount)
        assert fits if debt + amount <= burst - hair else not fits or debt + amount <= burst + hair
        debt += amount if fits else 0


def test_a_bucket_does_not_drift() -> None:
    """A third of a token's time is not a whole number of nanoseconds; many of them later, it holds."""
    demand, cell = bucket(burst=2, rate=3.0), BucketCell(3.0)
    passed = 0
    for number in range(400_000):
        if cell.fits(demand, 1, START + number / 4):
            cell.take(1)
            passed += 1
    assert 300_000 <= passed <= 300_001


@thorough
@given(st.integers(1, 100), st.integers(1, 60), steps)
def test_a_sliding_window_holds_no_more_than_its_amount_in_any_stretch(amount: int, seconds: int, drawn: Steps) -> None:
    demand, counter = allowance(amount=amount, window=sliding(seconds)), Counter(SlidingCell(seconds))
    put_back = False
    for wait, back, asked, ending in drawn:
        counter.clock.run(wait, back)
        put_back = put_back or back > 0
        if ending:
            counter.end(*ending)
        now = counter.clock.true
        if counter.ask(demand, asked):
            assert sum(taking.amount for taking in counter.taken if taking.at > now - seconds + A_HAIR) <= amount
        elif not put_back:
            # Conservative by two sixtieths at the most.
            recent = [taking.amount for taking in counter.taken if taking.at > now - seconds * 62 / 60]
            assert sum(recent) + asked > amount
            if asked <= amount:
                later = now + counter.cell.retry_after(demand, asked, now) + A_HAIR
                assert now < later <= now + seconds * 62 / 60
                again = SlidingCell(seconds)
                for taking in counter.taken:
                    again.fits(demand, 0, taking.at)
                    again.take(taking.amount)
                assert again.fits(demand, asked, later)


# Where a clock or a calendar does what few expect.
odd_moments = st.sampled_from(
    [
        ("Europe/Berlin", "2026-03-29T00:50+00:00"),
        ("Europe/Berlin", "2026-10-25T00:50+00:00"),
        ("Australia/Lord_Howe", "2026-04-04T14:50+00:00"),
        ("America/Sao_Paulo", "2018-02-18T01:50+00:00"),
        ("America/St_Johns", "2010-11-07T02:25+00:00"),
        ("Pacific/Apia", "2011-12-30T09:50+00:00"),
        ("UTC", "2028-02-28T23:59+00:00"),
        ("Asia/Kolkata", "2026-12-31T18:25+00:00"),
        ("America/Santiago", "2026-09-06T03:50+00:00"),
    ]
)


@thorough
@given(st.integers(1, 60), st.sampled_from(CalendarPeriod), odd_moments, st.sampled_from((1, 64, 4096)), steps)
@example(10, CalendarPeriod.DAY, ("UTC", "2028-02-28T23:59+00:00"), 1, [(60_000, 0, 9, None), (1_500, 0, 9, None)])
def test_a_calendar_window_holds_no_more_than_its_amount_and_no_less(
    amount: int, period: CalendarPeriod, moment: tuple[str, str], scale: int, drawn: Steps
) -> None:
    """A window is opened once: a clock that is put back, over an edge or not, opens none again."""
    zone, text = moment
    window = calendar(period, zone)
    demand = allowance(amount=amount, window=window)
    counter = Counter(CalendarCell(Calendar(window)), Clock(datetime.fromisoformat(text).timestamp()))
    latest = -inf
    charged: dict[float, list[Taking]] = {}
    for wait, back, asked, ending in drawn:
        counter.clock.run(wait * scale, back * scale)
        if ending:
            counter.end(*ending)
        latest = max(latest, counter.clock.now)
        present = charged.setdefault(bounds(period, zone, latest).start, [])
        used = sum(taking.amount for taking in present)
        fits = counter.ask(demand, asked)
        assert fits is (used + asked <= amount)
        if fits:
            present.append(counter.taken[-1])
        assert counter.cell.used() == sum(taking.amount for taking in present) <= amount


@thorough
@given(st.lists(st.tuples(st.integers(0, 12), amounts, st.integers(0, 4_000)), max_size=40), st.integers(0, 2))
def test_an_amount_that_changes_keeps_what_is_used(drawn: list[tuple[int, int, int]], sort: int) -> None:
    """A grant begins or ends, a tier is another: each call is held to the amount of its own moment."""
    day = calendar(CalendarPeriod.YEAR)
    cells: tuple[Cell, ...] = (CalendarCell(Calendar(day)), SlidingCell(86_400 * 400), GaugeCell())
    cell, used, now = cells[sort], 0, START
    for limit, asked, wait in drawn:
        now += wait
        demand = (allowance(amount=limit, window=day), allowance(amount=limit, window=sliding(1)), slots(limit))[sort]
        assert cell.fits(demand, asked, now) is (used + asked <= limit)
        if used + asked <= limit:
            cell.take(asked)
            used += asked
        assert cell.used() == used


@thorough
@given(st.integers(1, 8), st.lists(st.none() | st.integers(0, 20), max_size=60))
def test_no_more_slots_are_in_use_than_there_are_and_all_come_back(limit: int, drawn: list[int | None]) -> None:
    cell, demand, under_way = GaugeCell(), slots(limit), 0
    for step in drawn:
        if step is None or not under_way:
            fits = cell.fits(demand, 1, START)
            assert fits is (under_way < limit)
            assert (cell.retry_after(demand, 1, START) == 0) is fits
            if fits:
                cell.take(1)
                under_way += 1
        else:
            cell.correct(0.0, -1)
            under_way -= 1
        assert cell.used() == under_way <= limit
        assert cell.idle(START) is (under_way == 0)


@thorough
@given(
    st.sampled_from(("calendar", "sliding")),
    st.lists(st.tuples(st.integers(0, 30), amounts, st.integers(0, 24)), min_size=1, max_size=40),
)
def test_nothing_that_is_used_goes_uncounted_and_nothing_is_given_back_twice(
    sort: str, drawn: list[tuple[int, int, int]]
) -> None:
    """Calls end in the order in which they came, some after their window, some having used more than they took."""
    window = calendar(CalendarPeriod.MINUTE) if sort == "calendar" else sliding(60)
    cell: Cell = CalendarCell(Calendar(window)) if sort == "calendar" else SlidingCell(60)
    demand = allowance(amount=10**9, window=window)
    now, counted = START, list[tuple[int, int]]()  # the minute or second it counts in, how much
    held: list[tuple[float, int, int]] = []

    def here() -> int:
        return int(now // (60 if sort == "calendar" else 1))

    def counts(place: int) -> bool:
        return place >= here() - (0 if sort == "calendar" else 60)

    for wait, asked, used in drawn:
        now += wait
        cell.fits(demand, 0, now)
        if held and wait % 2:
            stamp, place, took = held.pop(0)
            cell.correct(stamp, used - took)
            if counts(place):
                counted.append((place, used - took))
            elif used > took:
                counted.append((here(), used - took))
        held.append((cell.take(asked), here(), asked))
        counted.append((here(), asked))
        assert cell.used() == sum(amount for place, amount in counted if counts(place))
