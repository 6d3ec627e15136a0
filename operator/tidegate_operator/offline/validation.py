"""The whole verdict on a set of manifests: files, schemas, then everything the compiler sees across objects. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tidegate_dataplane.snapshot.entries import ClusterFacts
from tidegate_operator.compile import compile_world
from tidegate_operator.manifests import Loaded, Manifest, to_world
from tidegate_operator.offline.judge import schema_problems
from tidegate_operator.problems import Problem, Severity
from tidegate_operator.verdicts import Finding, Reason, Verdict
from tidegate_operator.world import Facts, ObjectKey, World

MAX_CLUSTERS = 32
"""How many clusters the placements may speak of before the rest is left unjudged (and a warning says so)."""

_NAMES = ("metadata.name", "metadata.namespace")
_FACT_NAMES = ("name", "cloud", "region", "jurisdiction")


@dataclass(frozen=True, slots=True)
class Report:
    """`problems` in the order of files and lines. `objects` counts Tidegate's own kinds alone."""

    problems: tuple[Problem, ...]
    objects: int
    files: int

    @property
    def errors(self) -> int:
        return sum(problem.severity is Severity.ERROR for problem in self.problems)

    @property
    def warnings(self) -> int:
        return len(self.problems) - self.errors

    @property
    def valid(self) -> bool:
        return self.errors == 0


def validate_manifests(
    loaded: Loaded,
    *,
    platform_namespace: str,
    cluster: ClusterFacts | None = None,
    allow_missing_refs: bool = False,
) -> Report:
    """Judge everything that was loaded.

    `cluster` is the one to judge for; without it, every cluster that a placement speaks of is judged. With
    `allow_missing_refs` a reference that leads nowhere is a warning. Raises CompileError for a World too large.
    """
    schema = {id(manifest): schema_problems(manifest) for manifest in loaded.documents}
    manifests = _by_key(loaded.documents)
    wrong = {key for key, manifest in manifests.items() if schema[id(manifest)]}
    clusters, unjudged = clusters_of(loaded, cluster)
    world = to_world(loaded)
    verdicts = [_verdicts(world, Facts(platform_namespace=platform_namespace, cluster=facts)) for facts in clusters]
    problems = [
        *loaded.problems,
        *(problem for found in schema.values() for problem in found),
        *_compiler_problems(manifests, wrong, verdicts, allow_missing_refs=allow_missing_refs),
        *_notes(manifests, wrong, verdicts, chosen=cluster is not None),
        *_too_many_clusters(loaded, unjudged),
    ]
    objects = sum(not (manifest.is_secret or manifest.is_list) for manifest in loaded.documents)
    return Report(tuple(_sorted(problems, loaded.files)), objects, len(loaded.files))


def cluster_facts(pairs: Mapping[str, str]) -> ClusterFacts:
    """Facts from names and values; names other than name, cloud, region and jurisdiction are labels."""
    own = {name: pairs.get(name, "") for name in _FACT_NAMES}
    return ClusterFacts(**own, labels={name: value for name, value in pairs.items() if name not in _FACT_NAMES})


def _verdicts(world: World, facts: Facts) -> Mapping[ObjectKey, Verdict]:
    return compile_world(world, facts).verdicts


def clusters_of(loaded: Loaded, chosen: ClusterFacts | None) -> tuple[list[ClusterFacts], int]:
    """The clusters to judge for, and how many were left out. Without one that is chosen: those that placements name."""
    if chosen is not None:
        return [chosen], 0
    selectors = {
        tuple(sorted(labels.items())): labels
        for manifest in loaded.documents
        if (labels := _match_labels(manifest)) is not None
    }
    # Where nothing says where, one cluster stands for all.
    named = [cluster_facts(labels) for _, labels in sorted(selectors.items())] or [ClusterFacts()]
    return named[:MAX_CLUSTERS], max(0, len(named) - MAX_CLUSTERS)


def _match_labels(manifest: Manifest) -> Mapping[str, str] | None:
    """What the object's placement asks for; None where it asks for nothing that can be read."""
    node: object = manifest.raw
    for step in ("spec", "placement", "clusterSelector", "matchLabels"):
        node = node.get(step) if isinstance(node, dict) else None
    if not isinstance(node, dict) or not node or not all(isinstance(value, str) for value in node.values()):
        return None
    return node


