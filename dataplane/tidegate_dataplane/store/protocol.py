"""What data planes and the shared store of counters say to each other.

A *counter* is a limit, a value of its scope, and a window. The store keeps, for each *owner* (a data plane) and each
*slot* of the counter (a calendar window; a piece of a sliding window; 0 for concurrency), three absolute figures:

    used <= firm <= granted      used: settled or delivered; firm: used and held; granted: firm and leased spare

and sees to it that what it grants never makes the sum of `granted`, over owners and live slots, more than the limit.
A plane whose `firm` is beyond what it was granted (it went on without the store) is believed; then nothing more is
granted until it fits. Time is the store's. Amounts are integers of at most MAX_AMOUNT, times integers of milliseconds
unless said otherwise.

Rules for those who call:

- A batch must be built when it is sent: figures are those of this moment, and `keep` of a batch that waited behind
  another would take back what the other was granted. So one `exchange` at a time; a second one is a RuntimeError.
- Figures are facts and always taken; only what is *needed* is all or nothing in each decision.
- Within a batch, the figures of a (key, slot) are taken from the first line that mentions it; later ones only need.
- An answer that never came may have been granted. It is not used: the next batch that is sent must mention every
  counter of the unanswered one (in the slots that were present while it was under way, zeros and all), and `keep`
  gives it back. What is not given back so counts until its window is over; of a GAUGE, as long as its owner lives.
- The spare of a slot that is over stays granted until its owner says so with a lower `keep` (for SLIDING, where old
  slots still count; a WINDOW or GAUGE has only one slot).
- After EpochChanged: stop spending spare, `declare` everything, take the figures it answers, go on.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, Protocol

from msgspec import Struct

# Lua counts in doubles, which hold integers up to 2**53.
MAX_AMOUNT: Final = 9_000_000_000_000_000
OWNER_BYTES: Final = 16
KEY_BYTES: Final = 16
# A plane stops spending spare so long after it SENT the last batch that was answered: `StoreState.confirmed_at`.
SPARE_SECONDS: Final = 10.0
# An owner that is silent for longer than OWNER_TTL_MS no longer counts as alive (slices are shared among the living).
# What it holds is taken back only after HOLD_TTL_MS, when somebody else is short: then only `used` counts, and a GAUGE
# forgets it. Not sooner, for a plane that is cut off spends its spare for SPARE_SECONDS, unheard, and its calls go on.
OWNER_TTL_MS: Final = 15_000
HOLD_TTL_MS: Final = 3_600_000
DEADLINE_SECONDS: Final = 0.050


class Kind(IntEnum):
    """The shape of a counter."""

    WINDOW = 0
    SLIDING = 1
    BUCKET = 2
    GAUGE = 3


class Status(IntEnum):
    """What became of one line."""

    OK = 0
    REFUSED = 1  # does not fit now; `retry_ms` says when it may
    NOT_TRIED = 2  # would do, but another line of its decision does not: nothing was granted here
    REBUILDING = 3  # the store lost something and waits for all planes to declare; `retry_ms` says how long at most
    # The store's time is before `a` or beyond `c`: work the bounds out for `Answer.server_ms`. Or the figures are of a
    # slot that has not begun by the store's time: they were not taken, report them again.
    BOUNDS_UNKNOWN = 4


class Line(Struct, array_like=True, gc=False):
    """One counter in one decision.

    | kind    | a                     | b            | c                           | slot                            |
    |---------|-----------------------|--------------|-----------------------------|---------------------------------|
    | WINDOW  | start ms              | end ms       | end of the following one ms | start ms of the figures' window |
    | SLIDING | slot width ms, up     | slots kept   | 0                           | floor(server ms / width)        |
    | BUCKET  | nanoseconds a token   | burst tokens | life of leased tokens, us   | TAT us of the take (see below)  |
    | GAUGE   | 0                     | 0            | 0                           | 0                               |

    SLIDING: slots now - b .. now count, so that the one in which the stretch began counts whole.

    `limit` -1 only counts, and grants always. `used`, `firm` and `keep` are this owner's absolute figures in `slot`;
    `keep` becomes `granted` (never raising it beyond `firm`: that is what `need` is for); figures of a slot that is
    over and no longer counts are ignored. `need` more are granted in the *present* slot, or the decision is refused;
    0 only reports. `want` >= need: up to so many, less as the limit nears: at most max(need, rest / (4 * owners)).
    Where `slot` is not the present one, the owner is taken to have nothing there yet but what this batch grants.

    BUCKET has no slots and no absolute figures: `firm` is unused, and in every line, once and never repeated, `used`
    is how many tokens to debit whatever the room (delivered beyond what was taken), and `keep` how many to give back,
    of those taken by a line whose Result.slot was `slot` (what has flowed back since is not given twice). `limit` is
    unused (b says it; -1 debits always). `c` is the same in all lines of a counter and shrinks its capacity by what
    flows back within c, for leased tokens are spent up to c later: burst + rate * T then holds in every stretch T.
    """

    key: bytes
    kind: int
    a: int
    b: int
    c: int
    slot: int
    limit: int
    used: int
    firm: int
    keep: int
    need: int
    want: int


class Result(Struct, array_like=True, gc=False):
    """What the store says to one Line, as of right after its decision."""

    status: int
    slot: int  # the present slot by the store's time (BUCKET: TAT us after this)
    granted: int  # this owner's, absolute, in that slot (BUCKET: tokens granted by this line)
    slot_total: int  # granted to all owners in that slot
    total: int  # granted to all owners over all live slots (BUCKET: debt in tokens, rounded up)
    used: int  # all owners' used over all live slots (GAUGE: all owners' firm)
    retry_ms: int  # after which it may fit; -1: never, for need is more than the limit; 0: granted
    pressed: int  # 1: somebody was refused here within the last seconds: give spare back


class Declared(Struct, array_like=True, gc=False):
    """All that an owner knows of one slot of one counter, from its journal; fields as in Line.

    `total` is what all owners had been granted in that slot when it last looked (Result.slot_total), 0 if it does not
    know: it stands for planes that do not declare. BUCKET: `slot` is the last TAT seen, the figures are 0.
    """

    key: bytes
    kind: int
    a: int
    b: int
    c: int
    slot: int
    limit: int
    used: int
    firm: int
    keep: int
    total: int


class Answer(Struct, array_like=True, gc=False):
    """The answer to a batch; one list of results for each decision, one result for each line."""

    epoch: int
    server_ms: int
    owners: int  # data planes alive, this one included
    results: list[list[Result]]


@dataclass(frozen=True, slots=True)
class Position:
    """What a plane's journal keeps about the store: written after each change, or at least now and then.

    `owner` is OWNER_BYTES random bytes for as long as the journal lives. `sequence` numbers batches; `acknowledged` is
    the last one that was answered: a store that has seen less of this owner went back in time. `epoch` is 0 before
    the first contact.
    """

    owner: bytes
    sequence: int = 0
    acknowledged: int = 0
    epoch: int = 0


class Reason(StrEnum):
    """Why the store cannot be used; the label of metrics and readiness."""

    NONE = ""
    STARTING = "starting"  # not yet connected
    REFUSED = "connection_refused"  # nobody listens, or the address is unknown
    TIMEOUT = "timeout"
    LOST = "connection_lost"
    DENIED = "access_denied"  # wrong password, or an ACL that lacks something
    TLS = "tls"
    FILE = "unreadable_file"  # the password's or a certificate's
    READ_ONLY = "read_only"  # a replica, or too few replicas to write to
    ERROR = "error"  # the server answered an error of another kind
    CLOSED = "closed"


class StoreUnavailable(Exception):
    """The store did not answer in time, or is known not to. Whether the batch was applied is not known."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"the shared store cannot be used: {reason.value}")
        self.reason = reason


