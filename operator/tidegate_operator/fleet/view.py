"""Everything that a fleet view shows, and what it comes to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tidegate_dataplane.snapshot.entries import ClusterFacts
from tidegate_operator.fleet.cluster import ClusterView, FleetObject, Read, Unreachable
from tidegate_operator.fleet.compare import Comparison, compare, problems, refusals

UNKNOWN = "unknown"
ALIKE, DIFFERENT, INCOMPLETE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything that is shown. `lags` is how many commits each cluster is behind `head`, where that was asked for."""

    reads: Sequence[Read]
    comparison: Comparison
    head: str = ""
    lags: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def views(self) -> list[ClusterView]:
        return [read for read in self.reads if isinstance(read, ClusterView)]

    @property
    def unreachable(self) -> list[Unreachable]:
        return [read for read in self.reads if isinstance(read, Unreachable)]

    @property
    def exit_code(self) -> int:
        """INCOMPLETE when a cluster could not be read; else DIFFERENT when anything is wrong; else ALIKE."""
        if self.unreachable:
            return INCOMPLETE
        wrong = self.comparison.differences or any(
            problems(view) or refusals(view) or self.lags.get(view.name) for view in self.views
        )
        return DIFFERENT if wrong else ALIKE


def fleet_of(reads: Sequence[Read], *, head: str = "", lags: Mapping[str, int | None] | None = None) -> Fleet:
    """Compare what was read."""
    views = [read for read in reads if isinstance(read, ClusterView)]
    return Fleet(reads, compare(views), head, lags or {})


def fullest(view: ClusterView) -> list[FleetObject]:
    """The quotas whose use is known, the fullest first."""
    return sorted(
        (found for found in view.objects.values() if found.quota is not None),
        key=lambda found: (-(found.quota.percent if found.quota else 0), found.key),
    )


def why_refused(found: FleetObject) -> str:
    """Reason and message of what the operator has against it."""
    condition = next((each for each in found.conditions if each.type == "Accepted"), None)
    return f"({condition.reason}: {condition.message})" if condition is not None else ""


def facts_of(facts: ClusterFacts | None) -> dict[str, str]:
    """The facts by name; empty where they are not known."""
    if facts is None:
        return {}
    named = {"name": facts.name, "cloud": facts.cloud, "region": facts.region, "jurisdiction": facts.jurisdiction}
    return {name: value for name, value in {**named, **facts.labels}.items() if value}
