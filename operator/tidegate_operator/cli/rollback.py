"""`tidegate rollback`: publish an earlier revision again, and keep it until Git agrees."""

import asyncio
import time
from typing import Annotated

import typer

from tidegate_operator.cli.releasing import (
    FAILED,
    ByOption,
    ContextOption,
    GatewayOption,
    KubeconfigOption,
    NamespaceOption,
    ReasonOption,
    at_the_api,
    gateway_of,
    whoever,
)
from tidegate_operator.cli.revisions import planes_on, summary
from tidegate_operator.compile.timestamps import format_timestamp
from tidegate_operator.kube import Api
from tidegate_operator.outputs import Gateway
from tidegate_operator.release.history import Record
from tidegate_operator.release.hold import ROLLBACK_KEY, Rollback, written
from tidegate_operator.release.remote import Released, read_released, write_hold

_POLL_SECONDS = 0.25


def rollback(
    revision: Annotated[int | None, typer.Argument(help="One of those that `tidegate revisions` lists.")] = None,
    reason: ReasonOption = "",
    release: Annotated[bool, typer.Option("--release", help="Publish again what is declared.")] = False,
    by: ByOption = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until it is published.")] = 30.0,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    namespace: NamespaceOption = "tidegate-system",
    gateway: GatewayOption = "default",
) -> None:
    """Publish an earlier revision again. What is declared waits until Git agrees with it, or until --release.

    Credentials that were revoked since stay revoked.
    """
    if (revision is None) == (not release):
        typer.echo("tidegate rollback: give a revision, or --release; see `tidegate revisions`", err=True)
        raise typer.Exit(FAILED)
    where = gateway_of(gateway, namespace)
    if revision is None:
        at_the_api(kubeconfig, context, "rollback", lambda api: write_hold(api, where, ROLLBACK_KEY, None))
        typer.echo("Released: what is declared is published again.")
        return
    # To the microsecond: the same rollback, wished again after Git agreed with the first, is another wish.
    now = time.time()
    moment = format_timestamp(int(now)).replace("Z", f".{int(now % 1 * 1_000_000):06d}Z")
    wish = Rollback(revision, reason, whoever(by), moment)
    at_the_api(kubeconfig, context, "rollback", lambda api: _roll_back(api, where, wish, wait))


async def _roll_back(api: Api, gateway: Gateway, wish: Rollback, wait: float) -> None:
    found = await read_released(api, gateway)
    if found.history.find(wish.revision) is None:
        kept = ", ".join(str(record.revision) for record in found.history.revisions) or "none"
        typer.echo(f"tidegate rollback: revision {wish.revision} is not kept; kept are {kept}", err=True)
        raise typer.Exit(FAILED)
    before = found.history.revisions[0]
    fields = {"revision": wish.revision, "reason": wish.reason, "by": wish.by, "at": wish.at}
    await write_hold(api, gateway, ROLLBACK_KEY, written(fields))
    typer.echo(f"Rolling back to revision {wish.revision}.")
    if not wait:
        return
    record = await _published(api, gateway, wish, before, wait)
    if record is None:
        typer.echo("It is wished, and not published yet: is an operator running? See `tidegate revisions`.", err=True)
        raise typer.Exit(1)
    typer.echo("It is in force until Git agrees with it, or until `tidegate rollback --release`.")


async def _published(api: Api, gateway: Gateway, wish: Rollback, before: Record, wait: float) -> Record | None:
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        found = await read_released(api, gateway)
        record = found.history.of_hold(wish.id)
        if record is not None:
            typer.echo(f"Revision {record.revision} is published: {summary(record)}.{_on(record, found)}")
            return record
        if found.history.fulfilled == wish.id:
            typer.echo("What is declared says the same as that revision: there is nothing to hold.")
            return before
        if before.digest == (target := found.history.find(wish.revision) or before).digest:
            typer.echo(f"Revision {before.revision} has the same content, and stays.")
            return target
        await asyncio.sleep(_POLL_SECONDS)
    return None


def _on(record: Record, found: Released) -> str:
    planes = planes_on(record, found)
    return f" It runs on {planes} data planes." if planes not in ("", "?") else ""