def _compiler_problems(
    manifests: Mapping[ObjectKey, Manifest],
    wrong: set[ObjectKey],
    verdicts: Sequence[Mapping[ObjectKey, Verdict]],
    *,
    allow_missing_refs: bool,
) -> Iterator[Problem]:
    for key, manifest in manifests.items():
        # A cluster refuses these at the door, so what the compiler would say repeats the schema.
        if key in wrong:
            continue
        judged = [verdict for by_key in verdicts if (verdict := by_key.get(key)) is not None and verdict.placed]
        judged = judged or [by_key[key] for by_key in verdicts if key in by_key]
        for finding, everywhere in _findings(verdict.errors for verdict in judged):
            yield _problem(manifest, finding, everywhere=everywhere, tolerated=False)
        for finding, everywhere in _findings(verdict.unresolved for verdict in judged):
            if finding.reason is Reason.KEY_NOT_ISSUED:
                continue  # the operator makes the key, once there is one
            yield _problem(manifest, finding, everywhere=everywhere, tolerated=allow_missing_refs)


def _notes(
    manifests: Mapping[ObjectKey, Manifest],
    wrong: set[ObjectKey],
    verdicts: Sequence[Mapping[ObjectKey, Verdict]],
    *,
    chosen: bool,
) -> Iterator[Problem]:
    """What is valid and perhaps not meant; of shares only where it is known which cluster is spoken of."""
    for key, manifest in manifests.items():
        if key in wrong:
            continue
        judged = [verdict for by_key in verdicts if (verdict := by_key.get(key)) is not None and verdict.placed]
        for finding, everywhere in _findings(verdict.notes for verdict in judged):
            if chosen or finding.reason is not Reason.NO_SHARE:
                yield _problem(manifest, finding, everywhere=everywhere, tolerated=True)


def _findings(groups: Iterable[tuple[Finding, ...]]) -> Iterator[tuple[Finding, bool]]:
    """Every finding once, and whether all groups have it."""
    lists = [frozenset(group) for group in groups]
    for finding in dict.fromkeys(finding for group in lists for finding in sorted(group, key=lambda f: f.field)):
        yield finding, all(finding in group for group in lists)


def _problem(manifest: Manifest, finding: Finding, *, everywhere: bool, tolerated: bool) -> Problem:
    severity = Severity.ERROR if everywhere and not tolerated else Severity.WARNING
    message = finding.message if everywhere else f"in some of its clusters: {finding.message}"
    return manifest.problem(finding.field, message, reason=str(finding.reason), severity=severity)


def _too_many_clusters(loaded: Loaded, unjudged: int) -> Iterator[Problem]:
    if unjudged and loaded.documents:
        message = f"placements speak of {unjudged + MAX_CLUSTERS} clusters, of which {MAX_CLUSTERS} were judged"
        hint = "choose one with --cluster-fact"
        first = loaded.documents[0]
        yield Problem(first.file, 1, message, expected=hint, reason="TooManyClusters", severity=Severity.WARNING)


def _by_key(documents: Iterable[Manifest]) -> dict[ObjectKey, Manifest]:
    """The object that counts for each identity: the first."""
    first: dict[ObjectKey, Manifest] = {}
    for manifest in documents:
        if manifest.key is not None:
            first.setdefault(manifest.key, manifest)
    return first


def _sorted(problems: Iterable[Problem], files: Sequence[str]) -> list[Problem]:
    """By file as read, line, column. Of what several judges say of one place in names, the first stands."""
    order = {file: index for index, file in enumerate(files)}
    told: dict[object, Problem] = {}
    for problem in problems:
        place = (problem.file, problem.line, problem.column, problem.object, problem.field)
        told.setdefault(place if problem.field in _NAMES and problem.reason == "Invalid" else problem, problem)
    return sorted(
        told.values(),
        key=lambda item: (order.get(item.file, -1), item.line, item.column or 0, item.field, item.message),
    )
