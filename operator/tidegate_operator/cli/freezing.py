"""`tidegate freeze` and `tidegate unfreeze`: publish nothing new for a while."""

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
from tidegate_operator.compile.durations import parse_duration
from tidegate_operator.compile.timestamps import format_timestamp, parse_timestamp
from tidegate_operator.release.hold import FREEZE_KEY, written
from tidegate_operator.release.remote import write_hold


def freeze(
    reason: ReasonOption = "",
    until: Annotated[
        str, typer.Option(metavar="TIME", help="RFC 3339, such as 2026-11-28T00:00:00Z, or from now on, such as 4h.")
    ] = "",
    by: ByOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    namespace: NamespaceOption = "tidegate-system",
    gateway: GatewayOption = "default",
) -> None:
    """Publish nothing new until `tidegate unfreeze`. Credentials that are revoked meanwhile are closed all the same."""
    now = int(time.time())
    try:
        end = _end(until, now) if until else ""
    except ValueError as error:
        typer.echo(f"tidegate freeze: --until: {error}", err=True)
        raise typer.Exit(FAILED) from None
    text = written({"reason": reason, "by": whoever(by), "at": format_timestamp(now), "until": end}) or "{}"
    where = gateway_of(gateway, namespace)
    at_the_api(kubeconfig, context, "freeze", lambda api: write_hold(api, where, FREEZE_KEY, text))
    typer.echo(
        f"Frozen{f' until {end}' if end else ''}. Objects that change say so; `tidegate unfreeze` lets them through."
    )


def unfreeze(
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    namespace: NamespaceOption = "tidegate-system",
    gateway: GatewayOption = "default",
) -> None:
    """Publish again what is declared."""
    where = gateway_of(gateway, namespace)
    at_the_api(kubeconfig, context, "unfreeze", lambda api: write_hold(api, where, FREEZE_KEY, None))
    typer.echo("Not frozen any more: what is declared is published.")


def _end(text: str, now: int) -> str:
    if text[:1].isdigit() and "-" not in text:
        return format_timestamp(now + parse_duration(text) // 1000)
    end = parse_timestamp(text)
    if end <= now:
        raise ValueError("this is in the past")
    return format_timestamp(end)
