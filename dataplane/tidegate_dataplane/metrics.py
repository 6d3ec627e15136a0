"""What is counted, and how Prometheus reads it.

The request path adds to plain dictionaries; prometheus-client sees them only when it scrapes. Its own children cost a
lock for each increment, ten of them a request. Label values are names of routes and fixed words, never anything a
caller wrote.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

# Seconds. Deciding takes tens of microseconds, a provider seconds to minutes.
DECISION_BUCKETS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05)
UPSTREAM_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
MAX_SERIES = 20_000
OVERFLOW = "(other)"


class Counter:
    """Adds up by label values; beyond MAX_SERIES combinations the rest goes to one series."""

    __slots__ = ("help", "labels", "name", "values")

    def __init__(self, name: str, help: str, labels: tuple[str, ...]) -> None:
        self.name = name
        self.help = help
        self.labels = labels
        self.values: dict[tuple[str, ...], int] = {}

    def add(self, labels: tuple[str, ...], amount: int = 1) -> None:
        values = self.values
        try:
            values[labels] += amount
        except KeyError:
            if len(values) >= MAX_SERIES:
                labels = (OVERFLOW,) * len(self.labels)
            values[labels] = values.get(labels, 0) + amount

    def family(self) -> Metric:
        family = CounterMetricFamily(self.name, self.help, labels=self.labels)
        for labels, value in list(self.values.items()):
            family.add_metric(labels, value)
        return family


class Histogram:
    """Observations by label values, in buckets with the upper bounds `bounds` (seconds)."""

    __slots__ = ("_series", "bounds", "help", "labels", "name")

    def __init__(self, name: str, help: str, labels: tuple[str, ...], bounds: tuple[float, ...]) -> None:
        self.name = name
        self.help = help
        self.labels = labels
        self.bounds = bounds
        self._series: dict[tuple[str, ...], list[float]] = {}

    def observe(self, labels: tuple[str, ...], seconds: float) -> None:
        series = self._series.get(labels)
        if series is None:
            if len(self._series) >= MAX_SERIES:
                labels = (OVERFLOW,) * len(self.labels)
            # One count for each bound, one for what is above all, and the sum.
            series = self._series.setdefault(labels, [0] * (len(self.bounds) + 1) + [0.0])
        series[bisect_left(self.bounds, seconds)] += 1
        series[-1] += seconds

    def family(self) -> Metric:
        family = HistogramMetricFamily(self.name, self.help, labels=self.labels)
        names = [*map(str, self.bounds), "+Inf"]
        for labels, series in list(self._series.items()):
            total = 0.0
            buckets = []
            for name, count in zip(names, series, strict=False):
                total += count
                buckets.append((name, total))
            family.add_metric(labels, buckets=buckets, sum_value=series[-1])
        return family


Gauges = Callable[[], Mapping[str, float]]


class Metrics(Collector):
    """All of a data plane's metrics. `requests` labels: route, operation, status, code ("" when served)."""

    def __init__(self) -> None:
        self.requests = Counter("tidegate_requests", "Requests answered.", ("route", "operation", "status", "code"))
        self.tokens = Counter(
            "tidegate_tokens",
            "Tokens settled, by direction and where the number is from.",
            ("route", "direction", "source"),
        )
        self.cost = Counter(
            "tidegate_cost_microdollars",
            "What calls cost, by whose price: Table, Override or Default.",
            ("route", "backend", "source"),
        )
        self.unpriced = Counter(
            "tidegate_unpriced_requests",
            "Calls that a provider did, and of which nobody knows the price.",
            ("route", "backend"),
        )
        self.attempts = Counter(
            "tidegate_upstream_attempts", "Attempts upstream, by what came of them.", ("backend", "result")
        )
        self.shadow = Counter(
            "tidegate_shadow_denials", "Requests that a Shadow rule would have refused.", ("object", "rule")
        )
        self.authentication_failures = Counter(
            "tidegate_authentication_failures", "Credentials that were refused, by the reason.", ("reason",)
        )
        self.reloads = Counter("tidegate_reloads", "Snapshots offered, by what came of them.", ("result",))
        self.decision_seconds = Histogram(
            "tidegate_decision_seconds", "Time to decide a request.", (), DECISION_BUCKETS
        )
        self.upstream_seconds = Histogram(
            "tidegate_upstream_seconds",
            "Time to the head of the answer, over all attempts.",
            ("route",),
            UPSTREAM_BUCKETS,
        )
        self.in_flight = 0
        self._sources: list[tuple[Gauges, bool]] = []
        self._families: list[Callable[[], Iterable[Metric]]] = []
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def read_gauges(self, source: Gauges) -> None:
        """Ask `source` for name -> value at each scrape."""
        self._sources.append((source, False))

    def read_counters(self, source: Gauges) -> None:
        """Ask `source` for name -> total at each scrape; the values only grow."""
        self._sources.append((source, True))

    def read_families(self, source: Callable[[], Iterable[Metric]]) -> None:
        """Ask `source` for whole metrics at each scrape, from another thread."""
        self._families.append(source)

    def collect(self) -> Iterator[Metric]:
        failures = self.authentication_failures
        for counter in (
            self.requests,
            self.tokens,
            self.cost,
            self.unpriced,
            self.attempts,
            self.shadow,
            failures,
            self.reloads,
        ):
            yield counter.family()
        for histogram in (self.decision_seconds, self.upstream_seconds):
            yield histogram.family()
        yield GaugeMetricFamily("tidegate_requests_in_flight", "Requests being served.", value=self.in_flight)
        for source, grows in self._sources:
            yield from _single(source(), grows=grows)
        for read in self._families:
            yield from read()

    def describe(self) -> Iterable[Metric]:
        return ()

    def render(self) -> bytes:
        """Prometheus' text format."""
        return generate_latest(self._registry)


def _single(values: Mapping[str, float], *, grows: bool) -> Iterator[Metric]:
    for name, value in values.items():
        help = name.removeprefix("tidegate_").replace("_", " ").capitalize() + "."
        yield CounterMetricFamily(name, help, value=value) if grows else GaugeMetricFamily(name, help, value=value)
