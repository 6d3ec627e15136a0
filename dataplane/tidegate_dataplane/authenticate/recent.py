"""A bounded memory of results: what was used longest ago goes first."""

from collections import OrderedDict
from typing import Generic, TypeVar

_Value = TypeVar("_Value")


class Recent(Generic[_Value]):
    """At most `size` values by digest."""

    __slots__ = ("_size", "_values")

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[bytes, _Value] = OrderedDict()

    def get(self, digest: bytes) -> _Value | None:
        """The value, which now counts as used."""
        value = self._values.get(digest)
        if value is not None:
            self._values.move_to_end(digest)
        return value

    def put(self, digest: bytes, value: _Value) -> None:
        values = self._values
        values[digest] = value
        values.move_to_end(digest)
        if len(values) > self._size:
            values.popitem(last=False)

    def drop(self, digest: bytes) -> None:
        self._values.pop(digest, None)

    def clear(self) -> None:
        self._values.clear()

    def __len__(self) -> int:
        return len(self._values)
