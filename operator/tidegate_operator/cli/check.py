"""`tidegate check PATH...`: validate, test and lint, in one verdict."""

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tidegate_operator.checking import Asked, Checked, check_paths
from tidegate_operator.cli.check_report import as_data, as_github, as_junit, as_text, passed
from tidegate_operator.cli.cluster_fact import Clusters, read_clusters
from tidegate_operator.cli.lint import WITHIN, FailOn, FailOnOption, Ignore, Within, failing_levels, read_within
from tidegate_operator.cli.loading import PLATFORM_NAMESPACE, PlatformNamespace, patience, refuse
from tidegate_operator.lint.codes import Level

_FAILED = 1


class CheckOutput(StrEnum):
    """How the verdict is written."""

    TEXT = "text"
    JSON = "json"
    JUNIT = "junit"
    GITHUB = "github"


def check(
    paths: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Files, or folders read recursively.")],
    fail_on: FailOnOption = FailOn.WARNING,
    within: Within = WITHIN,
    ignore: Ignore = None,
    cluster: Clusters = None,
    allow_missing_refs: Annotated[
        bool, typer.Option("--allow-missing-refs", help="A reference to what is not in these files is no error.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the verdict as JUnit XML, too.")] = None,
    output: Annotated[
        CheckOutput, typer.Option("--output", "-o", help="How to write the verdict; github: as annotations.")
    ] = CheckOutput.TEXT,
    platform_namespace: PlatformNamespace = PLATFORM_NAMESPACE,
) -> None:
    """Validate manifests, run the tests of policies among them (*.test.yaml), and lint: what to do before a merge.

    Exit code 0: fine; 1: a cluster would refuse something, a test failed, or a lint found something of the severity of
    --fail-on; 2: the arguments cannot be used.
    """
    started = time.time()
    asked = Asked(
        platform_namespace=platform_namespace,
        now=started,
        within=read_within("check", within),
        clusters=read_clusters(cluster),
        ignored=frozenset(ignore or ()),
        allow_missing_refs=allow_missing_refs,
    )
    try:
        with patience("checking", lengthy=True):
            checked = check_paths(paths, asked)
    except FileNotFoundError as error:
        refuse("check", str(error))
    failing = frozenset({Level.ERROR}) | failing_levels(fail_on)
    if junit is not None:
        try:
            junit.write_bytes(as_junit(checked, failing=failing, started=started))
        except OSError as error:
            refuse("check", f"{junit}: {error.strerror}")
    typer.echo(_written(checked, output, failing, started))
    raise typer.Exit(0 if passed(checked, failing) else _FAILED)


def _written(checked: Checked, output: CheckOutput, failing: frozenset[Level], started: float) -> str:
    seconds = time.time() - started
    match output:
        case CheckOutput.JSON:
            return json.dumps(as_data(checked, failing=failing), indent=2)
        case CheckOutput.JUNIT:
            return as_junit(checked, failing=failing, started=started).decode()
        case CheckOutput.GITHUB:
            return as_github(checked, failing=failing, seconds=seconds)
    return as_text(checked, failing=failing, seconds=seconds)
