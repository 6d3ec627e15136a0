"""How long to wait before trying again."""

import random


class Backoff:
    """Doubles from `first` to `longest` seconds; each wait is drawn from its upper half, so that replicas spread."""

    def __init__(self, first: float = 0.1, longest: float = 5.0) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def reset(self) -> None:
        self._next = self._first

    def wait(self) -> float:
        """Seconds to wait this time."""
        ceiling = self._next
        self._next = min(ceiling * 2, self._longest)
        return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, protects nothing
