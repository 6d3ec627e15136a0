"""What a call asks of the ledger, and what the ledger answers. Values only: counting is in `memory.py`."""

from enum import IntEnum
from typing import Final

from msgspec import Struct

from tidegate_dataplane.snapshot.entries import CalendarPeriod, Unit


class Measure(IntEnum):
    """Which of a call's amounts a limit counts: the place in `(requests, tokens, input tokens, output tokens)`."""

    REQUESTS = 0
    TOKENS = 1
    INPUT_TOKENS = 2
    OUTPUT_TOKENS = 3


MEASURES: Final = {
    Unit.REQUESTS: Measure.REQUESTS,
    Unit.TOKENS: Measure.TOKENS,
    Unit.INPUT_TOKENS: Measure.INPUT_TOKENS,
    Unit.OUTPUT_TOKENS: Measure.OUTPUT_TOKENS,
}


class Window(Struct, frozen=True, gc=False):
    """Over which time use is added up: a calendar period in a time zone, or the last `sliding_seconds`.

    `label` is the same for equal windows, and part of the counters' keys.
    """

    calendar: CalendarPeriod | None
    time_zone: str
    sliding_seconds: float
    label: str


class Demand(Struct, frozen=True, gc=False):
    """One counter that a call must pass: a quota's limit (`window` is set) or a rate limit (`rate` is).

    `key` names the counter: it holds the object, the limit's name or unit and window, and the value of the scope, so
    that it means the same before and after a reload; the amount is not in it, so a changed amount keeps what is used.
    `kind`, `object` ("ns/name"), `generation` and `name` say which limit it is. `amount` is the quota's amount or the
    bucket's burst, `rate` the requests a second that flow back into the bucket. `obeyed` is False for Shadow policies
    and `onExceed: Alert`: then it is counted and reported, and never refuses.
    """

    key: str
    kind: str
    object: str
    generation: int
    name: str
    unit: Unit
    measure: Measure
    amount: int
    rate: float = 0.0
    window: Window | None = None
    obeyed: bool = True
    shadow: bool = False

    def __str__(self) -> str:
        """E.g. `Quota team-a/monthly Tokens`."""
        return f"{self.kind} {self.object} {self.name}"


class Standing(Struct, frozen=True, gc=False):
    """Where a counter stands: for `x-ratelimit-*` headers. `reset_at` is in seconds since the epoch."""

    limit: int
    remaining: int
    reset_at: float


class Standings(Struct, frozen=True, gc=False):
    """The tightest obeyed limit in requests, and in tokens of whatever kind; None where there is none."""

    requests: Standing | None
    tokens: Standing | None


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
