"""The provider keys in force, by the name that backends refer to. Never logged, never shown."""

from collections.abc import Callable, Mapping


class Credentials:
    """Each source replaces its whole set; of the sources that have one, the first in `precedence` is in force.

    The mounted directory is the floor under the API: it serves when the API is away, and its kubelet lags behind.
    """

    def __init__(self, precedence: tuple[str, ...] = ("memory", "api", "directory")) -> None:
        self._precedence = precedence
        self._sets: dict[str, Mapping[str, bytes]] = {}
        self._listeners: list[Callable[[], None]] = []
        self.version = 0

    def replace(self, source: str, values: Mapping[str, bytes] | None) -> None:
        """Take the whole set of a source; None when it has none. Atomic for requests."""
        if values is None:
            self._sets.pop(source, None)
        else:
            self._sets[source] = dict(values)
        self.version += 1
        for listener in self._listeners:
            listener()

    def on_change(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def get(self, name: str) -> bytes | None:
        """The value without surrounding white space; None when it is missing, or it cannot be a header's value."""
        value = self._in_force().get(name, b"").strip()
        return value if value and value.isascii() and value.decode("ascii").isprintable() else None

    def raw(self, name: str) -> bytes | None:
        """The value as it is, for a key that is never sent; None when it is missing or empty."""
        return self._in_force().get(name) or None

    def _in_force(self) -> Mapping[str, bytes]:
        for source in self._precedence:
            if source in self._sets:
                return self._sets[source]
        return {}

    def __repr__(self) -> str:
        return f"<Credentials of {sorted(self._sets)}>"
