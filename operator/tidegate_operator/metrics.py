"""What the operator counts, for Prometheus."""

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tidegate_operator.verdicts import Verdict

_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """A registry of its own, so that tests and embedders do not share one."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.compile_seconds = Histogram(
            "tidegate_operator_compile_seconds", "Time of one compilation.", buckets=_BUCKETS, registry=registry
        )
        self.publish_seconds = Histogram(
            "tidegate_operator_publish_seconds",
            "Time of writing what a compilation changed.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self.publish_failures = Counter(
            "tidegate_operator_publish_failures", "Publications that failed and were tried again.", registry=registry
        )
        self.repairs = Counter(
            "tidegate_operator_audit_repairs", "Changes that a watch had missed and an audit found.", registry=registry
        )
        self.revision = Gauge("tidegate_operator_revision", "The published revision.", registry=registry)
        self.leading = Gauge("tidegate_operator_leading", "1 while this operator leads.", registry=registry)
        self.heartbeat_age = Gauge(
            "tidegate_operator_heartbeat_age_seconds",
            "Time since the operator's Lease last came back through its watch.",
            registry=registry,
        )
        self.keys_issued = Counter(
            "tidegate_operator_keys_issued", "Generated API keys by what was done.", ["step"], registry=registry
        )
        self.key_failures = Counter(
            "tidegate_operator_key_failures", "API keys that could not be generated, attempts.", registry=registry
        )
        self.objects = Gauge(
            "tidegate_operator_objects", "Objects by kind and state.", ["kind", "state"], registry=registry
        )

    def published(self, revision: int, verdicts: Iterable[Verdict]) -> None:
        """Take the outcome of a publication."""
        self.revision.set(revision)
        tally: Tally[tuple[str, str]] = Tally()
        for verdict in verdicts:
            tally[verdict.key.kind.value, _state(verdict)] += 1
        self.objects.clear()
        for (kind, state), count in tally.items():
            self.objects.labels(kind, state).set(count)

    def render(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)


def _state(verdict: Verdict) -> str:
    if not verdict.accepted:
        return "not-accepted"
    if not verdict.resolved:
        return "unresolved"
    return "accepted" if verdict.placed else "not-placed"