class EpochChanged(Exception):
    """The store lost data, went back in time, or is a new process: nothing was applied. Declare everything."""


@dataclass(frozen=True, slots=True)
class StoreState:
    """For readiness, metrics, headers. Times are time.monotonic() seconds.

    `connected` is False while the breaker is open. `since` is when that last changed. `confirmed_at` is when the last
    batch that was answered was SENT (-inf: never): spare may be spent until SPARE_SECONDS after it. `must_declare`:
    `exchange` will raise EpochChanged until `declare` has run.
    """

    connected: bool
    reason: Reason
    since: float
    confirmed_at: float
    must_declare: bool
    owners: int
    opened: int  # how often the breaker opened


class Store(Protocol):
    """The shared store. One for each data plane."""

    async def exchange(self, decisions: Sequence[Sequence[Line]]) -> Answer:
        """One round trip. Raises StoreUnavailable after DEADLINE_SECONDS at the most, at once while it is known to be
        away; EpochChanged when `declare` must come first; RuntimeError while another `exchange` is under way."""
        ...

    async def declare(self, rows: Sequence[Declared], known_owners: Collection[bytes] | None) -> list[Result]:
        """Tell the store everything, after EpochChanged and at the first contact. One result for each row: its
        `granted` is what this owner now has in `slot` there (spare that does not fit is gone).

        `known_owners`: the owners this plane has seen (`known_owners` below), () if it never met the store, None if it
        did but does not remember them. It may take many round trips. Raises StoreUnavailable, or EpochChanged when
        the store changed again meanwhile: begin anew.
        """
        ...

    async def claim(self, name: str, seconds: float) -> bool:
        """True for the first of all data planes that claims `name`, for so many seconds from now; also when it claims
        it again, which prolongs it. Raises StoreUnavailable."""
        ...

    def on_epoch_changed(self, call: Callable[[], None]) -> None:
        """Call this, from the event loop, whenever `must_declare` becomes True (a heartbeat finds out as well)."""
        ...

    @property
    def state(self) -> StoreState: ...

    @property
    def position(self) -> Position: ...

    @property
    def known_owners(self) -> frozenset[bytes]:
        """Other owners and this one, as of the last answer; empty before the first."""
        ...

    async def start(self) -> None:
        """Begin to connect and to beat; returns at once."""
        ...

    async def aclose(self) -> None: ...
