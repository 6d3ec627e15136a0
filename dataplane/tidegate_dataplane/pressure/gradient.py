"""A limit of calls at once that follows a backend's capacity, which nobody has to know.

As long as a backend has room, a call takes as long with many others beside it as with few. Beyond its capacity calls
wait inside it, and the time to the head of an answer grows in proportion. So the limit is multiplied by (usual time /
time now), which takes it back to the capacity, and half its square root is added, the queue that is allowed so that
more capacity is noticed (Netflix, "Performance Under Load", 2018; the gradient of TCP Vegas and its kin). Where a
provider says that it has too much to do, or does not answer in time, the limit shrinks by a tenth.

What is usual is learnt for each kind of call, because a long prompt to a large model takes longer at any load. It is
learnt while few places are used; while all are used, now and then the limit is lowered for one window to look again
(as TCP BBR does). A backend that became slower by itself does not get quicker with fewer calls: where about half of
them made hardly a difference, its new pace becomes the usual one, so that it is not strangled.

Pure: time comes as arguments, in seconds of one monotonic clock.
"""

from typing import Final

Kind = tuple[str, str, bool]
"""Operation, model, streamed: calls that take about as long as each other."""

SMALLEST_WINDOW: Final = 60
"""Samples at least; with exponential times their mean is then within 13 % (one sigma)."""
LONGEST_WINDOW: Final = 10.0
"""Seconds after which fewer samples have to do, but at least FEWEST."""
FEWEST: Final = 10
_REFUSAL_PAUSE: Final = 1.0  # second
_SETTLE: Final = 1.5  # times a call: so long after a change of the limit answers are not counted
TOLERANCE: Final = 1.04
SMOOTHING: Final = 0.5
SHRINK: Final = 0.9
PROBE_EVERY: Final = 15
PROBE_SHARE: Final = 0.7
_FIRST_PROBE: Final = 1
_QUEUED: Final = 0.8
_FASTEST_DROP: Final = 0.5
_CONGESTED: Final = 1.3
_ENOUGH_SHRUNK: Final = 0.55
_START_GROWTH: Final = 1.5
_CLEAN_GROWTH: Final = 1.1
_CLEAN_WINDOWS: Final = 3
_MAX_KINDS: Final = 64
# How much of what a window says is believed. Least of "faster than usual" at full load: of many noisy windows some are,
# and to believe those alone would strangle the backend.
_CALM_GAIN: Final = 0.25
_PROBE_GAIN: Final = 0.3
_QUEUED_GAIN: Final = 0.8
_DOWN_GAIN: Final = 0.05


class _Times:
    """What is usual for a kind, and this window's sum and number of samples. `usual` is 0 until it is known."""

    __slots__ = ("number", "total", "usual")

    def __init__(self) -> None:
        self.usual = 0.0
        self.total = 0.0
        self.number = 0


