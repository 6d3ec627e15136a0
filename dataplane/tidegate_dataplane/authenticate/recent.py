"""A bounded memory of results: what was used longest ago goes first."""

from collections import OrderedDict
from typing import Generic, TypeVar

_Value = TypeVar("_Value")


class Recent(Generic[_Value]):
    """At most `size` values by digest, and at most `weight` of what they are said to weigh, in bytes.

    A decoded object takes several times the memory of the text that it came from: weigh the text, and mean the order
    of magnitude.
    """

    __slots__ = ("_limit", "_size", "_values", "weight")

    def __init__(self, size: int, *, weight: int) -> None:
        self._size = size
        self._limit = weight
        self._values: OrderedDict[bytes, tuple[_Value, int]] = OrderedDict()
        self.weight = 0

    def get(self, digest: bytes) -> _Value | None:
        """The value, which now counts as used."""
        found = self._values.get(digest)
        if found is None:
            return None
        self._values.move_to_end(digest)
        return found[0]

    def put(self, digest: bytes, value: _Value, weight: int) -> None:
        """Remember a value; one that alone is too heavy is not remembered."""
        self.drop(digest)
        if weight > self._limit:
            return
        values = self._values
        values[digest] = value, weight
        self.weight += weight
        while len(values) > self._size or self.weight > self._limit:
            _, (_, gone) = values.popitem(last=False)
            self.weight -= gone

    def drop(self, digest: bytes) -> None:
        found = self._values.pop(digest, None)
        if found is not None:
            self.weight -= found[1]

    def clear(self) -> None:
        self._values.clear()
        self.weight = 0

    def __len__(self) -> int:
        return len(self._values)
