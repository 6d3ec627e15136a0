"""Every difference between clusters that placement does not explain. Pure.

Objects are the same when kind, namespace and name are. Two clusters should run the same of an object that both place,
so a difference is: a copy that is missing where a placement selects the cluster, another spec, or another fate of the
same spec. Generations are never compared across clusters: each API server counts its own.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tidegate_dataplane.snapshot.entries import ClusterFacts
from tidegate_operator.fleet.cluster import ClusterView, FleetObject, GatewayView, State
from tidegate_operator.world import ObjectKey


class DifferenceKind(StrEnum):
    """What differs."""

    MISSING = "Missing"
    PLACEMENT = "Placement"
    SPEC = "Spec"
    STATE = "State"
    SERVED = "Served"
    COMMIT = "Commit"
    SCHEMA = "Schema"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. `clusters` says for each cluster concerned how it is there; `subject` is an object or ""."""

    kind: DifferenceKind
    subject: str
    clusters: Mapping[str, str]
    message: str


@dataclass(frozen=True, slots=True)
class Counts:
    """The objects of one cluster. `programmed` is of those that are placed, `refused` of all."""

    objects: int
    placed: int
    accepted: int
    programmed: int
    refused: int
    not_judged: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """`shared` is how many objects every comparable cluster places, `alike` of how many of them all is the same."""

    differences: tuple[Difference, ...]
    compared: tuple[str, ...]
    shared: int
    alike: int


def compare(views: Sequence[ClusterView]) -> Comparison:
    """Compare the clusters whose facts are known; those where nothing is published are left out."""
    known = [(view, facts) for view in views if (facts := view.facts) is not None]
    differences, shared, alike = [*_gateway_differences(view for view, _ in known)], 0, 0
    for key in sorted({key for view, _ in known for key in view.objects}):
        found = _object_difference(key, known)
        if found is not None:
            differences.append(found)
        if len(known) > 1 and all((copy := view.objects.get(key)) and copy.selects(facts) for view, facts in known):
            shared += 1
            alike += found is None
    return Comparison(tuple(differences), tuple(view.name for view, _ in known), shared, alike)


def _object_difference(key: ObjectKey, known: Sequence[tuple[ClusterView, ClusterFacts]]) -> Difference | None:
    copies = [(view.name, facts, copy) for view, facts in known if (copy := view.objects.get(key)) is not None]
    distinct = {(copy.digest, tuple(sorted(copy.selector.items()))): copy for _, _, copy in copies}.values()
    placed = [(name, facts, copy) for name, facts, copy in copies if copy.selects(facts)]
    missing = [
        view.name for view, facts in known if key not in view.objects and any(copy.selects(facts) for copy in distinct)
    ]
    if missing:
        return _missing(key, [name for name, _, _ in copies], missing)
    unplaced = [
        name
        for name, facts, copy in copies
        if not copy.selects(facts) and any(other.selects(facts) for _, _, other in placed)
    ]
    if unplaced:
        return _placement(key, [name for name, _, _ in placed], unplaced)
    if len({copy.digest for _, _, copy in placed}) > 1:
        return _spec(key, {name: copy for name, _, copy in placed})
    return _fate(key, placed)


def _missing(key: ObjectKey, present: Sequence[str], missing: Sequence[str]) -> Difference:
    message = f"is in {_and(present)} and missing in {_and(missing)}, which its placement selects"
    told = dict.fromkeys(present, "present") | dict.fromkeys(missing, "missing")
    return Difference(DifferenceKind.MISSING, str(key), told, message)


def _placement(key: ObjectKey, placed: Sequence[str], unplaced: Sequence[str]) -> Difference:
    told = dict.fromkeys(placed, "placed") | dict.fromkeys(unplaced, "not placed")
    message = (
        f"the copy in {_and(placed)} selects {_and(unplaced)} too, but the copy there has another spec.placement and"
        " takes no effect"
    )
    return Difference(DifferenceKind.PLACEMENT, str(key), told, message)


def _spec(key: ObjectKey, copies: Mapping[str, FleetObject]) -> Difference:
    fields = {name for copy in copies.values() for name in copy.parts}
    differing = sorted(name for name in fields if len({copy.parts.get(name) for copy in copies.values()}) > 1)
    groups: dict[str, list[str]] = {}
    for name, copy in copies.items():
        groups.setdefault(copy.digest, []).append(name)
    what = ", ".join(f"spec.{name}" for name in differing) or "spec"
    message = f"{what} differs: {' against '.join(_and(names) for names in groups.values())}"
    return Difference(DifferenceKind.SPEC, str(key), {name: copy.digest for name, copy in copies.items()}, message)


def _fate(key: ObjectKey, placed: Sequence[tuple[str, ClusterFacts, FleetObject]]) -> Difference | None:
    """The same spec, but not the same came of it."""
    states = {name: copy.state(facts) for name, facts, copy in placed}
    if len(set(states.values())) > 1:
        said = {
            name: f"{states[name]}: {words}" if (words := copy.said(states[name])) else str(states[name])
            for name, _, copy in placed
        }
        odd = [(name, copy) for name, _, copy in placed if states[name] is not State.IN_FORCE]
        fates = [f"{_in_words(states[name], copy)} in {name}{_why(copy, states[name])}" for name, copy in odd]
        message = "; ".join(fates)
        return Difference(DifferenceKind.STATE, str(key), said, f"the same spec is {message}")
    forms = {name: copy.form for name, _, copy in placed}
    if len(set(forms.values())) > 1:
        message = "another generation is served: " + ", ".join(f"{form} in {name}" for name, form in forms.items())
        return Difference(DifferenceKind.SERVED, str(key), forms, message)
    return None


