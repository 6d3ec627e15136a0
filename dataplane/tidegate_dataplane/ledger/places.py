"""Where a demand's counter is in the shared store: its kind, bounds and present slot, by the store's clock."""

from struct import pack, unpack
from time import monotonic
from typing import Final

from msgspec import Struct

from tidegate_dataplane.ledger.calendar import bounds, following
from tidegate_dataplane.ledger.cells import SLOTS, nanoseconds_per_token
from tidegate_dataplane.ledger.demand import Demand, Window
from tidegate_dataplane.snapshot.entries import Accuracy
from tidegate_dataplane.store.protocol import Kind

# How long leased tokens of a bucket may be kept, at most.
LEASE_US: Final = 250_000
# Late settlements still find the row of a window that is over.
_GRACE_MS: Final = 60_000
# A window of concurrency never ends.
_NEVER: Final = 0
# Nanoseconds.
_LONGEST_FILL: Final = 4_000_000_000_000_000_000


class Place(Struct, frozen=True, gc=False):
    """Fields as in store.protocol.Line. `ends` is when the row may be forgotten, 0 never; what is leased in it may be
    spent before `spent_by`, 0 always; `lease` is how many tokens of a bucket are drawn at once."""

    kind: Kind
    a: int
    b: int
    c: int
    slot: int
    ends: int
    spent_by: int = 0
    lease: int = 1


_GAUGE: Final = Place(Kind.GAUGE, 0, 0, 0, 0, _NEVER)


class Places:
    """Places of demands now. `offset` is the store's clock (seconds since the epoch) less the monotonic one."""

    def __init__(self, offset: float) -> None:
        # The store's clock is between the two: it was read after the question was sent and before the answer came.
        self._offset = self._ahead = int(offset * 1000)
        self._windows: dict[str, Place] = {}
        self._buckets: dict[tuple[float, int, Accuracy], Place] = {}

    def now_ms(self) -> int:
        """The store's time, as far as it is known here."""
        return int(monotonic() * 1000) + self._offset

    def set_clock(self, server_ms: int, sent: float) -> None:
        """Take the store's time from an answer that has just come, to what was sent then (monotonic seconds)."""
        self._offset = server_ms - int(monotonic() * 1000)
        self._ahead = server_ms + 1 - int(sent * 1000)

    def between_ms(self) -> tuple[int, int]:
        """The store's time is at least the one and at most the other."""
        now = int(monotonic() * 1000)
        return now + self._offset, now + self._ahead

    def spendable(self, place: Place) -> bool:
        """Whether it is certain that what is leased there does not belong to a window that is over."""
        return not place.spent_by or self.between_ms()[1] < place.spent_by

    def of(self, demand: Demand) -> Place:
        """Where its counter is."""
        terms = demand.terms
        window = terms.window
        if window is None:
            return self._bucket(demand) if terms.rate else _GAUGE
        now = self.now_ms()
        place = self._windows.get(window.label)
        if place is not None and (
            place.a <= now < place.b if window.calendar is not None else place.slot == now // place.a
        ):
            return place
        place = self._windows[window.label] = _window(window, now)
        return place

    def ends(self, kind: int, slot: int, width: int, window_end: int) -> int:
        """When the row of a slot may be forgotten; 0 never."""
        if kind == Kind.SLIDING:
            return (slot + SLOTS + 2) * width + _GRACE_MS
        return window_end + _GRACE_MS if kind == Kind.WINDOW else _NEVER

    def report_bounds(self, kind: int, width: int, slot: int, end: int) -> tuple[int, int, int]:
        """The bounds of a row of the journal, for figures about the past."""
        if kind == Kind.SLIDING:
            return width, SLOTS + 1, 0
        if kind == Kind.WINDOW:
            return slot, end - _GRACE_MS, end - _GRACE_MS
        return 0, 0, 0

    def _bucket(self, demand: Demand) -> Place:
        terms = demand.terms
        name = (terms.rate, demand.amount, terms.accuracy)
        place = self._buckets.get(name)
        if place is None:
            place = self._buckets[name] = _bucket(terms.rate, demand.amount, terms.accuracy)
        return place


def _window(window: Window, now: int) -> Place:
    if window.calendar is None:
        width = max(1, -(-int(window.sliding_seconds * 1000) // SLOTS))
        slot = now // width
        # The slot in which the stretch began counts whole, and the one before: what is leased is spent within two.
        ends = (slot + SLOTS + 2) * width + _GRACE_MS
        return Place(Kind.SLIDING, width, SLOTS + 1, 0, slot, ends, (slot + 2) * width)
    present = bounds(window.calendar, window.time_zone, now / 1000)
    after = following(window.calendar, window.time_zone, present)
    start, end = int(present.start * 1000), int(present.end * 1000)
    return Place(Kind.WINDOW, start, end, int(after.end * 1000), start, end + _GRACE_MS, end)


def _bucket(rate: float, burst: int, accuracy: Accuracy) -> Place:
    life = 0
    if accuracy is Accuracy.LEASED:
        # Tokens that are drawn ahead are taken off the burst; below two of them it is not worth it.
        life = min(LEASE_US, int(burst / rate * 1_000_000 / 2))
        if life * rate < 2_000_000:
            life = 0
    lease = max(1, int(life * rate / 1_000_000))
    interval = nanoseconds_per_token(rate)
    # The store counts in doubles: one that takes more than a century to fill is as good as one that does.
    most = max(1, _LONGEST_FILL // interval)
    return Place(Kind.BUCKET, interval, min(burst, most), life, 0, _NEVER, lease=lease)


def digest_halves(digest: bytes) -> tuple[int, int]:
    """A counter's 16 bytes as two integers, as the journal keeps them."""
    low, high = unpack("=qq", digest)
    return low, high


def key_bytes(demand: Demand) -> bytes:
    """The 16 bytes of a demand's counter."""
    return pack("=qq", demand.low, demand.high)


def key_bytes_of(low: int, high: int) -> bytes:
    """The 16 bytes of a row's counter."""
    return pack("=qq", low, high)
