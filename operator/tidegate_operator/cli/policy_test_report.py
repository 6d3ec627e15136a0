"""What `tidegate test` writes: failures first, each with what happened instead."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tidegate_dataplane.engine.explain_text import render
from tidegate_operator.policytests.coverage import Coverage
from tidegate_operator.policytests.mutation import Mutation
from tidegate_operator.policytests.running import Result
from tidegate_operator.policytests.suite import Subject


@dataclass(frozen=True, slots=True)
class Report:
    """All results; `mutation` is None when it was not asked for, or when a test failed."""

    results: list[Result]
    coverage: Coverage
    mutation: Mutation | None
    seconds: float

    @property
    def failed(self) -> list[Result]:
        return [result for result in self.results if not result.passed]


def as_text(report: Report, worlds: Mapping[str, Subject]) -> str:
    """For a terminal. `worlds` by test file, for file and line of rules."""
    blocks = [failure(result, worlds) for result in report.failed]
    blocks.append("\n".join(_passed(report)))
    blocks.append("\n".join(_coverage(report.coverage)))
    if report.mutation is not None:
        blocks.append("\n".join(_mutation(report.mutation)))
    blocks.append(_summary(report))
    return "\n\n".join(block for block in blocks if block)


def as_json(report: Report) -> str:
    """`{"passed", "tests": [{file, line, name, passed, differences, explanation}], "coverage", "mutation"?}`."""
    body: dict[str, Any] = {
        "passed": not report.failed,
        "tests": [
            {
                "file": result.case.file,
                "line": result.case.line,
                "name": result.case.name,
                "passed": result.passed,
                "differences": result.differences,
                "explanation": None if result.passed else result.explanation,
            }
            for result in report.results
        ],
        "coverage": {"percent": round(report.coverage.percent, 1), "items": report.coverage.items},
    }
    if report.mutation is not None:
        body["mutation"] = report.mutation
    return msgspec.json.format(msgspec.json.encode(body)).decode()


def failure(result: Result, worlds: Mapping[str, Subject]) -> str:
    """A test that failed: what was expected, and how the engine came to something else."""
    case = result.case
    lines = [f"FAILED {case.place}: {case.name}", *(f"  {difference}" for difference in result.differences)]
    if result.explanation is not None:
        told = render(result.explanation, worlds[case.file].folder.provenance.text)
        lines += ["", *(f"    {line}".rstrip() for line in told.splitlines())]
    return "\n".join(lines)


def _passed(report: Report) -> Iterator[str]:
    files = dict.fromkeys(result.case.file for result in report.results)
    for file in files:
        mine = [result for result in report.results if result.case.file == file]
        good = sum(result.passed for result in mine)
        yield f"{file}: {good} of {len(mine)} passed"


def _coverage(found: Coverage) -> Iterator[str]:
    touched = len(found.items) - len(found.untouched)
    yield f"coverage: {touched} of {len(found.items)} rules, sections and limits decided a test ({found.percent:.0f} %)"
    yield from (f"  {item}" for item in found.untouched)


def _mutation(found: Mutation) -> Iterator[str]:
    yield (
        f"mutation: {found.killed} of {found.tried} wrongs noticed in {found.seconds:.1f} s"
        f"{f', {found.impossible} not possible' if found.impossible else ''}"
    )
    yield from (f"  not noticed: {one}" for one in found.survivors)


def _summary(report: Report) -> str:
    failed = len(report.failed)
    word = f"{failed} failed, " if failed else ""
    return f"{word}{len(report.results) - failed} passed in {report.seconds:.2f} s"