_WORDS = {
    State.REFUSED: "refused",
    State.UNRESOLVED: "without a reference",
    State.NOT_APPROVED: "not approved",
    State.NOT_PROGRAMMED: "not on every data plane",
    State.NOT_JUDGED: "not judged yet",
}


def _in_words(state: State, copy: FleetObject) -> str:
    kept = ", with an older generation in force," if state is State.REFUSED and copy.form == "older" else ""
    return f"{_WORDS.get(state, str(state))}{kept}"


def _why(copy: FleetObject, state: State) -> str:
    said = copy.said(state)
    return f" ({said})" if said else ""


def _gateway_differences(views: Iterable[ClusterView]) -> Iterable[Difference]:
    listed = list(views)
    commits = {view.name: "+".join(found) for view in listed if (found := commits_of(view))}
    if len(set(commits.values())) > 1:
        told = ", ".join(f"{short(commit)} in {name}" for name, commit in commits.items())
        yield Difference(DifferenceKind.COMMIT, "", commits, f"clusters are at different commits: {told}")
    schemas = {view.name: str(view.gateways[0].schema_version) for view in listed}
    if len(set(schemas.values())) > 1:
        told = ", ".join(f"schema {schema} in {name}" for name, schema in schemas.items())
        yield Difference(DifferenceKind.SCHEMA, "", schemas, f"operators of different versions publish: {told}")


def commits_of(view: ClusterView) -> tuple[str, ...]:
    """The commits that a cluster's objects come from: what Argo CD says, else their annotations; empty if unknown."""
    if view.applications:
        return tuple(sorted({sync.revision for sync in view.applications if sync.revision}))
    return tuple(sorted({found.commit for found in view.objects.values() if found.commit}))


def count(view: ClusterView, facts: ClusterFacts | None = None) -> Counts:
    """Count the objects of a cluster; without facts all count as placed."""
    known = facts or view.facts
    states = Counter(
        found.state(known) if known is not None else found.state(ClusterFacts()) for found in view.objects.values()
    )
    refused = sum(_refused(found) for found in view.objects.values())
    judged = sum(found.observed == found.generation for found in view.objects.values())
    return Counts(
        objects=len(view.objects),
        placed=len(view.objects) - states[State.NOT_PLACED],
        accepted=judged - refused,
        programmed=states[State.IN_FORCE] + states[State.NOT_APPROVED],
        refused=refused,
        not_judged=len(view.objects) - judged,
    )


def refusals(view: ClusterView) -> list[FleetObject]:
    """The objects that the operator does not accept, whether other clusters do or not."""
    return [view.objects[key] for key in sorted(view.objects) if _refused(view.objects[key])]


def placed_digest(view: ClusterView) -> str:
    """Digest of what takes effect in a cluster: key, spec and form in force of each placed object; "" without facts.

    A placement itself is left out, and so is whatever it does not select: clusters of different facts have the same
    digest exactly when the same policy is in force in both.
    """
    facts = view.facts
    if facts is None:
        return ""
    digest = hashlib.sha256()
    for key in sorted(view.objects):
        found = view.objects[key]
        if found.selects(facts):
            digest.update(f"{key} {found.digest} {found.form}\n".encode())
    return digest.hexdigest()[:12]


def problems(view: ClusterView) -> list[str]:
    """What is wrong in one cluster by itself, in sentences."""
    if not view.gateways:
        nobody = "nothing is published here: no operator has ever led, or it publishes in another --namespace"
        return [nobody, *_sync_problems(view)]
    found = [
        f"{gateway.name}: {problem}" if len(view.gateways) > 1 else problem
        for gateway in view.gateways
        for problem in _gateway_problems(gateway)
    ]
    missing = [f"there is no CRD for {kind}" for kind in view.missing_kinds]
    return [*found, *missing, *_sync_problems(view)]


def _sync_problems(view: ClusterView) -> list[str]:
    return [
        f"Argo CD has not applied {short(sync.target)}: {sync.application} is {sync.sync}, "
        f"{f'at {short(sync.revision)}' if sync.revision else 'and was never synced'}"
        for sync in view.applications
        if sync.target and sync.target != sync.revision
    ]


def _gateway_problems(gateway: GatewayView) -> Iterable[str]:
    leader, planes = gateway.leader, gateway.planes
    if leader is None or not leader.identity:
        yield "no operator leads: what is published stays in force, edits have no effect"
    elif not leader.alive:
        yield f"the leader {leader.identity} has not renewed its Lease for {leader.age:.0f} s: edits have no effect"
    if planes is None:
        return
    if not planes.ready:
        yield "no data plane reports that it is ready"
    if planes.behind:
        yield f"{planes.behind} of {planes.ready} data planes still run an older revision than {planes.published}"
    if planes.silent:
        yield f"data planes that do not answer the operator: {planes.silent}"
    yield from (f"a data plane refuses a revision: {refusal}" for refusal in planes.refusals)


def _refused(found: FleetObject) -> bool:
    condition = next((each for each in found.conditions if each.type == "Accepted"), None)
    return condition is not None and condition.status == "False" and found.observed == found.generation


def short(commit: str) -> str:
    """A commit as people read it."""
    return "+".join(part[:8] for part in commit.split("+"))


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
