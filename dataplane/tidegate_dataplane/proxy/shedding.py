"""What a caller is told when it was turned away under pressure, and the count of it."""

from tidegate_dataplane.errors import API_ERROR, Failure
from tidegate_dataplane.metrics import Counter
from tidegate_dataplane.pressure.gate import Shed

OVERLOADED = "overloaded"


class Shedding:
    """`counter` counts by reason and priority."""

    def __init__(self) -> None:
        self.counter = Counter("tidegate_shed", "Calls turned away under pressure.", ("reason", "priority"))

    def by_backend(self, shed: Shed) -> Failure:
        """All targets of the route have as many calls as they may."""
        return self._failure(shed, "backend", "The model has as many calls under way as it may.")

    def by_process(self, shed: Shed) -> Failure:
        """The gateway itself has too much to do."""
        return self._failure(shed, "process", "The gateway has more calls than it can serve at once.")

    def _failure(self, shed: Shed, where: str, message: str) -> Failure:
        self.counter.add((f"{where}_{shed.reason.value}", shed.priority.value))
        return Failure(
            503,
            OVERLOADED,
            f"{message} Retry after {shed.retry_after} s, with fewer calls at once.",
            type=API_ERROR,
            headers=((b"retry-after", b"%d" % shed.retry_after),),
        )
