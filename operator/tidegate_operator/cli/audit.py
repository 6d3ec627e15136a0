"""`tidegate audit verify FILE...`: whether an audit log is whole."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tidegate_dataplane.audit.key import read_key
from tidegate_dataplane.audit.verdict import Expected, LogReport, Problem, Progress, Verdict
from tidegate_dataplane.audit.verify import verify

_BROKEN = 1
_UNUSABLE = 2
_LARGE = 64 * 1024 * 1024

audit = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@audit.callback()
def _audit() -> None:
    """Look after audit logs."""


@audit.command("verify")
def verify_files(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="In any order; those with .gz too.")],
    key_file: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="The key that the data plane sealed it with; repeat it after a change."),
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(metavar="SEQ:CHAIN", help="A line that must be there, from /-/status; finds a cut at the end."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON.")] = False,
) -> None:
    """Find every changed, removed, added or moved line, every missing file, and a torn end.

    Exit code 0: the log is whole; 1: something is wrong; 2: the arguments cannot be used.
    """
    try:
        expected = [_parse_expected(text) for text in expect or ()]
        keys = [read_key(path) for path in key_file or ()]
        with _progress(files) as progress:
            verdict = verify(files, keys=keys, expected=expected, progress=progress)
    except ValueError as error:
        _give_up(str(error))
    except OSError as error:
        _give_up(f"{error.filename or 'a file'}: {error.strerror or error}")
    typer.echo(_json(verdict) if as_json else as_text(verdict))
    raise typer.Exit(0 if verdict.valid else _BROKEN)


def as_text(verdict: Verdict) -> str:
    """A line for each problem and note, and one for each log."""
    lines = [*(_line(each) for each in verdict.problems)]
    if verdict.found > len(verdict.problems):
        lines.append(f"and {verdict.found - len(verdict.problems)} more")
    lines += [_line(each, "note: ") for each in verdict.notes]
    return "\n".join([*lines, *(_summary(each) for each in verdict.logs), _conclusion(verdict)])


def _line(problem: Problem, kind: str = "") -> str:
    place = f"{problem.file}:{problem.line}" if problem.line else problem.file
    return f"{place}: {kind}{problem.message}" if place else f"{kind}{problem.message}"


def _summary(report: LogReport) -> str:
    files = f"file {report.first_file}"
    if report.last_file != report.first_file:
        files = f"files {report.first_file} to {report.last_file}"
    end = "ended in order" if report.closed else "with an open end"
    sealed = " sealed by a key," if report.keyed else ""
    lost = f", {report.lost} records lost" if report.lost else ""
    name = report.log or "of unknown name"
    return (
        f"log {name}, {files}:{sealed} {report.lines} lines, {report.records} records{lost}, {end} "
        f"at {report.seq}:{report.chain}"
    )


def _conclusion(verdict: Verdict) -> str:
    if not verdict.valid:
        return f"not whole: {verdict.found} {'problem' if verdict.found == 1 else 'problems'}"
    if any(not report.closed for report in verdict.logs):
        return "whole, as far as it goes: compare the open end with /-/status (--expect SEQ:CHAIN)"
    return "whole"


def _json(verdict: Verdict) -> str:
    """`{"valid", "found", "bytes", "problems": [{file, line, message}], "notes": [...], "logs": [...]}`."""
    body = {"valid": verdict.valid, **msgspec.to_builtins(verdict)}
    return msgspec.json.format(msgspec.json.encode(body)).decode()


def _parse_expected(text: str) -> Expected:
    seq, colon, chain = text.partition(":")
    try:
        if not colon or not seq.isdecimal() or len(chain) != 64:
            raise ValueError
        return Expected(int(seq), bytes.fromhex(chain))
    except ValueError:
        raise ValueError(f"--expect {text!r} is not SEQ:CHAIN, as audit.seq and audit.chain in /-/status") from None


def _give_up(message: str) -> None:
    typer.echo(f"tidegate audit verify: {message}", err=True)
    raise typer.Exit(_UNUSABLE)


@contextmanager
def _progress(files: list[Path]) -> Iterator[Progress | None]:
    """A bar, where somebody looks and it may take longer than two seconds."""
    sizes = {path: os.stat(path).st_size for path in files}
    if sum(sizes.values()) < _LARGE or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    with Bar(BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=sum(sizes.values()))
        done = dict.fromkeys(files, 0)

        def show(path: Path, position: int) -> None:
            done[path] = position
            bar.update(task, completed=sum(done.values()))

        yield show
