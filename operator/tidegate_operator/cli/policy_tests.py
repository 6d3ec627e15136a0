"""`tidegate test DIR`: run the tests that policies are written with."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from tidegate_dataplane.runtime import BuildError
from tidegate_operator.cli.cluster_fact import ClusterFact, read_facts
from tidegate_operator.cli.explain import Output
from tidegate_operator.cli.loading import PLATFORM_NAMESPACE, UNUSABLE, PlatformNamespace, refuse
from tidegate_operator.cli.policy_test_report import Report, as_json, as_text
from tidegate_operator.compile import CompileError
from tidegate_operator.policytests.coverage import coverage
from tidegate_operator.policytests.junit import as_junit
from tidegate_operator.policytests.mutation import Mutation, mutate
from tidegate_operator.policytests.reading import CaseFile, read_case_files
from tidegate_operator.policytests.suite import Subject, filtered, run, subjects
from tidegate_operator.world import Facts

_FAILED = 1


def policy_tests(
    paths: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders (or files) of *.test.yaml.")],
    only: Annotated[str, typer.Option("--filter", metavar="TEXT", help="Only tests whose file or name holds it.")] = "",
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the results as JUnit XML, too.")] = None,
    min_coverage: Annotated[
        float, typer.Option(min=0, max=100, metavar="PERCENT", help="Fail when fewer rules are touched by tests.")
    ] = 0,
    mutation: Annotated[
        bool, typer.Option("--mutate", help="Do small wrongs to the policies, and report those that no test notices.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="With --mutate: fail when a wrong is not noticed.")] = False,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to write the results.")] = Output.TEXT,
    platform_namespace: PlatformNamespace = PLATFORM_NAMESPACE,
    cluster_fact: ClusterFact = None,
) -> None:
    """Run all *.test.yaml of a folder on the very engine that data planes run.

    Exit code 0: all is as expected; 1: a test failed, or coverage or mutation where asked for; 2: a file is not usable.
    """
    facts = Facts(platform_namespace=platform_namespace, cluster=read_facts(cluster_fact))
    started = time.time()
    worlds = [filtered(world, only) for world in _subjects(_read(paths), facts)]
    worlds = [world for world in worlds if world.files]
    if not worlds:
        refuse("test", "there is no test: write a file *.test.yaml, or give another --filter")
    ran = [(world, list(run(world))) for world in worlds]
    results = sorted((result for _, found in ran for result in found), key=lambda one: (one.case.file, one.case.line))
    covered = coverage((world.folder.runtime, world.folder.provenance, found) for world, found in ran)
    failed = any(not result.passed for result in results)
    wrongs = _mutate(worlds) if mutation and not failed else None
    report = Report(results, covered, wrongs, time.time() - started)
    if junit is not None:
        try:
            junit.write_bytes(as_junit(results, started=started))
        except OSError as error:
            refuse("test", f"{junit}: {error.strerror}")
    typer.echo(as_json(report) if output is Output.JSON else as_text(report, _shown_places(worlds)))
    if covered.percent < min_coverage:
        typer.echo(f"coverage is {covered.percent:.1f} %, less than {min_coverage:g} %", err=True)
        failed = True
    if strict and wrongs is not None and wrongs.survivors:
        failed = True
    raise typer.Exit(_FAILED if failed else 0)


def _read(paths: list[Path]) -> list[CaseFile]:
    try:
        files, problems = read_case_files(paths)
    except FileNotFoundError as error:
        refuse("test", str(error))
    for problem in problems:
        typer.echo(str(problem), err=True)
    if problems:
        raise typer.Exit(UNUSABLE)
    return files


def _subjects(files: list[CaseFile], facts: Facts) -> list[Subject]:
    try:
        worlds = subjects(files, facts)
    except (FileNotFoundError, CompileError, BuildError) as error:
        refuse("test", str(error))
    problems = [problem for world in worlds for problem in world.folder.problems]
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        refuse("test", "correct these objects first: a gateway would not serve them as they are written")
    return worlds


def _mutate(worlds: list[Subject]) -> Mutation:
    if not sys.stderr.isatty():
        return mutate(worlds)
    from rich.console import Console

    with Console(stderr=True).status("doing wrongs") as status:
        return mutate(worlds, lambda done: status.update(f"{done} wrongs done"))


def _shown_places(worlds: list[Subject]) -> dict[str, Subject]:
    return {file.file: world for world in worlds for file in world.files}
