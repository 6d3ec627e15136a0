"""The gates of all backends. A gate outlives reloads: what runs and what was learnt of a backend goes on."""

from collections.abc import Mapping

from tidegate_dataplane.pressure.gate import Gate, longest_wait
from tidegate_dataplane.runtime.objects import Backend
from tidegate_dataplane.settings import Pressure
from tidegate_dataplane.snapshot.entries import Priority


class Gates:
    """Belongs to one event loop."""

    def __init__(self, options: Pressure) -> None:
        self._options = options
        self._gates: dict[str, Gate] = {}
        self._followed: Mapping[str, Backend] = {}

    def of(self, backend: Backend) -> Gate:
        """The gate of a backend. Only `follow` changes its limit, so that calls that began before a reload do not
        bring the old one back."""
        gate = self._gates.get(backend.key)
        if gate is None:
            gate = self._gates[backend.key] = Gate(backend.entry.concurrency, self._options)
        return gate

    def longest_wait(self, priority: Priority) -> float:
        """Seconds that a call of that priority may wait for a place."""
        return longest_wait(self._options.wait_seconds, priority)

    def follow(self, backends: Mapping[str, Backend]) -> None:
        """Take on the limits of a snapshot; forget backends that are gone once nothing runs there."""
        if backends is self._followed:
            return
        self._followed = backends
        for key, gate in list(self._gates.items()):
            backend = backends.get(key)
            if backend is not None:
                gate.configure(backend.entry.concurrency)
            elif not gate.running and not gate.waiting:
                del self._gates[key]
        for backend in backends.values():
            if backend.entry.concurrency is not None:
                self.of(backend)

    def all(self) -> list[tuple[str, Gate]]:
        """Every gate with the key of its backend."""
        return sorted(self._gates.items())
