"""`tidegate usage FILE...`: what was used and what it cost, from audit logs."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tidegate_operator.printable import printable
from tidegate_operator.usage.lines import STDIN, Fault, Progress, read_lines, with_rotated
from tidegate_operator.usage.period import Period, moment, time_zone
from tidegate_operator.usage.report import as_csv, as_json, as_table
from tidegate_operator.usage.tally import DIMENSIONS, MAX_GROUPS, OTHER, Tally

_FAULTY = 1
_UNUSABLE = 2
_SHOWN_FAULTS = 10
_LARGE = 64 * 1024 * 1024


class Output(StrEnum):
    """How the figures are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class Faults:
    """Lines that were not counted: all are counted, the first are told."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self.count += 1
        if len(self.first) < _SHOWN_FAULTS:
            self.first.append(fault)


def usage(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Audit logs, those with .gz too; - for stdin.")
    ],
    by: Annotated[
        str, typer.Option(metavar="LIST", help=f"Groups, several with commas: {', '.join(DIMENSIONS)}.")
    ] = "",
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="From then on: 2026-07, 2026-07-01, a time, or an age like 7d.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Before then.")] = None,
    zone: Annotated[
        str, typer.Option("--time-zone", metavar="ZONE", help="Where days and months begin, such as Europe/Berlin.")
    ] = "UTC",
    filter: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP=VALUE", help="Only these, such as team=search or model=gpt-*; repeat it."),
    ] = None,
    output: Annotated[Output, typer.Option(help="How the figures are written.")] = Output.TABLE,
    rotated: Annotated[
        bool, typer.Option("--rotated", help="Read FILE.1, FILE.2 and so on beside each file too.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail where a line cannot be counted, or where lines were lost.")
    ] = False,
) -> None:
    """Add up requests, tokens and cost from audit logs, in one pass and constant memory.

    Exit code 0: done; 1: with --strict, some lines could not be counted; 2: the arguments cannot be used.
    """
    faults = Faults()
    try:
        tally = _tally(by, since, until, zone, filter or [])
        paths = with_rotated(files, rotated=rotated)
        with _progress(paths) as progress:
            read_lines(paths, tally.add, faults.add, progress)
    except ValueError as error:
        _give_up(str(error))
    except OSError as error:
        _give_up(f"{error.filename or 'a file'}: {error.strerror or error}")
    _print(tally, faults, output, zone)
    _warn(tally, faults)
    raise typer.Exit(_FAULTY if strict and (faults.count or tally.lost) else 0)


def _tally(by: str, since: str | None, until: str | None, zone: str, filters: Sequence[str]) -> Tally:
    where, now = time_zone(zone), datetime.now(UTC)
    begin = moment(since, where, now) if since else None
    end = moment(until, where, now) if until else None
    if begin is not None and end is not None and begin >= end:
        raise ValueError("--since must be before --until")
    names = [name for name in by.replace(" ", "").split(",") if name]
    wanted: dict[str, list[str]] = {}
    for text in filters:
        name, equals, pattern = text.partition("=")
        if not equals:
            raise ValueError(f"--filter {text!r} is not GROUP=VALUE, such as team=search")
        wanted.setdefault(name, []).append(pattern)
    for name in (*names, *wanted):
        if name not in DIMENSIONS:
            raise ValueError(f"there is no group {name!r}; there are {', '.join(DIMENSIONS)}")
    return Tally(list(dict.fromkeys(names)), wanted, Period(where, begin, end))


def _print(tally: Tally, faults: Faults, output: Output, zone: str) -> None:
    if output is Output.JSON:
        told = {"timeZone": zone, "notCounted": faults.count, "lost": tally.lost}
        typer.echo(as_json(tally, told))
    elif output is Output.CSV:
        typer.echo(as_csv(tally), nl=False)
    else:
        typer.echo(as_table(tally))


def _warn(tally: Tally, faults: Faults) -> None:
    """On the other stream, so that figures can be piped on."""
    for fault in faults.first:
        typer.echo(f"{printable(fault.file)}:{fault.line}: {fault.message}", err=True)
    if faults.count:
        typer.echo(f"not counted: {faults.count} {'line' if faults.count == 1 else 'lines'}", err=True)
    if tally.lost:
        typer.echo(f"not there: {tally.lost} records that the data plane could not write (Lost)", err=True)
    if unpriced := tally.total.unpriced:
        advice = "price their models in spec.models[].price of the AIBackend (--by backend,model names them)"
        typer.echo(f"without a price: {unpriced} {'call' if unpriced == 1 else 'calls'}; {advice}", err=True)
    if len(tally.groups) > MAX_GROUPS:
        typer.echo(f"more than {MAX_GROUPS:,} groups: the rest is added up as {OTHER}", err=True)


def _give_up(message: str) -> None:
    typer.echo(f"tidegate usage: {message}", err=True)
    raise typer.Exit(_UNUSABLE)


@contextmanager
def _progress(paths: Sequence[Path]) -> Iterator[Progress | None]:
    """A bar, where somebody looks and it may take longer than two seconds."""
    sizes = {path: os.stat(path).st_size for path in paths if path != STDIN}
    if sum(sizes.values()) < _LARGE or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    with Bar(BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=sum(sizes.values()))
        done = dict.fromkeys(sizes, 0)

        def show(path: Path, position: int) -> None:
            done[path] = position
            bar.update(task, completed=sum(done.values()))

        yield show
