"""`tidegate validate PATH...`: what a cluster would say of these manifests, without one."""

import json
import sys
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tidegate_operator.cli.cluster_fact import ClusterFact, read_facts
from tidegate_operator.compile import CompileError
from tidegate_operator.manifests import load_paths
from tidegate_operator.offline.validation import Report, validate_manifests
from tidegate_operator.problems import Problem, Severity

_INVALID = 1
_UNUSABLE = 2
_MANY = 1000


class Output(StrEnum):
    """How the report is written."""

    TEXT = "text"
    JSON = "json"


def validate(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Files, or folders read recursively.")],
    output: Annotated[Output, typer.Option("--output", "-o", help="How to write the report.")] = Output.TEXT,
    platform_namespace: Annotated[
        str, typer.Option(metavar="NS", help="The namespace whose objects may attach to the whole gateway.")
    ] = "tidegate-system",
    cluster_fact: ClusterFact = None,
    allow_missing_refs: Annotated[
        bool, typer.Option("--allow-missing-refs", help="A reference to what is not in these files is no error.")
    ] = False,
) -> None:
    """Judge manifests as a cluster would: schema, CEL rules, references, conflicts, compilation.

    Exit code 0: valid; 1: a cluster would refuse something; 2: the arguments cannot be used.
    """
    facts = read_facts(cluster_fact) if cluster_fact else None
    try:
        loaded = load_paths(paths)
        with _patience(len(loaded.documents)):
            report = validate_manifests(
                loaded, platform_namespace=platform_namespace, cluster=facts, allow_missing_refs=allow_missing_refs
            )
    except FileNotFoundError as error:
        typer.echo(f"tidegate validate: {error}", err=True)
        raise typer.Exit(_UNUSABLE) from None
    except CompileError as error:
        typer.echo(f"tidegate validate: {error}", err=True)
        raise typer.Exit(_INVALID) from None
    typer.echo(as_json(report) if output is Output.JSON else as_text(report))
    raise typer.Exit(0 if report.valid else _INVALID)


def _patience(objects: int) -> AbstractContextManager[object]:
    """Says on a terminal that it works, where it may take longer than two seconds."""
    if objects < _MANY or not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(f"judging {objects} objects")


def as_text(report: Report) -> str:
    """A line for each problem, and a summary."""
    return "\n".join([*map(_line, report.problems), _summary(report)])


def as_json(report: Report) -> str:
    """`{"valid", "objects", "problems": [{file, line, column?, object, field, reason, message, severity}]}`."""
    body = {
        "valid": report.valid,
        "objects": report.objects,
        "problems": [_json_problem(problem) for problem in report.problems],
    }
    return json.dumps(body, indent=2)


def _line(problem: Problem) -> str:
    if problem.severity is Severity.ERROR:
        return str(problem)
    place = f"{problem.file}:{problem.line}: "
    return f"{place}warning: {str(problem).removeprefix(place)}"


def _json_problem(problem: Problem) -> dict[str, Any]:
    column = {} if problem.column is None else {"column": problem.column}
    return {
        "file": problem.file,
        "line": problem.line,
        **column,
        "object": problem.object,
        "field": problem.field,
        "reason": problem.reason,
        "message": problem.text,
        "severity": problem.severity.value,
    }


def _summary(report: Report) -> str:
    read = f"{_count(report.objects, 'object')} in {_count(report.files, 'file')}"
    warned = f", {_count(report.warnings, 'warning')}" if report.warnings else ""
    if not report.valid:
        return f"not valid: {_count(report.errors, 'error')}{warned}; {read}"
    if report.objects == 0:
        return f"nothing to judge: no object of Tidegate in {_count(report.files, 'file')}{warned}"
    return f"valid: {read}{warned}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
