"""What a call asks of the ledger, and what the ledger answers. Values only: counting is in `memory.py`."""

from enum import StrEnum

from msgspec import Struct

from tidegate_dataplane.snapshot.entries import CalendarPeriod, Unit


class RateLimit(Struct, frozen=True, gc=False):
    """A token bucket: `burst` requests at once, `rate` requests a second on the average."""

    burst: int
    rate: float


class Window(Struct, frozen=True, gc=False):
    """Over which time use is added up: a calendar period in a time zone, or the last `sliding_seconds`."""

    calendar: CalendarPeriod | None
    time_zone: str
    sliding_seconds: float


class Allowance(Struct, frozen=True, gc=False):
    """An amount of `unit` for each window."""

    unit: Unit
    amount: int
    window: Window


class Demand(Struct, frozen=True, gc=False):
    """One counter that a call must pass.

    `key` names the counter: it holds the object, the limit's name or unit and window, and the value of the scope, so
    that it means the same before and after a reload. `kind`, `object` ("ns/name"), `generation` and `name` say which
    limit it is. `obeyed` is False for Shadow policies and `onExceed: Alert`: then it is counted and reported, and
    never refuses.
    """

    key: str
    kind: str
    object: str
    generation: int
    name: str
    limit: RateLimit | Allowance
    obeyed: bool = True
    shadow: bool = False

    @property
    def unit(self) -> Unit:
        """What is counted; a rate limit counts requests."""
        return self.limit.unit if isinstance(self.limit, Allowance) else Unit.REQUESTS

    def __str__(self) -> str:
        """E.g. `Quota team-a/monthly Tokens`."""
        return f"{self.kind} {self.object} {self.name}"


class Outcome(StrEnum):
    """What became of a reservation."""

    OPEN = "Open"
    SETTLED = "Settled"
    RELEASED = "Released"


class Standing(Struct, frozen=True, gc=False):
    """Where a counter stands: for `x-ratelimit-*` headers. `reset_at` is in seconds since the epoch."""

    limit: int
    remaining: int
    reset_at: float


class Excess(Struct, frozen=True, gc=False):
    """A limit that a call goes, or would go, over.

    `used` includes what is reserved, `asked` is what the call wanted. `reset_at` is in seconds since the epoch;
    `retry_after` is the number of seconds after which the same call may pass (inf: never, it asks for more than
    the whole limit).
    """

    demand: Demand
    unit: Unit
    used: int
    limit: int
    asked: int
    reset_at: float
    retry_after: float
