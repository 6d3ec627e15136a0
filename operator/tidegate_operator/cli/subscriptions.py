"""`tidegate subscriptions DIR`: who in a folder waits for access."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from tidegate_operator.cli.cluster_fact import ClusterFact, read_facts
from tidegate_operator.compile import CompileError, compile_world
from tidegate_operator.compile.timestamps import format_timestamp
from tidegate_operator.conditions import approval_reason
from tidegate_operator.manifests import load_paths, to_world
from tidegate_operator.printable import printable
from tidegate_operator.verdicts import ApprovalReason, Verdict
from tidegate_operator.world import Facts, Kind, ObjectKey, Resource

_TITLES = ("SUBSCRIPTION", "CONSUMER", "ROUTE", "PLAN", "STATE", "EXPIRES", "REASON")


def subscriptions(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of resources, or one file.")],
    every: Annotated[bool, typer.Option("--all", help="Those that wait for nobody, too.")] = False,
    cluster_fact: ClusterFact = None,
) -> None:
    """List the subscriptions that wait for an approval. In a cluster: kubectl get aisubscriptions -A."""
    try:
        world = to_world(load_paths([directory]))
        verdicts = compile_world(world, Facts(cluster=read_facts(cluster_fact))).verdicts
    except (FileNotFoundError, CompileError) as error:
        typer.echo(f"tidegate subscriptions: {error}", err=True)
        raise typer.Exit(2) from None
    rows = [
        (key, world.resources[key], state, verdict)
        for key, state, verdict in _states(verdicts)
        if every or state is ApprovalReason.PENDING
    ]
    total = sum(key.kind is Kind.SUBSCRIPTION for key in verdicts)
    if not rows:
        typer.echo("no subscription" if total == 0 else f"nothing waits for an approval; {total} in all (--all)")
        return
    for line in _aligned([_TITLES, *(tuple(_row(*row)) for row in rows)]):
        typer.echo(line)
    for key, _, state, _ in rows:
        if state is ApprovalReason.PENDING:
            typer.echo(f"to approve: tidegate approve {key.namespace}/{key.name} --dir {directory}")


def _states(verdicts: Mapping[ObjectKey, Verdict]) -> Iterator[tuple[ObjectKey, ApprovalReason | None, Verdict]]:
    """Every subscription with its state now; None for one that is not valid, or not placed in this cluster."""
    now = time.time()
    for key, verdict in sorted(verdicts.items()):
        if key.kind is Kind.SUBSCRIPTION:
            yield key, None if verdict.approval is None else approval_reason(verdict.approval, now), verdict


def _row(key: ObjectKey, resource: Resource, state: ApprovalReason | None, verdict: Verdict) -> Iterator[str]:
    spec = resource.spec
    route = _part(spec, "routeRef")
    yield f"{key.namespace}/{key.name}"
    yield str(_part(spec, "consumerRef").get("name", ""))
    yield f"{route.get('namespace') or key.namespace}/{route.get('name', '')}"
    yield str(spec.get("plan", ""))
    yield str(state) if state is not None else ("not placed here" if verdict.accepted else "not valid")
    end = verdict.approval.not_after if verdict.approval is not None else None
    yield "never" if end is None else format_timestamp(end)
    yield str(spec.get("reason", ""))


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Columns as kubectl prints them; what others wrote is made fit for a terminal."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        yield "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _part(spec: Mapping[str, object], name: str) -> Mapping[str, object]:
    part = spec.get(name)
    return part if isinstance(part, Mapping) else {}
