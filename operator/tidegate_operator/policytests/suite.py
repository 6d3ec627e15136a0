"""All test files of a folder, with the worlds that they test: each is compiled once."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tidegate_operator.inquiry.compiled_folder import CompiledFolder, Workbench, compile_loaded
from tidegate_operator.manifests import Loaded, load_paths
from tidegate_operator.policytests.reading import Case, CaseFile
from tidegate_operator.policytests.running import Result, run_case
from tidegate_operator.world import Facts


@dataclass(frozen=True, slots=True)
class Subject:
    """One world under test, and the files that test it."""

    folder: CompiledFolder
    bench: Workbench
    files: tuple[CaseFile, ...]

    @property
    def cases(self) -> tuple[Case, ...]:
        return tuple(case for file in self.files for case in file.cases)


def subjects(files: list[CaseFile], facts: Facts) -> list[Subject]:
    """Compile what the files test. Files that test the same resources share one world; raises what compiling does."""
    groups: dict[tuple[object, ...], list[CaseFile]] = {}
    for file in files:
        own = (file.file,) if file.objects else ()
        groups.setdefault((*_real(file.resources), *own), []).append(file)
    return [_subject(group, facts) for group in groups.values()]


def _real(paths: tuple[Path, ...]) -> Iterator[Path]:
    for path in paths:
        yield path.resolve()


def _subject(files: list[CaseFile], facts: Facts) -> Subject:
    loaded = load_paths(files[0].resources)
    # Of two objects with one identity the first counts: those of the test file.
    whole = Loaded((*files[0].objects, *loaded.documents), loaded.problems, loaded.files)
    bench = Workbench(facts)
    return Subject(compile_loaded(whole, bench), bench, tuple(files))


def filtered(subject: Subject, text: str) -> Subject:
    """Only the cases whose file or name holds the text."""
    files = (
        replace(file, cases=tuple(case for case in file.cases if text in case.name or text in case.file))
        for file in subject.files
    )
    return replace(subject, files=tuple(file for file in files if file.cases))


def run(subject: Subject) -> Iterator[Result]:
    """Run all cases, in the order of the files."""
    for case in subject.cases:
        yield run_case(subject.folder.runtime, case)
