"""`tidegate fleet`: several clusters side by side, and every difference that placement does not explain."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tidegate_operator.fleet.cluster import ClusterView
from tidegate_operator.fleet.commits import NoSuchRef, head_of, lags
from tidegate_operator.fleet.json_form import as_json
from tidegate_operator.fleet.read import NoContext, Where, context_names, read_fleet
from tidegate_operator.fleet.table import as_table
from tidegate_operator.fleet.view import INCOMPLETE, Fleet, fleet_of

_CLEAR = "\x1b[H\x1b[2J\x1b[3J"
_INTERRUPTED = 130
"""As shells say it of a program that Ctrl-C ended (128 and the signal's number)."""


class Output(StrEnum):
    """How the fleet is written."""

    TABLE = "table"
    JSON = "json"


def fleet(
    contexts: Annotated[
        str, typer.Option(metavar="LIST", help="Contexts of the kubeconfig, with commas. Default: the current one.")
    ] = "",
    kubeconfig: Annotated[str | None, typer.Option(help="Default: KUBECONFIG, then ~/.kube/config.")] = None,
    namespace: Annotated[str, typer.Option(help="Where the operators publish.")] = "tidegate-system",
    gateway: Annotated[list[str] | None, typer.Option(help="Only this gateway (repeatable). Default: all.")] = None,
    argocd_context: Annotated[str | None, typer.Option(help="Where Argo CD runs, if in none of the clusters.")] = None,
    git_ref: Annotated[
        str | None, typer.Option(metavar="REF", help="Count how far clusters are behind it, by the git of this folder.")
    ] = None,
    output: Annotated[Output, typer.Option(help="For people or for programs.")] = Output.TABLE,
    top: Annotated[int, typer.Option(min=0, help="How many of the fullest quotas are shown.")] = 5,
    limit: Annotated[int, typer.Option(min=1, help="How many differences the table shows.")] = 50,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for a cluster's first answer.")] = 5.0,
    watch: Annotated[float | None, typer.Option(min=1.0, metavar="SECONDS", help="Read again so often.")] = None,
) -> None:
    """Show what several clusters run, and name every difference that placement does not explain. Reads no Secret.

    Exit code 0: all alike; 1: something differs, is refused, or lags; 2: a cluster could not be read; 130: --watch was
    ended by Ctrl-C.
    """
    kubeconfig = str(Path(kubeconfig).expanduser()) if kubeconfig else None
    where = Where(namespace, tuple(gateway or ()), timeout)
    try:
        names = _chosen(contexts, kubeconfig, argocd_context)
        head = head_of(git_ref) if git_ref else ""
    except (NoContext, NoSuchRef) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(INCOMPLETE) from None

    def look() -> Fleet:
        with _progress() as on_objects:
            reads = asyncio.run(
                read_fleet(names, where, kubeconfig=kubeconfig, argocd=argocd_context, on_objects=on_objects)
            )
        views = [read for read in reads if isinstance(read, ClusterView)]
        return fleet_of(reads, head=head, lags=lags(views, head) if head else None)

    def show() -> int:
        found = look()
        text = as_json(found, top=top) if output is Output.JSON else as_table(found, top=top, limit=limit)
        typer.echo(f"{_CLEAR}{text}" if watch and sys.stdout.isatty() else text)
        return found.exit_code

    if watch is None:
        raise typer.Exit(show())
    try:
        while True:
            show()
            time.sleep(watch)
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None


def _chosen(contexts: str, kubeconfig: str | None, argocd: str | None) -> list[str]:
    known, current = context_names(kubeconfig)
    names = list(dict.fromkeys(name.strip() for name in contexts.split(",") if name.strip())) or [current]
    for name in [*names, *([argocd] if argocd else [])]:
        if name not in known:
            missing = f"there is no context {name!r}" if name else "there is no current context, give --contexts"
            raise NoContext(f"{missing}; there are {', '.join(known)}")
    return names


@contextmanager
def _progress() -> Iterator[Callable[[str, int], None]]:
    """A line on a terminal that says how much has been read."""
    if not sys.stderr.isatty():
        yield lambda _, __: None
        return
    from rich.console import Console

    read: Counter[str] = Counter()
    with Console(stderr=True).status("asking the clusters") as status:

        def on_objects(cluster: str, number: int) -> None:
            read[cluster] += number
            status.update(", ".join(f"{name}: {count:,} objects" for name, count in sorted(read.items())))

        yield on_objects
