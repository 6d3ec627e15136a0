"""Proof that the watches are alive: the operator's own Lease, whenever it is read or written, must come back."""

from collections.abc import Callable

ECHO_SECONDS = 60.0


class Watchdog:
    """Hears of Lease versions twice: when the API server answers, and when the watch echoes them."""

    def __init__(self, clock: Callable[[], float], *, limit: float = ECHO_SECONDS) -> None:
        self._clock = clock
        self._limit = limit
        self._echoed = 0
        self._waiting_since: float | None = None
        self._newest = 0

    def expect(self, version: int) -> bool:
        """The API server named this version of the Lease; True when it is older than one that it named before.

        Either two answers have overtaken each other, or etcd was wiped or restored.
        """
        older = version < self._newest
        self._newest = max(self._newest, version)
        if self._newest > self._echoed and self._waiting_since is None:
            self._waiting_since = self._clock()
        return older

    def echo(self, version: int) -> None:
        """The watch delivered this version."""
        if version <= self._echoed:
            return
        self._echoed = version
        self._waiting_since = None if self._newest <= version else self._clock()

    @property
    def age(self) -> float:
        """Seconds for which nothing that should have come back did; 0 when nothing is missing."""
        return 0.0 if self._waiting_since is None else self._clock() - self._waiting_since

    @property
    def alive(self) -> bool:
        """False when the watches should be given up, and the process with them."""
        return self.age <= self._limit
