"""How pressed a data plane is: for `/-/status` and Prometheus."""

from collections.abc import Iterator

from msgspec import Struct
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from tidegate_dataplane.metrics import Counter
from tidegate_dataplane.pressure.gates import Gates
from tidegate_dataplane.pressure.turns import Turns
from tidegate_dataplane.pressure.waiting import QuotaLines


class BackendPressure(Struct, frozen=True, rename="camel"):
    """A backend with a limit: calls under way, how many there may be, and how many wait."""

    backend: str
    mode: str
    running: int
    limit: int
    waiting: int


class PressureStatus(Struct, frozen=True, rename="camel"):
    """`waiting_turn` calls wait for the event loop, `waiting_quota` for a quota; `held_back` had to wait for the loop,
    `shed` were turned away, since the start."""

    waiting_turn: int
    waiting_quota: int
    held_back: int
    shed: int
    backends: tuple[BackendPressure, ...]


class PressureReport:
    """Reads the parts; `shed` counts what was turned away, by reason and priority."""

    def __init__(self, gates: Gates, turns: Turns, quotas: QuotaLines, shed: Counter) -> None:
        self._gates = gates
        self._turns = turns
        self._quotas = quotas
        self._shed = shed

    def status(self) -> PressureStatus:
        """For `/-/status`."""
        return PressureStatus(
            waiting_turn=self._turns.waiting,
            waiting_quota=self._quotas.waiting,
            held_back=self._turns.held_back,
            shed=sum(self._shed.values.values()),
            backends=tuple(
                BackendPressure(key, gate.mode, gate.running, gate.limit, gate.waiting)
                for key, gate in self._gates.all()
                if gate.limited
            ),
        )

    def families(self) -> Iterator[Metric]:
        """For Prometheus; read from another thread."""
        name = "tidegate_backend_concurrency"
        running = GaugeMetricFamily(name, "Calls under way at a backend.", labels=("backend",))
        limit = GaugeMetricFamily(f"{name}_limit", "How many there may be, where limited.", labels=("backend",))
        waiting = GaugeMetricFamily(f"{name}_waiting", "Calls that wait for a backend.", labels=("backend",))
        for key, gate in self._gates.all():
            running.add_metric((key,), gate.running)
            if gate.limited:
                limit.add_metric((key,), gate.limit)
                waiting.add_metric((key,), gate.waiting)
        yield from (running, limit, waiting, self._shed.family())
        yield GaugeMetricFamily(
            "tidegate_turn_waiting", "Calls that wait for a turn of the event loop.", value=self._turns.waiting
        )
        yield GaugeMetricFamily("tidegate_quota_waiting", "Calls that wait for a quota.", value=self._quotas.waiting)
        yield CounterMetricFamily(
            "tidegate_turn_held_back", "Calls that had to wait for a turn.", value=self._turns.held_back
        )
