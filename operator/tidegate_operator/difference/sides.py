"""Both sides of a change, compiled for one cluster: NEW as it would follow OLD there."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tidegate_dataplane.runtime import Runtime
from tidegate_operator.compile import Compiled
from tidegate_operator.difference.unpublished import Bench
from tidegate_operator.world import Facts, ObjectKey, Resource, World


@dataclass(frozen=True, slots=True)
class Side:
    """One side: what is declared, what the compiler made of it, and what a data plane would decide by."""

    world: World
    compiled: Compiled
    runtime: Runtime


@dataclass(frozen=True, slots=True)
class Sides:
    """OLD and NEW in one cluster."""

    old: Side
    new: Side


@dataclass(slots=True)
class ClusterBench:
    """Compiles both sides for one cluster after another; what does not depend on the cluster is worked out once."""

    old: World
    new: World
    platform_namespace: str

    def __post_init__(self) -> None:
        self.new = following(self.old, self.new)

    def sides(self, facts: Facts) -> Sides:
        """Compile both for the cluster of `facts`. Raises CompileError and BuildError."""
        bench = Bench(facts)
        compiled, runtime = bench.compile(self.old, None, None)
        old = Side(self.old, compiled, runtime)
        compiled, runtime = bench.compile(self.new, compiled.served, runtime)
        return Sides(old, Side(self.new, compiled, runtime))


def following(old: World, new: World) -> World:
    """NEW as a cluster would hold it after OLD: what is the same is the very same Resource, what was edited is of the
    next generation, and what was not there before is younger than all that was."""
    former = old.resources
    youngest = max((one.created for one in former.values()), default=0)
    return replace(new, resources={key: _aged(former, one, youngest) for key, one in new.resources.items()})


def _aged(former: Mapping[ObjectKey, Resource], resource: Resource, youngest: int) -> Resource:
    before = former.get(resource.key)
    if before is None:
        return replace(resource, created=resource.created or youngest + 1)
    if before is resource or before.spec == resource.spec:
        return before
    return replace(resource, generation=before.generation + 1, created=before.created, uid=before.uid)
