"""Memory for the bodies of callers who have not proved who they are: bounded for all of them together.

Which route a call is for stands in its body, and some routes take anybody; so bodies of strangers have to be read. A
small one always is. Who has shown a valid credential needs no room here.
"""

from types import TracebackType
from typing import Final

FREE_BYTES: Final = 64 * 1024
"""So much of each body is read whatever the others take; connections bound the sum."""


class Room:
    """Belongs to one event loop. `left` is in bytes."""

    def __init__(self, size: int) -> None:
        self.left = size

    def share(self) -> "Share":
        """For one request; leave it when its caller is known, or gone."""
        return Share(self)


class Share:
    """What one request takes of the room, until it is left."""

    __slots__ = ("_free", "_room", "_taken")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._free = FREE_BYTES
        self._taken = 0

    def take(self, size: int) -> bool:
        """Whether there is room for so many bytes more."""
        beyond = size - self._free
        self._free = max(0, -beyond)
        if beyond <= 0:
            return True
        if beyond > self._room.left:
            return False
        self._room.left -= beyond
        self._taken += beyond
        return True

    def __enter__(self) -> "Share":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._room.left += self._taken
        self._taken = 0
