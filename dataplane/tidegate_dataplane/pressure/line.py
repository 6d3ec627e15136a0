"""Calls that wait, in the order in which they go on: by priority, and inside a priority fairly between consumers.

Pure: it holds no clock and wakes nobody. Three rules make it fair. Consumers of one priority take turns, however many
calls each has waiting. A full line turns away the newest call of whoever has most waiting in the lowest priority, so
one consumer's excess is its own loss. And of each `SHARE_BELOW` calls at least one is taken from a lower priority that
waits, so that no priority starves another (as in Kubernetes' API Priority and Fairness, where each level has a share).
"""

from collections import deque
from collections.abc import Mapping
from typing import Final, Generic, TypeVar

from tidegate_dataplane.snapshot.entries import Priority

SHARE_BELOW: Final = 8
RANKS: Final = {priority: rank for rank, priority in enumerate(Priority)}
"""The higher, the earlier."""


class Place:
    """A call in a line, as long as it is `standing`. `rank` is that of its priority."""

    __slots__ = ("consumer", "rank", "standing")

    def __init__(self, consumer: str, rank: int) -> None:
        self.consumer = consumer
        self.rank = rank
        self.standing = False


P = TypeVar("P", bound=Place)


class Line(Generic[P]):
    """Holds at most `most` places."""

    __slots__ = ("_length", "_passed", "_ranks", "_sizes", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self._length = 0
        # For each rank, the consumers in the order of their turns.
        self._ranks: tuple[dict[str, deque[P]], ...] = tuple({} for _ in Priority)
        self._sizes = [0] * len(Priority)
        self._passed = [0] * len(Priority)

    def __len__(self) -> int:
        return self._length

    def join(self, place: P) -> P | None:
        """Stand in line; returns the place that has to go because the line is full, which may be this one."""
        leaving = None
        if self._length >= self.most:
            leaving = self._weakest(place)
            if leaving is place:
                return place
            self.leave(leaving)
        ring = self._ranks[place.rank]
        waiting = ring.get(place.consumer)
        if waiting is None:
            ring[place.consumer] = deque((place,))
        else:
            waiting.append(place)
        place.standing = True
        self._length += 1
        self._sizes[place.rank] += 1
        return leaving

    def take(self, held: Mapping[str, int] | None = None) -> P:
        """The next to go on. With `held`, what each consumer has under way already: who has least comes first.

        Raises IndexError when nobody waits.
        """
        rank = self._next_rank()
        ring = self._ranks[rank]
        consumer = next(iter(ring)) if held is None else min(ring, key=lambda each: held.get(each, 0))
        waiting = ring.pop(consumer)
        place = waiting.popleft()
        if waiting:
            ring[consumer] = waiting  # at the end: it had its turn
        place.standing = False
        self._length -= 1
        self._sizes[rank] -= 1
        return place

    def put_back(self, place: P) -> None:
        """It was taken too early: it stands before all others of its priority again, however full the line is."""
        ring = self._ranks[place.rank]
        waiting = ring.pop(place.consumer, None) or deque()
        waiting.appendleft(place)
        others = list(ring.items())
        ring.clear()
        ring[place.consumer] = waiting
        ring.update(others)
        place.standing = True
        self._length += 1
        self._sizes[place.rank] += 1

    def leave(self, place: P) -> None:
        """Go away without a turn; nothing happens when the place is not standing any more."""
        if not place.standing:
            return
        place.standing = False
        ring = self._ranks[place.rank]
        waiting = ring[place.consumer]
        if waiting[-1] is place:
            waiting.pop()
        else:
            waiting.remove(place)
        if not waiting:
            del ring[place.consumer]
        self._length -= 1
        self._sizes[place.rank] -= 1

    def counts(self) -> dict[Priority, int]:
        """How many wait, by priority."""
        return dict(zip(Priority, self._sizes, strict=True))

    def _next_rank(self) -> int:
        """The highest that waits, but now and then one below it."""
        found = -1
        for rank in range(len(self._sizes) - 1, -1, -1):
            if not self._sizes[rank]:
                continue
            if found >= 0:
                if self._passed[found] < SHARE_BELOW - 1:
                    self._passed[found] += 1
                    return found
                self._passed[found] = 0
            found = rank
        if found < 0:
            raise IndexError("nobody waits")
        return found

    def _weakest(self, place: P) -> P:
        rank = next(rank for rank, size in enumerate(self._sizes) if size)
        if place.rank < rank:
            return place
        ring = self._ranks[rank]
        if len(ring) == self._sizes[rank]:
            # Everybody has one call here: nobody has an excess to lose to an equal.
            return place if place.rank == rank else ring[next(reversed(ring))][-1]
        most = max(ring.values(), key=len)
        own = len(ring.get(place.consumer, ())) if place.rank == rank else 0
        return most[-1] if place.rank > rank or len(most) > own + 1 else place
