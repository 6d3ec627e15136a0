"""Whether the shared store may be asked, and when to look again. Pure: told the time, never asks for it.

One failure opens it: callers must not each wait for a deadline. It is closed by a background probe, never by a
request. The first probe after a failure comes at once, for most failures are one lost connection; after a failure soon
after it was closed, or after a failed probe, the next comes after a random time, so that data planes do not come back
together, and so that a store that answers only now and then costs little.
"""

from typing import Final

from tidegate_dataplane.store.protocol import Reason

PROBE_SECONDS: Final = (0.5, 2.0)
# A store that failed within so long after it was found well is not probed at once.
STEADY_SECONDS: Final = 5.0


class Breaker:
    """Starts open, with the first probe at once. Times are seconds of one clock that never goes back."""

    __slots__ = ("opened", "reason", "since", "waits")

    def __init__(self, now: float) -> None:
        self.reason = Reason.STARTING
        self.since = now
        self.waits = False
        self.opened = 0

    @property
    def open(self) -> bool:
        return self.reason is not Reason.NONE

    def failed(self, reason: Reason, now: float) -> bool:
        """Something failed; True when it was closed until now, or starting."""
        was = self.reason
        self.waits = was is not Reason.NONE or now - self.since < STEADY_SECONDS
        self.reason = reason
        if was is Reason.NONE:
            self.opened += 1
            self.since = now
        return was in (Reason.NONE, Reason.STARTING)

    def succeeded(self, now: float) -> bool:
        """A probe went well; True when it was open until now."""
        if not self.open:
            return False
        self.reason, self.since = Reason.NONE, now
        return True

    def delay(self, chance: float) -> float:
        """Seconds before the next probe. `chance` is a random number of [0, 1)."""
        if not self.waits:
            return 0.0
        least, most = PROBE_SECONDS
        return least + (most - least) * chance
