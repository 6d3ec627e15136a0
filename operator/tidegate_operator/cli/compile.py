"""`tidegate compile PATH... -o FILE`: the snapshot of a folder as one file, for a data plane without a cluster."""

from pathlib import Path
from typing import Annotated

import typer

from tidegate_dataplane.snapshot.bundle import encode_bundle
from tidegate_operator.cli.cluster_fact import ClusterFact, read_facts
from tidegate_operator.compile import CompileError, compile_world, make_bundle
from tidegate_operator.manifests import load_paths, to_world
from tidegate_operator.problems import Severity
from tidegate_operator.world import Facts


def compile_folder(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, or folders read recursively.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    gateway: Annotated[str, typer.Option(help="Name of the gateway.")] = "default",
    revision: Annotated[int, typer.Option(min=1, help="Number of the revision; data planes refuse lower ones.")] = 1,
    platform_namespace: Annotated[
        str, typer.Option(metavar="NS", help="The namespace whose objects may attach to the whole gateway.")
    ] = "tidegate-system",
    cluster_fact: ClusterFact = None,
) -> None:
    """Write the snapshot of manifests to a file. What is not valid is named and left out; it holds no provider keys."""
    facts = Facts(gateway, platform_namespace, read_facts(cluster_fact))
    try:
        loaded = load_paths(paths)
        compiled = compile_world(to_world(loaded), facts)
    except (FileNotFoundError, CompileError) as error:
        typer.echo(f"tidegate compile: {error}", err=True)
        raise typer.Exit(2) from None
    for problem in loaded.problems:
        if problem.severity is Severity.ERROR:
            typer.echo(str(problem), err=True)
    for key, verdict in sorted(compiled.verdicts.items()):
        for finding in (*verdict.errors, *verdict.unresolved):
            typer.echo(f"{key}: {finding.field}: {finding.message}", err=True)
    data = encode_bundle(make_bundle(compiled, facts, revision))
    partial = output.with_name(f".{output.name}.partial")
    partial.write_bytes(data)
    partial.replace(output)
    typer.echo(f"{output}: revision {revision}, {len(compiled.served.entries)} objects, {len(data)} bytes")
