"""What `tidegate check` writes: for people, for programs, as JUnit XML, and as annotations of a pull request."""

from collections.abc import Iterator
from typing import Any

from tidegate_operator.checking import Checked, Remark, remarks
from tidegate_operator.cli.policy_test_report import failure
from tidegate_operator.lint.codes import Level
from tidegate_operator.policytests.junit import Outcome, by_file, written

_GITHUB = {Level.ERROR: "error", Level.WARNING: "warning", Level.INFO: "notice"}


def as_text(checked: Checked, *, failing: frozenset[Level], seconds: float) -> str:
    """Remarks by file and line, tests that failed, and a summary of a line for each of the three."""
    worlds = {file.file: world for world in checked.tests.subjects for file in world.files}
    blocks = ["\n".join(line for remark in remarks(checked) for line in _lines(remark))]
    blocks += [failure(result, worlds) for result in checked.tests.failed]
    blocks.append("\n".join(_summary(checked, failing, seconds)))
    return "\n\n".join(block for block in blocks if block)


def as_data(checked: Checked, *, failing: frozenset[Level]) -> dict[str, Any]:
    """`{"passed", "objects", "files", "remarks": [{file, line, severity, code, object, field, message, remedy}],
    "tests": {"passed", "failed", "notRun", "failures": [{file, line, name, differences}]}}`."""
    tests = checked.tests
    return {
        "passed": passed(checked, failing),
        "objects": checked.report.objects,
        "files": checked.report.files,
        "suppressed": 0 if checked.lint is None else checked.lint.suppressed,
        "remarks": [
            {
                "file": one.file,
                "line": one.line,
                "severity": one.level.value,
                "code": one.code,
                "object": one.object,
                "field": one.field,
                "message": one.message,
                "remedy": one.remedy,
            }
            for one in remarks(checked)
        ],
        "tests": {
            "passed": len(tests.results) - len(tests.failed),
            "failed": len(tests.failed),
            "notRun": tests.in_vain,
            "failures": [
                {
                    "file": result.case.file,
                    "line": result.case.line,
                    "name": result.case.name,
                    "differences": result.differences,
                }
                for result in tests.failed
            ],
        },
    }


def as_github(checked: Checked, *, failing: frozenset[Level], seconds: float) -> str:
    """Workflow commands of GitHub Actions, which shows each at its line of the pull request; then the summary."""
    lines = [_command(one.level, one.file, one.line, one.code, _sentence(one)) for one in remarks(checked)]
    for result in checked.tests.failed:
        case = result.case
        told = f"{case.name}: {'; '.join(result.differences)}"
        lines.append(_command(Level.ERROR, case.file, case.line, "TestFailed", told))
    if checked.tests.in_vain:
        lines.append(f"::error title=TestsNotRun::{_escaped(checked.tests.in_vain)}")
    return "\n".join([*lines, *_summary(checked, failing, seconds)])


def as_junit(checked: Checked, *, failing: frozenset[Level], started: float) -> bytes:
    """Suites `validate and lint` (a case for each remark that fails, or one that passed) and one for each test file."""
    wrong = [one for one in remarks(checked) if one.level in failing]
    outcomes = [
        Outcome(f"{one.code} {one.object}".strip(), one.file, 0.0, "failure", _sentence(one), next(_lines(one)))
        for one in wrong
    ]
    if checked.tests.in_vain:
        outcomes.append(Outcome("tests", "tests", 0.0, "error", checked.tests.in_vain, checked.tests.in_vain))
    suites = [("validate and lint", outcomes or [Outcome("no finding", "tidegate", 0.0)])]
    return written([*suites, *by_file(checked.tests.results)], started=started)


def passed(checked: Checked, failing: frozenset[Level]) -> bool:
    """Whether there is nothing to correct."""
    tests = checked.tests
    return not tests.failed and not tests.in_vain and not any(one.level in failing for one in remarks(checked))


def _lines(one: Remark) -> Iterator[str]:
    place = f"{one.file}:{one.line}: {one.level} {one.code}"
    where = [one.object] if one.object else []
    yield ": ".join([place, *where, *([one.field] if one.field else []), one.message])
    if one.remedy:
        yield f"    {one.remedy}"


def _sentence(one: Remark) -> str:
    where = ": ".join(part for part in (one.object, one.field, one.message) if part)
    return f"{where}. {one.remedy}" if one.remedy else where


def _summary(checked: Checked, failing: frozenset[Level], seconds: float) -> Iterator[str]:
    report, tests, lint = checked.report, checked.tests, checked.lint
    read = f"{_count(report.objects, 'object')} in {_count(report.files, 'file')}"
    verdict = "valid" if report.valid else f"not valid, {_count(report.errors, 'error')}"
    warned = f", {_count(report.warnings, 'warning')}" if report.warnings else ""
    yield f"validate: {verdict}{warned}; {read}"
    if tests.in_vain:
        yield f"test: not run: {tests.in_vain}"
    elif tests.results:
        failed = len(tests.failed)
        yield f"test: {len(tests.results) - failed} passed{f', {failed} failed' if failed else ''}"
    else:
        yield "test: there are no tests; write a file *.test.yaml"
    if lint is None:
        yield "lint: not run"
    else:
        levels = [(sum(one.level is level for one in lint.findings), level) for level in Level]
        told = ", ".join(
            f"{number} {level}" if level is Level.INFO else _count(number, level) for number, level in levels if number
        )
        suppressed = f" ({lint.suppressed} suppressed)" if lint.suppressed else ""
        yield f"lint: {told or 'nothing found'}{suppressed}"
    yield f"{'passed' if passed(checked, failing) else 'FAILED'} in {seconds:.1f} s"


def _command(level: Level, file: str, line: int, title: str, message: str) -> str:
    return f"::{_GITHUB[level]} file={_property(file)},line={line},title={_property(title)}::{_escaped(message)}"


def _escaped(text: str) -> str:
    """As GitHub's toolkit escapes the message of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
