"""Everything that can be said of a folder before it is merged: validity, tests of policies, lints.

One verdict: what `tidegate validate`, `tidegate test` and `tidegate lint` say by themselves, each thing said once.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tidegate_dataplane.runtime import BuildError
from tidegate_dataplane.snapshot.entries import ClusterFacts
from tidegate_operator.compile import CompileError
from tidegate_operator.lint.codes import Code, Level
from tidegate_operator.lint.folder import Linted, Located, lint_loaded
from tidegate_operator.manifests import Loaded, load_paths
from tidegate_operator.offline.validation import Report, validate_manifests
from tidegate_operator.policytests.reading import CaseFile, read_case_files
from tidegate_operator.policytests.running import Result
from tidegate_operator.policytests.suite import Subject, run, subjects
from tidegate_operator.problems import Problem, Severity
from tidegate_operator.world import Facts

# What validation says already, with the same place and in more detail.
_SAID_BEFORE = frozenset({Code.NOT_SERVED, Code.CONFLICTED_ROUTE, Code.REFERENCE_NOT_PERMITTED})


@dataclass(frozen=True, slots=True)
class Asked:
    """How to judge. No `clusters`: all that placements speak of. Times are seconds."""

    platform_namespace: str
    now: float
    within: float
    clusters: Sequence[ClusterFacts] = ()
    ignored: frozenset[Code] = frozenset()
    allow_missing_refs: bool = False


@dataclass(frozen=True, slots=True)
class Tested:
    """Results of the tests of policies; `in_vain` says why they could not be run, if so."""

    results: tuple[Result, ...]
    subjects: tuple[Subject, ...] = ()
    in_vain: str = ""

    @property
    def failed(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if not result.passed)


@dataclass(frozen=True, slots=True)
class Checked:
    """The whole verdict. `lint` is what lints add to `report`; None where the objects could not even be compiled."""

    report: Report
    tests: Tested
    lint: Linted | None


def check_paths(paths: list[Path], asked: Asked) -> Checked:
    """Judge files and folders, and run the *.test.yaml among them. Raises FileNotFoundError."""
    loaded = load_paths(paths)
    files, unreadable = read_case_files(paths)
    try:
        report = _validated(loaded, asked, unreadable)
    except CompileError as error:
        problem = Problem(str(paths[0]), 1, str(error), reason="TooLarge")
        return Checked(Report((problem,), len(loaded.documents), len(loaded.files)), Tested((), (), str(error)), None)
    return Checked(report, _tested(files, asked), _linted(loaded, asked))


def _validated(loaded: Loaded, asked: Asked, unreadable: Iterable[Problem]) -> Report:
    """Of several clusters, what is wrong in one of them is wrong."""
    reports = [
        validate_manifests(
            loaded,
            platform_namespace=asked.platform_namespace,
            cluster=cluster,
            allow_missing_refs=asked.allow_missing_refs,
        )
        for cluster in asked.clusters or (None,)
    ]
    found = {problem: None for report in reports for problem in report.problems}
    order = {file: index for index, file in enumerate(loaded.files)}
    problems = sorted((*found, *unreadable), key=lambda one: (order.get(one.file, len(order)), one.line, one.field))
    return replace(reports[0], problems=tuple(problems))


def _tested(files: list[CaseFile], asked: Asked) -> Tested:
    results: dict[tuple[str, int, str, tuple[str, ...]], Result] = {}
    worlds: list[Subject] = []
    for cluster in asked.clusters or (ClusterFacts(),):
        try:
            found = subjects(files, Facts(platform_namespace=asked.platform_namespace, cluster=cluster))
        except (FileNotFoundError, CompileError, BuildError) as error:
            return Tested((), (), str(error))
        if any(world.folder.problems for world in found):
            return Tested((), (), "some objects under test are not valid: correct these first")
        worlds += found
        for result in _run(found):
            case = result.case
            # A test that comes out alike in several clusters is told once.
            results.setdefault((case.file, case.line, case.name, result.differences), result)
    ordered = sorted(results.values(), key=lambda one: (one.case.file, one.case.line))
    return Tested(tuple(ordered), tuple(worlds))


def _run(worlds: Iterable[Subject]) -> Iterator[Result]:
    for world in worlds:
        yield from run(world)


def _linted(loaded: Loaded, asked: Asked) -> Linted | None:
    try:
        linted = lint_loaded(
            loaded,
            platform_namespace=asked.platform_namespace,
            now=asked.now,
            within=asked.within,
            clusters=asked.clusters,
            ignored=asked.ignored,
        )
    except (CompileError, BuildError):
        return None  # validation has said so
    return replace(linted, findings=tuple(one for one in linted.findings if one.code not in _SAID_BEFORE))


@dataclass(frozen=True, slots=True)
class Remark:
    """A problem of validation or a finding of a lint, in one shape. `code` is the reason of the former."""

    code: str
    level: Level
    file: str
    line: int
    object: str
    field: str
    message: str
    remedy: str = ""


def remarks(checked: Checked) -> tuple[Remark, ...]:
    """All of both, by file and line; results of tests are not among them."""
    found = [_of_problem(problem) for problem in checked.report.problems]
    if checked.lint is not None:
        found += [_of_lint(finding) for finding in checked.lint.findings]
    return tuple(sorted(found, key=lambda one: (one.file, one.line)))


def _of_problem(problem: Problem) -> Remark:
    level = Level.ERROR if problem.severity is Severity.ERROR else Level.WARNING
    if problem.reason == "Ignored":
        level = Level.INFO  # other tools' objects may stand beside ours
    where = (problem.file, problem.line, problem.object, problem.field)
    return Remark(problem.reason, level, *where, problem.text)


def _of_lint(finding: Located) -> Remark:
    where = (finding.file, finding.line, finding.object, finding.field)
    return Remark(finding.code.value, finding.level, *where, finding.message, finding.remedy)
