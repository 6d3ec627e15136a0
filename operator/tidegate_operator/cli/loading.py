"""What commands that ask a folder have in common: reading and compiling it, and saying what of it is not served."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from tidegate_dataplane.runtime import BuildError
from tidegate_operator.cli.cluster_fact import read_facts
from tidegate_operator.compile import CompileError
from tidegate_operator.inquiry.compiled_folder import CompiledFolder, compile_folder
from tidegate_operator.world import Facts

UNUSABLE = 2
"""Exit code for arguments or files that cannot be used."""

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of resources, or one file.")]
PlatformNamespace = Annotated[
    str, typer.Option(metavar="NS", help="The namespace whose objects may attach to the whole gateway.")
]
PLATFORM_NAMESPACE = "tidegate-system"


def read_folder(
    command: str, paths: Sequence[Path], platform_namespace: str, cluster_fact: list[str] | None
) -> CompiledFolder:
    """Compile the folder as `serve` would; what is not valid is named on stderr and left out, as a gateway would."""
    facts = Facts(platform_namespace=platform_namespace, cluster=read_facts(cluster_fact))
    try:
        with patience("compiling", lengthy=True):
            folder = compile_folder(paths, facts)
    except (FileNotFoundError, CompileError, BuildError) as error:
        refuse(command, str(error))
    for problem in folder.problems:
        typer.echo(f"not served as written: {problem}", err=True)
    for problem in folder.unresolved:
        typer.echo(f"not found: {problem}", err=True)
    return folder


def patience(doing: str, *, lengthy: bool) -> AbstractContextManager[object]:
    """Says on a terminal that it works, where it may take longer than two seconds."""
    if not lengthy or not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(doing)


def refuse(command: str, message: str) -> NoReturn:
    """Say what is wrong with the arguments, and leave."""
    typer.echo(f"tidegate {command}: {message}", err=True)
    raise typer.Exit(UNUSABLE)


def full_name(name: str) -> str:
    """`team-a/search`; without a namespace it is `default`, as in the files."""
    return name if "/" in name or not name else f"default/{name}"


def pairs(options: list[str] | None, separator: str, option: str) -> dict[str, str]:
    """The `name: value` or `name=value` of repeated options; raises typer.BadParameter for anything else."""
    found: dict[str, str] = {}
    for text in options or ():
        name, sign, value = text.partition(separator)
        if not sign or not name.strip():
            raise typer.BadParameter(f"write NAME{separator}VALUE", param_hint=option)
        found[name.strip()] = value.strip()
    return found
