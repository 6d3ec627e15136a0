"""What a call asks of the ledger, and what the ledger answers. Values only: counting is in the other modules."""

from enum import IntEnum
from typing import Final

from msgspec import Struct

from tidegate_dataplane.alerts.rule import AlertRule
from tidegate_dataplane.expressions import EvaluationError, MeasureProgram
from tidegate_dataplane.snapshot.entries import Accuracy, CalendarPeriod, FailureMode, MidStream, OnExceed, Unit


class Measure(IntEnum):
    """Which of a call's amounts a limit counts: the place in `Amounts`. EXPRESSION is worked out of the others."""

    REQUESTS = 0
    TOKENS = 1
    INPUT_TOKENS = 2
    OUTPUT_TOKENS = 3
    CACHED_TOKENS = 4
    COST = 5
    COMPUTE = 6
    CONCURRENT = 7
    EXPRESSION = 8


MEASURES: Final = {
    Unit.REQUESTS: Measure.REQUESTS,
    Unit.TOKENS: Measure.TOKENS,
    Unit.INPUT_TOKENS: Measure.INPUT_TOKENS,
    Unit.OUTPUT_TOKENS: Measure.OUTPUT_TOKENS,
    Unit.CACHED_TOKENS: Measure.CACHED_TOKENS,
    Unit.COST: Measure.COST,
    Unit.COMPUTE_SECONDS: Measure.COMPUTE,
    Unit.CONCURRENT: Measure.CONCURRENT,
    Unit.EXPRESSION: Measure.EXPRESSION,
}

# Of one call, by Measure: a request, tokens, input, output and cached tokens, micro-dollars, milliseconds, and 1 while
# it runs.
Amounts = tuple[int, int, int, int, int, int, int, int]
NOTHING: Final[Amounts] = (0, 0, 0, 0, 0, 0, 0, 0)


def amounts_of(
    input_tokens: int = 0, output_tokens: int = 0, *, cached: int = 0, cost: int = 0, milliseconds: int = 0
) -> Amounts:
    """What one running call comes to; `cost` is in micro-dollars."""
    return (1, input_tokens + output_tokens, input_tokens, output_tokens, cached, cost, milliseconds, 1)


class Window(Struct, frozen=True, gc=False):
    """Over which time use is added up: a calendar period in a time zone, or the last `sliding_seconds`.

    `label` is the same for equal windows, and part of the counters' keys.
    """

    calendar: CalendarPeriod | None
    time_zone: str
    sliding_seconds: float
    label: str


class Terms(Struct, frozen=True, gc=False):
    """What of a limit is the same for all its counters. `object` is "ns/name", `name` says which limit of it,
    `label` what people call it.

    `overage_price` is in micro-dollars for a million units, `queue` in seconds. `safe_share` is the part of the
    amount that the data planes of this cluster may use together while the shared store cannot be reached. Keys of its
    counters are `key` and then the scope's value; of values that callers choose, `most_values` have counters of their
    own (0: all).
    """

    kind: str
    object: str
    generation: int
    name: str
    unit: Unit
    measure: Measure
    key: str = ""
    label: str = ""
    window: Window | None = None
    rate: float = 0.0
    accuracy: Accuracy = Accuracy.LOCAL
    failure: FailureMode = FailureMode.CLOSED
    on_exceed: OnExceed = OnExceed.BLOCK
    program: MeasureProgram | None = None
    alert: AlertRule | None = None
    mid_stream: MidStream = MidStream.FINISH
    overage_price: int = 0
    queue: float = 0.0
    safe_share: int = 100
    most_values: int = 0

    def measured(self, amounts: Amounts) -> int:
        """How much of the limit a call counts."""
        program = self.program
        return amounts[self.measure] if program is None else _expressed(program, amounts)


class Demand(Struct, frozen=True, gc=False):
    """One counter that a call must pass: a quota's limit or a rate limit (then `terms.rate` is set).

    `key` names the counter: it holds the object, the limit's name or unit and window, and `scope`, so that it means the
    same before and after a reload; the amount is not in it, so a changed amount keeps what is used. `scope` says whose
    counter it is, as a person would write it. `amount` is the quota's amount or the bucket's burst. `obeyed` is False
    for Shadow policies and limits that only alert or charge: these are counted and reported, and never refuse. `low`
    and `high` are what the shared store calls the counter, 0 where it is counted here.
    """

    key: str
    terms: Terms
    amount: int
    scope: str = ""
    obeyed: bool = True
    low: int = 0
    high: int = 0

    @property
    def kind(self) -> str:
        return self.terms.kind

    @property
    def object(self) -> str:
        return self.terms.object

    @property
    def generation(self) -> int:
        return self.terms.generation

    @property
    def name(self) -> str:
        return self.terms.name

    @property
    def unit(self) -> Unit:
        return self.terms.unit

    @property
    def measure(self) -> Measure:
        return self.terms.measure

    @property
    def window(self) -> Window | None:
        return self.terms.window

    @property
    def rate(self) -> float:
        """Requests a second that flow back into a bucket; 0 of a quota."""
        return self.terms.rate

    def __str__(self) -> str:
        """E.g. `Quota team-a/monthly Tokens`."""
        return f"{self.terms.kind} {self.terms.object} {self.terms.name}"


class Demands(Struct, frozen=True, gc=False):
    """What all calls of one consumer on one route must pass from `since` to before `until` (seconds since the epoch):
    then a grant begins or ends.

    Those that are counted here stand before those that are counted together.
    """

    demands: tuple[Demand, ...]
    since: float
    until: float


class Excess(Struct, frozen=True, gc=False):
    """A limit that a call goes, or would go, over.

    `used` includes what is reserved, `asked` is what the call wanted. `reset_at` is in seconds since the epoch;
    `retry_after` is the number of seconds after which the same call may pass (inf: never, it asks for more than
    the whole limit).
    """

    demand: Demand
    used: int
    limit: int
    asked: int
    reset_at: float
    retry_after: float


class StoreFailure(Struct, frozen=True, gc=False):
    """A shared limit that cannot be asked and lets nothing pass meanwhile (failure mode Closed)."""

    demand: Demand
    reason: str
    retry_after: float = 1.0


def _expressed(program: MeasureProgram, amounts: Amounts) -> int:
    """What an expression makes of a call; one that fails counts as much as would be counted without it: the tokens."""
    usage = {
        "requests": amounts[Measure.REQUESTS],
        "tokens": amounts[Measure.TOKENS],
        "inputTokens": amounts[Measure.INPUT_TOKENS],
        "outputTokens": amounts[Measure.OUTPUT_TOKENS],
        "cachedTokens": amounts[Measure.CACHED_TOKENS],
        "cost": amounts[Measure.COST] / 1_000_000,
        "seconds": amounts[Measure.COMPUTE] / 1_000,
    }
    try:
        return program.evaluate({"usage": usage})
    except EvaluationError:
        return max(1, amounts[Measure.TOKENS])
