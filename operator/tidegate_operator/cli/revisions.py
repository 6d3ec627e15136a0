"""`tidegate revisions`: what was published, when and why, and what data planes run."""

from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from tidegate_operator.cli.releasing import (
    FAILED,
    ContextOption,
    GatewayOption,
    KubeconfigOption,
    NamespaceOption,
    at_the_api,
    gateway_of,
)
from tidegate_operator.compile.timestamps import format_timestamp
from tidegate_operator.release.history import Record, Why
from tidegate_operator.release.remote import Released, read_released
from tidegate_operator.release.stage import Phase

_SHOWN = 2


class Output(StrEnum):
    """How revisions are written."""

    TABLE = "table"
    JSON = "json"


def revisions(
    revision: Annotated[int | None, typer.Argument(help="Show all that is known of this one.")] = None,
    output: Annotated[Output, typer.Option(help="For people or for programs.")] = Output.TABLE,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    namespace: NamespaceOption = "tidegate-system",
    gateway: GatewayOption = "default",
) -> None:
    """List the kept revisions, the newest first; any of them can be rolled back to."""
    found = at_the_api(kubeconfig, context, "revisions", lambda api: read_released(api, gateway_of(gateway, namespace)))
    if not found.history.revisions:
        typer.echo(f"tidegate revisions: no revision of gateway {gateway} is kept in {namespace}", err=True)
        raise typer.Exit(FAILED)
    if revision is not None:
        record = found.history.find(revision)
        if record is None:
            kept = ", ".join(str(each.revision) for each in found.history.revisions)
            typer.echo(f"tidegate revisions: revision {revision} is not kept; kept are {kept}", err=True)
            raise typer.Exit(FAILED)
        typer.echo(
            msgspec.json.encode(_json(record, found)).decode() if output is Output.JSON else _whole(record, found)
        )
        return
    if output is Output.JSON:
        typer.echo(msgspec.json.encode(as_json(found)).decode())
        return
    console = Console()
    console.print(as_table(found))
    for line in notes(found):
        console.print(line, highlight=False, markup=False)


def as_json(found: Released) -> dict[str, Any]:
    """All of it, for programs."""
    hold, stage = found.hold, found.stage
    return {
        "revisions": [_json(record, found) for record in found.history.revisions],
        "pinnedTo": found.pinned or None,
        "frozen": None if hold.freeze is None else {"reason": hold.freeze.reason, "until": _time(hold.freeze.until)},
        "rollout": None if stage.phase is Phase.IDLE else stage,
        "faults": list(hold.faults),
    }


def as_table(found: Released) -> Table:
    """One row for each revision."""
    table = Table(box=None, pad_edge=False)
    for title in ("REVISION", "PUBLISHED", "WHAT CHANGED", "CONTENT", "DATA PLANES"):
        table.add_column(title, overflow="fold")
    for record in found.history.revisions:
        moment = format_timestamp(record.at).replace("T", " ")
        table.add_row(str(record.revision), moment, summary(record), record.digest[:12], planes_on(record, found))
    return table


def summary(record: Record) -> str:
    """What changed in a few words."""
    named = [str(change) for change in record.changed[:_SHOWN]]
    more = record.count - len(named)
    text = ", ".join(named) + (f" and {more} more" if named and more > 0 else "")
    if record.why is Why.FOUND:
        text = "(found when an operator began)"
    prefix = _because(record)
    commits = f" [{', '.join(commit[:12] for commit in record.commits)}]" if record.commits else ""
    return f"{prefix}{text or 'nothing that is declared'}{commits}"


def planes_on(record: Record, found: Released) -> str:
    """How many ready data planes run it."""
    if found.planes is None:
        return "?"
    count = found.planes.revisions.get(str(record.revision), 0)
    return f"{count}/{found.planes.ready}" if count else ""


def notes(found: Released) -> list[str]:
    """What must be known besides."""
    lines = []
    hold, stage = found.hold, found.stage
    if found.pinned and hold.rollback is not None:
        lines.append(f"Rolled back to revision {found.pinned}{_said(hold.rollback.by, hold.rollback.reason)}.")
        if found.history.find(found.pinned) is None and found.history.of_hold(hold.rollback.id) is None:
            lines.append(f"But revision {found.pinned} is not kept: nothing holds. Roll back to one of those above.")
    if hold.freeze is not None:
        until = f" until {_time(hold.freeze.until)}" if hold.freeze.until is not None else ""
        lines.append(f"Frozen{until}{_said(hold.freeze.by, hold.freeze.reason)}: nothing new is published.")
    if stage.phase is Phase.RUNNING:
        lines.append(f"Revision {stage.revision} is tried on {', '.join(stage.planes)}.")
    if stage.phase is Phase.STOPPED:
        lines.append(f"The roll-out of revision {stage.revision} was stopped: {stage.message}")
    return lines + [f"Not understood, so it changes nothing: {fault}" for fault in hold.faults]


def _because(record: Record) -> str:
    if record.why is Why.ROLLBACK:
        return f"rollback to {record.of}{_said(record.by, record.reason)}; "
    if record.why is Why.CLOSING:
        return f"closings only{_said(record.by, record.reason)}; "
    if record.why is Why.STOPPED:
        return f"roll-out of {record.of} stopped: {record.reason}; "
    return ""


def _whole(record: Record, found: Released) -> str:
    lines = [
        f"revision:    {record.revision}",
        f"published:   {format_timestamp(record.at)}",
        f"why:         {_because(record).removesuffix('; ') or 'what is declared changed'}",
        f"content:     {record.digest}",
        f"shards:      {len(record.shards)}, {sum(shard.size for shard in record.shards):,} bytes",
        f"data planes: {planes_on(record, found) or 'none'}",
        *([f"commits:     {', '.join(record.commits)}"] if record.commits else []),
        f"changed:     {record.count}",
        *(f"  {change}" for change in record.changed),
    ]
    more = record.count - len(record.changed)
    return "\n".join(lines + ([f"  and {more} more"] if more > 0 else []))


def _json(record: Record, found: Released) -> dict[str, Any]:
    return {
        "revision": record.revision,
        "time": _time(record.at),
        "why": record.why,
        "of": record.of or None,
        "reason": record.reason,
        "by": record.by,
        "digest": record.digest,
        "count": record.count,
        "changed": record.changed,
        "commits": record.commits,
        "dataPlanes": None if found.planes is None else found.planes.revisions.get(str(record.revision), 0),
    }


def _time(seconds: int | None) -> str | None:
    return None if seconds is None else format_timestamp(seconds)


def _said(by: str, reason: str) -> str:
    return (f" by {by}" if by else "") + (f" ({reason})" if reason else "")
