"""`tidegate lint PATH...`: what is valid, and yet probably not meant."""

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tidegate_dataplane.runtime import BuildError
from tidegate_operator.cli.cluster_fact import Clusters, read_clusters
from tidegate_operator.cli.explain import Output
from tidegate_operator.cli.loading import PLATFORM_NAMESPACE, PlatformNamespace, patience, refuse
from tidegate_operator.compile import CompileError
from tidegate_operator.compile.durations import parse_duration
from tidegate_operator.lint.codes import Code, Level
from tidegate_operator.lint.folder import Linted, Located, lint_loaded
from tidegate_operator.manifests import load_paths
from tidegate_operator.problems import Severity

_FOUND = 1
_MANY = 1000


class FailOn(StrEnum):
    """From which severity on the exit code is 1."""

    ERROR = "error"
    WARNING = "warning"
    NEVER = "never"


Within = Annotated[
    str, typer.Option("--within", metavar="DURATION", help="Keys that expire within this time are reported.")
]
FailOnOption = Annotated[FailOn, typer.Option("--fail-on", help="From which severity on the exit code is 1.")]
Ignore = Annotated[
    list[Code] | None,
    typer.Option("--ignore", metavar="CODE", help="Leave out findings of this code (repeatable)."),
]
WITHIN = "30d"


def lint(
    paths: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Files, or folders read recursively.")],
    fail_on: FailOnOption = FailOn.WARNING,
    within: Within = WITHIN,
    ignore: Ignore = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to write the findings.")] = Output.TEXT,
    platform_namespace: PlatformNamespace = PLATFORM_NAMESPACE,
    cluster: Clusters = None,
) -> None:
    """Find what is valid and probably not meant: unused consumers, unreachable rules, keys that expire, what is open.

    Exit code 0: nothing of the severity of --fail-on; 1: something; 2: the arguments cannot be used. An object leaves
    out findings about itself by the annotation tidegate.dev/lint-ignore: CODE,CODE.
    """
    soon = read_within("lint", within)
    try:
        loaded = load_paths(paths)
        with patience("looking", lengthy=len(loaded.documents) >= _MANY):
            found = lint_loaded(
                loaded,
                platform_namespace=platform_namespace,
                now=time.time(),
                within=soon,
                clusters=read_clusters(cluster),
                ignored=ignore or (),
            )
    except (FileNotFoundError, CompileError, BuildError) as error:
        refuse("lint", str(error))
    for problem in loaded.problems:
        if problem.severity is Severity.ERROR:
            typer.echo(f"not looked at: {problem}", err=True)
    typer.echo(json.dumps(as_data(found), indent=2) if output is Output.JSON else as_text(found))
    failing = failing_levels(fail_on)
    raise typer.Exit(_FOUND if any(one.level in failing for one in found.findings) else 0)


def read_within(command: str, text: str) -> float:
    """Seconds of a duration such as 30d; refuses what is none."""
    try:
        return parse_duration(text) / 1000
    except ValueError as error:
        refuse(command, f"--within: {error}")


def failing_levels(fail_on: FailOn) -> frozenset[Level]:
    """The severities that make the exit code 1."""
    if fail_on is FailOn.NEVER:
        return frozenset()
    return frozenset({Level.ERROR}) if fail_on is FailOn.ERROR else frozenset({Level.ERROR, Level.WARNING})


def as_text(found: Linted) -> str:
    """A line for each finding, what to do below it, and a summary."""
    return "\n".join([*(line for finding in found.findings for line in lines_of(finding)), summary(found)])


def lines_of(finding: Located) -> tuple[str, str]:
    """`FILE:LINE: severity CODE: object: field: message`, and the remedy."""
    where = f"{finding.object}: {finding.field}" if finding.field else finding.object
    place = f"{finding.file}:{finding.line}"
    return f"{place}: {finding.level} {finding.code}: {where}: {finding.message}", f"    {finding.remedy}"


def as_data(found: Linted) -> dict[str, Any]:
    """`{"objects", "suppressed", "findings": [{file, line, severity, code, object, field, message, remedy}]}`."""
    return {
        "objects": found.objects,
        "suppressed": found.suppressed,
        "findings": [
            {
                "file": one.file,
                "line": one.line,
                "severity": one.level.value,
                "code": one.code.value,
                "object": one.object,
                "field": one.field,
                "message": one.message,
                "remedy": one.remedy,
            }
            for one in found.findings
        ],
    }


def summary(found: Linted) -> str:
    """How many of each severity, in how many objects and files."""
    counts = [(found.count(level), level.value) for level in Level]
    told = ", ".join(_counted(number, name) for number, name in counts if number)
    objects = f"{found.objects} object{'' if found.objects == 1 else 's'}"
    files = f"{found.files} file{'' if found.files == 1 else 's'}"
    left_out = f" ({found.suppressed} suppressed)" if found.suppressed else ""
    return f"{told or 'nothing found'}{left_out}; {objects} in {files}"


def _counted(number: int, name: str) -> str:
    return f"{number} {name}" if name == "info" or number == 1 else f"{number} {name}s"
