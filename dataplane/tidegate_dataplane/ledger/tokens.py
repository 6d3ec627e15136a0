"""Tokens of shared buckets that were drawn ahead: few, and soon void."""

from time import monotonic

from tidegate_dataplane.ledger.demand import Demand


class LeasedTokens:
    """By counter: how many, and until when (seconds of the monotonic clock)."""

    __slots__ = ("_leased",)

    def __init__(self) -> None:
        self._leased: dict[tuple[int, int], tuple[int, float]] = {}

    def take(self, demand: Demand, amount: int) -> bool:
        """Spend so many, if they are there."""
        if not self._leased:
            return False
        key = (demand.low, demand.high)
        tokens, until = self._leased.get(key, (0, 0.0))
        if tokens < amount or until <= monotonic():
            return False
        if tokens == amount:
            del self._leased[key]
        else:
            self._leased[key] = (tokens - amount, until)
        return True

    def put(self, demand: Demand, amount: int, until: float) -> None:
        """Some were granted beyond what was needed; older ones are forgotten."""
        self._leased[demand.low, demand.high] = (amount, until)

    def give_back(self, demand: Demand, amount: int) -> None:
        """Some were not spent after all; those whose time is over are not worth anything."""
        key = (demand.low, demand.high)
        tokens, until = self._leased.get(key, (0, 0.0))
        if until > monotonic():
            self._leased[key] = (tokens + amount, until)

    def clear(self) -> None:
        self._leased.clear()
