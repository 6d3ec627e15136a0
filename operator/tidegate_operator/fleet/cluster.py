"""One cluster as a fleet view sees it: facts, what is declared, what is in force, who writes it. Plain frozen data.

Of an object only what is compared is kept: digests of its spec, its selector, its conditions. Clusters may declare
tens of thousands.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tidegate_dataplane.snapshot.entries import ClusterFacts
from tidegate_operator.compile.place import is_placed
from tidegate_operator.conditions import Condition, ConditionStatus, ConditionType
from tidegate_operator.plane_summary import PlaneSummary
from tidegate_operator.world import ObjectKey

STALE_LEADER_SECONDS = 30.0
"""Twice the length of a lease: an operator that lives has renewed it, or another has taken it, long before."""


class State(StrEnum):
    """What has become of an object in one cluster."""

    IN_FORCE = "InForce"
    REFUSED = "Refused"
    UNRESOLVED = "Unresolved"
    NOT_APPROVED = "NotApproved"
    NOT_PROGRAMMED = "NotProgrammed"
    NOT_JUDGED = "NotJudged"
    NOT_PLACED = "NotPlaced"


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """The fullest counter of a Quota, in the words of its status."""

    percent: int
    used: str
    limit: str
    fullest: str
    resets: str = ""


@dataclass(frozen=True, slots=True)
class FleetObject:
    """One object in one cluster.

    `digest` is of the spec without its placement; `parts` tells which top-level fields of two specs differ, by a
    checksum of each. `selector` is the placement, `commit` the annotation tidegate.dev/commit.
    """

    key: ObjectKey
    digest: str
    generation: int
    parts: Mapping[str, int] = field(default_factory=dict)
    selector: Mapping[str, str] = field(default_factory=dict)
    observed: int | None = None
    served: int | None = None
    conditions: tuple[Condition, ...] = ()
    commit: str = ""
    quota: QuotaUse | None = None

    def condition(self, kind: ConditionType) -> Condition | None:
        return next((found for found in self.conditions if found.type == kind), None)

    def selects(self, facts: ClusterFacts) -> bool:
        """Whether its placement selects a cluster of these facts."""
        return is_placed(self.selector, facts)

    @property
    def form(self) -> str:
        """Which form of it is in force: its newest one, an older one, or none."""
        if self.served is None:
            return "none"
        return "newest" if self.served == self.generation else "older"

    def state(self, facts: ClusterFacts) -> State:
        """The first of the steps from declared to in force that it has not taken."""
        if not self.selects(facts):
            return State.NOT_PLACED
        if self.observed != self.generation:
            return State.NOT_JUDGED
        for kind, state in _STEPS:
            found = self.condition(kind)
            if found is None and kind is not ConditionType.APPROVED:
                return State.NOT_JUDGED
            if found is not None and found.status != ConditionStatus.TRUE:
                return state
        return State.IN_FORCE

    def said(self, state: State) -> str:
        """What the operator says of that state: reason and message of its condition."""
        found = next((self.condition(kind) for kind, step in _STEPS if step is state), None)
        return f"{found.reason}: {found.message}" if found is not None else ""


_STEPS = (
    (ConditionType.ACCEPTED, State.REFUSED),
    (ConditionType.RESOLVED_REFS, State.UNRESOLVED),
    (ConditionType.APPROVED, State.NOT_APPROVED),
    (ConditionType.PROGRAMMED, State.NOT_PROGRAMMED),
)


@dataclass(frozen=True, slots=True)
class Leader:
    """Who writes a cluster's snapshot. `age` is seconds since it renewed its Lease, by the cluster's clock."""

    identity: str
    age: float

    @property
    def alive(self) -> bool:
        return bool(self.identity) and self.age < STALE_LEADER_SECONDS


@dataclass(frozen=True, slots=True)
class GatewayView:
    """One gateway of a cluster: what is published, and who runs it. `planes` None: no operator has said."""

    name: str
    revision: int
    schema_version: int
    facts: ClusterFacts
    leader: Leader | None = None
    planes: PlaneSummary | None = None


@dataclass(frozen=True, slots=True)
class GitSync:
    """One Argo CD Application that delivers objects of Tidegate's kinds to a cluster.

    `revision` is the commit that was applied last ("" before the first), `target` the one that Git has; those of
    several sources are joined by "+".
    """

    application: str
    revision: str
    sync: str
    health: str
    destination_server: str = ""
    destination_name: str = ""
    objects: int = 0
    target: str = ""


@dataclass(frozen=True, slots=True)
class ClusterView:
    """What was read of one cluster. `name` is the context, `server` the API server's address.

    `missing_kinds` have no CRD there. `notes` say what could not be read though the rest could.
    """

    name: str
    server: str
    gateways: tuple[GatewayView, ...] = ()
    objects: Mapping[ObjectKey, FleetObject] = field(default_factory=dict)
    applications: tuple[GitSync, ...] = ()
    missing_kinds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def facts(self) -> ClusterFacts | None:
        """None when nothing was ever published there: then nobody knows what placement means there."""
        return self.gateways[0].facts if self.gateways else None


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A cluster of which nothing could be read, and why."""

    name: str
    reason: str
    server: str = ""


Read = ClusterView | Unreachable
