"""A table of objects that are heard of from several sides: lists, watch streams, and the answers to own writes.

News may overtake each other, so each entry carries the resourceVersion it was seen with, and older news is ignored.
Since Kubernetes 1.35 resourceVersions of one resource are declared to be comparable as integers (KEP-5504).
"""

from collections.abc import Collection, Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Versioned(Generic[K, V]):
    """Newest known state by key. A deletion is remembered until a later list confirms it."""

    def __init__(self) -> None:
        self._values: dict[K, V] = {}
        self._versions: dict[K, int] = {}
        self._deleted: dict[K, int] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[K]:
        return iter(self._values)

    def get(self, key: K) -> V | None:
        return self._values.get(key)

    def version(self, key: K) -> int:
        """The resourceVersion that the entry was seen with; 0 when there is none."""
        return self._versions.get(key, 0)

    def snapshot(self) -> dict[K, V]:
        """A shallow copy."""
        return dict(self._values)

    def put(self, key: K, version: int, value: V) -> bool:
        """Take a state; False when a newer one, or the same, is known already."""
        if version <= self._versions.get(key, 0) or version <= self._deleted.get(key, 0):
            return False
        self._deleted.pop(key, None)
        self._values[key] = value
        self._versions[key] = version
        return True

    def drop(self, key: K, version: int) -> bool:
        """Take a deletion; False when there was nothing to delete, or a newer object of that name is known."""
        if version < self._versions.get(key, 0):
            return False
        self._deleted[key] = max(version, self._deleted.get(key, 0))
        self._versions.pop(key, None)
        return self._values.pop(key, None) is not None

    def vanished(self, listed: Collection[K], list_version: int) -> list[K]:
        """Entries that a complete list of that version no longer held: their deletion was missed.

        Drops them, and forgets the deletions that the list has confirmed.
        """
        gone = [key for key in self._values if key not in listed and self._versions[key] <= list_version]
        for key in gone:
            self.drop(key, list_version)
        for key in [key for key, version in self._deleted.items() if version <= list_version]:
            del self._deleted[key]
        return gone
