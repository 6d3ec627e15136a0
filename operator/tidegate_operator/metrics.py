"""What the operator counts, for Prometheus."""

import time
from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tidegate_dataplane.snapshot.entries import ConsumerEntry
from tidegate_operator.release.standing import Standing
from tidegate_operator.verdicts import Verdict

_SOON = (("within-1d", 86_400), ("within-7d", 7 * 86_400))
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
        self.keys_ending = Gauge(
            "tidegate_operator_keys_ending",
            "API keys in force by when they end: expired, within-1d, within-7d (not within a day), later, never.",
            ["ends"],
            registry=registry,
        )
        self.pinned = Gauge(
            "tidegate_operator_pinned_revision", "The revision that was rolled back to; 0 for none.", registry=registry
        )
        self.frozen = Gauge("tidegate_operator_frozen", "1 while nothing new is published.", registry=registry)
        self.held = Gauge(
            "tidegate_operator_held_objects",
            "Objects whose newest form is held back, by the reason of their condition Programmed.",
            ["reason"],
            registry=registry,
        )
        self.hold_faults = Gauge(
            "tidegate_operator_hold_faults",
            "What stands in the hold ConfigMap and is not understood, or cannot be done.",
            registry=registry,
        )
        self.kept_revisions = Gauge(
            "tidegate_operator_kept_revisions", "Revisions that can be rolled back to.", registry=registry
        )
        self.kept_bytes = Gauge("tidegate_operator_kept_bytes", "What they take in the API.", registry=registry)
        self.tried = Gauge(
            "tidegate_operator_tried_revision", "The revision that some data planes try; 0 for none.", registry=registry
        )
        self.stopped = Counter(
            "tidegate_operator_rollouts_stopped",
            "Staged roll-outs that were stopped, by the gate that failed.",
            ["gate"],
            registry=registry,
        )
        self._verdicts: Collection[Verdict] = ()
        self._standing: Callable[[], Standing] = Standing
        self._consumers: Callable[[], Iterable[ConsumerEntry]] = tuple
        self.objects = Gauge(
            "tidegate_operator_objects", "Objects by kind and state.", ["kind", "state"], registry=registry
        )

    def read_keys(self, consumers: Callable[[], Iterable[ConsumerEntry]]) -> None:
        """Take where to find the consumers in force, whenever somebody scrapes."""
        self._consumers = consumers

    def read_releases(self, standing: Callable[[], Standing]) -> None:
        """Take where to find what is held back, whenever somebody scrapes."""
        self._standing = standing

    def published(self, revision: int, verdicts: Collection[Verdict]) -> None:
        """Take the outcome of a publication; its objects are counted when somebody scrapes."""
        self.revision.set(revision)
        self._verdicts = verdicts

    def _count_objects(self) -> None:
        tally: Tally[tuple[str, str]] = Tally()
        for verdict in self._verdicts:
            tally[verdict.key.kind.value, _state(verdict)] += 1
        self.objects.clear()
        for (kind, state), count in tally.items():
            self.objects.labels(kind, state).set(count)

    def _count_held(self) -> None:
        standing = self._standing()
        self.pinned.set(standing.pinned)
        self.frozen.set(standing.frozen)
        self.hold_faults.set(standing.faults)
        self.kept_revisions.set(standing.kept)
        self.kept_bytes.set(standing.kept_bytes)
        self.tried.set(standing.tried)
        self.held.clear()
        for reason, count in standing.held.items():
            self.held.labels(reason).set(count)

    def render(self) -> bytes:
        """The exposition format."""
        self._count_objects()
        self._count_held()
        for state, count in keys_by_end(self._consumers(), time.time()).items():
            self.keys_ending.labels(state).set(count)
        return generate_latest(self.registry)


def keys_by_end(consumers: Iterable[ConsumerEntry], now: float) -> dict[str, int]:
    """How many keys end when; revoked ones and those that a rotation replaced need nobody's care."""
    counts = dict.fromkeys(("expired", *(name for name, _ in _SOON), "later", "never"), 0)
    for consumer in consumers:
        for key in consumer.keys:
            if key.sha256 and not key.revoked:
                counts["never" if key.not_after is None else _ends(key.not_after - now)] += 1
    return counts


def _ends(seconds: float) -> str:
    if seconds <= 0:
        return "expired"
    return next((name for name, most in _SOON if seconds <= most), "later")


def _state(verdict: Verdict) -> str:
    if not verdict.accepted:
        return "not-accepted"
    if not verdict.resolved:
        return "unresolved"
    return "accepted" if verdict.placed else "not-placed"
