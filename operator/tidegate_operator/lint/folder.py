"""Lints over what was read from files, for one cluster or for all that placements speak of. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tidegate_dataplane.snapshot.entries import ClusterFacts
from tidegate_operator.inquiry.compiled_folder import Workbench
from tidegate_operator.lint.backends import backends
from tidegate_operator.lint.codes import LINTS, Code, Level
from tidegate_operator.lint.consumers import consumers
from tidegate_operator.lint.expiry import expiry
from tidegate_operator.lint.finding import Finding, Lookup, View
from tidegate_operator.lint.openness import openness
from tidegate_operator.lint.policies import policies
from tidegate_operator.lint.quotas import quotas
from tidegate_operator.lint.routes import routes
from tidegate_operator.lint.rules import rules
from tidegate_operator.lint.secrecy import secrecy
from tidegate_operator.lint.verdicts import verdicts
from tidegate_operator.manifests import Loaded, Manifest, to_world
from tidegate_operator.offline.validation import clusters_of
from tidegate_operator.world import Facts, ObjectKey

IGNORE_ANNOTATION = "tidegate.dev/lint-ignore"
"""Codes that are not reported of the object that carries it, separated by commas."""

ALL: tuple[Lookup, ...] = (
    verdicts,
    routes,
    rules,
    policies,
    consumers,
    expiry,
    openness,
    quotas,
    backends,
    secrecy,
)


@dataclass(frozen=True, slots=True)
class Located:
    """A finding with its place. `object` is `Kind namespace/name`; `line` counts from 1."""

    code: Code
    level: Level
    file: str
    line: int
    object: str
    field: str
    message: str

    @property
    def remedy(self) -> str:
        return LINTS[self.code].remedy


@dataclass(frozen=True, slots=True)
class Linted:
    """`findings` in the order of files and lines; `suppressed` counts those that annotations or options leave out."""

    findings: tuple[Located, ...]
    suppressed: int
    objects: int
    files: int

    def count(self, level: Level) -> int:
        return sum(finding.level is level for finding in self.findings)


def lint_loaded(
    loaded: Loaded,
    *,
    platform_namespace: str,
    now: float,
    within: float,
    clusters: Sequence[ClusterFacts] = (),
    ignored: Iterable[Code] = (),
) -> Linted:
    """Everything that lints have to say. `now` and `within` are seconds.

    What is reported of an object holds in each of the clusters in which it takes effect; without `clusters` those that
    placements speak of. Raises CompileError and BuildError.
    """
    views = [
        view_of(loaded, Facts(platform_namespace=platform_namespace, cluster=facts), now=now, within=within)
        for facts in (clusters or clusters_of(loaded, None)[0])
    ]
    manifests = _by_key(loaded)
    told = (finding for finding in everywhere(views) if finding.object in manifests)
    located = [_place(manifests[one.object], one.code, one.field, one.message) for one in told]
    located += _of_files(loaded)
    left_out = set(ignored)
    annotated = {str(manifest): ignored_codes(manifest) for manifest in loaded.documents}
    kept = [one for one in located if one.code not in left_out and one.code.value not in annotated.get(one.object, ())]
    order = {file: index for index, file in enumerate(loaded.files)}
    kept.sort(key=lambda one: (order.get(one.file, -1), one.line, one.code, one.field))
    objects = sum(manifest.key is not None for manifest in loaded.documents)
    return Linted(tuple(kept), len(located) - len(kept), objects, len(loaded.files))


def view_of(loaded: Loaded, facts: Facts, *, now: float, within: float) -> View:
    """What one cluster would serve."""
    world = to_world(loaded)
    compiled, runtime = Workbench(facts).runtime_of(world)
    return View(world, facts, compiled, runtime, now, within)


def everywhere(views: Sequence[View]) -> Iterator[Finding]:
    """What holds in each view in which its object takes effect; of one that takes effect nowhere nothing is said."""
    found = [dict.fromkeys(finding for lookup in ALL for finding in lookup(view)) for view in views]
    for finding in dict.fromkeys(finding for one in found for finding in one):
        placed = [index for index, view in enumerate(views) if _placed(view, finding.object)]
        if placed and all(finding in found[index] for index in placed):
            yield finding


def _placed(view: View, key: ObjectKey) -> bool:
    verdict = view.compiled.verdicts.get(key)
    return verdict is not None and verdict.placed


def ignored_codes(manifest: Manifest) -> tuple[str, ...]:
    """The codes of its annotation, as written."""
    annotations = manifest.metadata.get("annotations")
    text = annotations.get(IGNORE_ANNOTATION) if isinstance(annotations, dict) else None
    return tuple(code.strip() for code in text.split(",") if code.strip()) if isinstance(text, str) else ()


def _by_key(loaded: Loaded) -> Mapping[ObjectKey, Manifest]:
    found: dict[ObjectKey, Manifest] = {}
    for manifest in loaded.documents:
        if manifest.key is not None:
            found.setdefault(manifest.key, manifest)
    return found


def _of_files(loaded: Loaded) -> Iterator[Located]:
    """What is wrong with the files themselves."""
    known = set(Code)
    for manifest in loaded.documents:
        for code in ignored_codes(manifest):
            if code not in known:
                path = f"metadata.annotations[{IGNORE_ANNOTATION}]"
                yield _place(manifest, Code.UNKNOWN_CODE, path, f"there is no lint of the name {code[:80]!r}")
        if manifest.is_secret and any(manifest.raw.get(part) for part in ("data", "stringData")):
            part = "stringData" if manifest.raw.get("stringData") else "data"
            yield _place(manifest, Code.SECRET_IN_FILES, part, "it stands here with its values")


def _place(manifest: Manifest, code: Code, field: str, message: str) -> Located:
    line = manifest.line_of(field or ("kind",))
    return Located(code, LINTS[code].level, manifest.file, line, str(manifest), field, message)