class GradientLimit:
    """`limit` is between `least` and `most`."""

    __slots__ = (
        "_before",
        "_clean",
        "_exact",
        "_highest",
        "_kinds",
        "_least",
        "_most",
        "_number",
        "_probing",
        "_refused",
        "_settled",
        "_settling",
        "_since",
        "_skip",
        "_skipped",
        "_windows",
        "limit",
    )

    def __init__(self, initial: int, *, least: int, most: int) -> None:
        self._kinds: dict[Kind, _Times] = {}
        self._least = least
        self._most = most
        self._exact = float(initial)
        self._settled = False
        self._probing = False
        self._clean = 0
        self._windows = PROBE_EVERY - _FIRST_PROBE  # what is learnt first may be of a backend that is full already
        self._since = 0.0
        self._refused = -_REFUSAL_PAUSE
        self._before: tuple[float, float] | None = None
        self._settling = 0.0
        self._skip = initial
        self._skipped = 0
        self._number = 0
        self._highest = 0
        self.limit = initial

    def bound(self, least: int, most: int) -> None:
        """New bounds; what was learnt stays."""
        self._least, self._most = least, most
        self._set(self._exact)

    def answered(self, kind: Kind, began: float, now: float, running: int) -> None:
        """The head of a good answer came at `now` to a call sent at `began`, with `running` calls under way."""
        if now < self._since or self._skipped < self._skip:
            self._skipped += 1
            return  # of another limit; and the first answers of all are the quick ones
        times = self._kinds.get(kind)
        if times is None:
            times = self._new_kind(kind)
        times.total += now - began
        times.number += 1
        self._number += 1
        if running > self._highest:
            self._highest = running
        if self._number >= self._enough(now):
            self._close_window(now)

    def abandoned(self, kind: Kind, began: float, now: float, running: int) -> None:
        """Nobody waits any more for an answer that has not come: it takes at least so long. Counts only when that is
        longer than usual, for of a caller that left early nothing can be learnt."""
        times = self._kinds.get(kind)
        if times is not None and times.usual and now - began > times.usual:
            self.answered(kind, began, now, running)

    def overloaded(self, now: float) -> None:
        """A refusal for overload, or no answer in time, came at `now`. Counts once for all calls under way."""
        if now < self._refused + max(_REFUSAL_PAUSE, self._settling):
            return  # the calls under way when the limit shrank are refused as well
        self._refused = now
        self._settled = True
        self._clean = 0
        self._probing = False
        self._windows = 0
        self._set(self._exact * SHRINK)
        self._begin_window(now)

    def _enough(self, now: float) -> int:
        if now - self._since > LONGEST_WINDOW:
            return FEWEST
        return max(SMALLEST_WINDOW, 2 * self.limit)

    def _new_kind(self, kind: Kind) -> _Times:
        if len(self._kinds) >= _MAX_KINDS:
            del self._kinds[next(iter(self._kinds))]
        times = self._kinds[kind] = _Times()
        return times

    def _close_window(self, now: float) -> None:
        ratio = self._ratio()
        use = self._highest / self.limit
        self._windows += 1
        if self._probing:
            self._probing = False
            # Quicker with fewer calls: what seemed usual was learnt while calls queued. Stay here, and look again.
            queued = ratio < _QUEUED
            self._windows = PROBE_EVERY - 1 if queued else 0
            self._learn(_QUEUED_GAIN if queued else _PROBE_GAIN)
            self._set(float(self.limit) if queued else self._exact)
        elif use <= 0.5:
            self._learn(_CALM_GAIN)
        elif use >= 0.8:
            self._adapt(ratio)
            self._probe()
        self._begin_window(now)

    def _ratio(self) -> float:
        """Time now to usual time, over the kinds whose usual time is known; a new kind sets its own."""
        took = usual = 0.0
        for times in self._kinds.values():
            if times.number and times.usual:
                took += times.total
                usual += times.usual * times.number
            elif times.number >= FEWEST:
                times.usual = times.total / times.number
        return took / usual if usual else 1.0

    def _learn(self, gain: float) -> None:
        for times in self._kinds.values():
            if times.number and times.usual:
                weight = gain * min(1.0, times.number / SMALLEST_WINDOW)
                times.usual += weight * (times.total / times.number - times.usual)

    def _adapt(self, ratio: float) -> None:
        if ratio < 1.0:
            self._learn(_DOWN_GAIN)
        limit = self._exact
        if not self._settled and ratio < _CONGESTED:
            self._set(limit * _START_GROWTH)
            return
        self._settled = True
        if self._is_slow_for_good(limit, ratio):
            return
        self._clean = self._clean + 1 if ratio <= TOLERANCE else 0
        allowed = max(1.0, limit**0.5 / 2)
        if self._clean > _CLEAN_WINDOWS:
            allowed = max(allowed, limit * (_CLEAN_GROWTH - 1) / SMOOTHING)
        gradient = max(_FASTEST_DROP, min(1.0, TOLERANCE / ratio))
        self._set(limit + SMOOTHING * (gradient * limit + allowed - limit))

    def _is_slow_for_good(self, limit: float, ratio: float) -> bool:
        """Whether about half the calls at once made hardly a difference: then the backend is slower by itself, that is
        usual from now on, and the limit goes back to what it was. Nor is there anything else to try at the least."""
        before = self._before
        if ratio < _CONGESTED:
            self._before = None
        elif limit <= self._least:
            self._learn(_PROBE_GAIN)
        elif before is None:
            self._before = limit, ratio
        elif limit <= _ENOUGH_SHRUNK * before[0]:
            self._before = limit, ratio
            if ratio > before[1] * (1 + limit / before[0]) / 2:
                self._learn(1.0)
                self._before = None
                self._set(before[0])
                return True
        return False

    def _probe(self) -> None:
        if self._windows >= PROBE_EVERY and self.limit > self._least:
            self._probing = True
            self.limit = max(self._least, int(self._exact * PROBE_SHARE))

    def _set(self, limit: float) -> None:
        self._exact = min(float(self._most), max(float(self._least), limit))
        self.limit = int(self._exact)

    def _begin_window(self, now: float) -> None:
        if self._number:
            mean = sum(times.total for times in self._kinds.values()) / self._number
            self._settling = _SETTLE * mean
        self._since = now + self._settling
        self._number = 0
        self._highest = 0
        for times in self._kinds.values():
            times.total = 0.0
            times.number = 0
