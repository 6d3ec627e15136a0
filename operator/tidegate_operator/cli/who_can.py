"""`tidegate who-can DIR`: which consumers the gateway would let in for a model."""

import time
from typing import Annotated

import msgspec
import typer

from tidegate_dataplane.proxy.explain import read_time
from tidegate_dataplane.snapshot.entries import Operation
from tidegate_operator.cli.cluster_fact import ClusterFact
from tidegate_operator.cli.explain import Output
from tidegate_operator.cli.loading import (
    PLATFORM_NAMESPACE,
    Directory,
    PlatformNamespace,
    patience,
    read_folder,
    refuse,
)
from tidegate_operator.inquiry.who_can import WhoCan
from tidegate_operator.inquiry.who_can import who_can as find

_MANY = 500


def who_can(
    directory: Directory,
    model: Annotated[str, typer.Option(help="The model that is asked for.")],
    operation: Annotated[Operation, typer.Option(help="What is asked of the model.")] = Operation.CHAT,
    host: Annotated[str, typer.Option(help="The host that is called; absent: every host of every route.")] = "",
    at: Annotated[str, typer.Option(metavar="TIME", help="When: RFC 3339, or now.")] = "now",
    source_ip: Annotated[str, typer.Option(metavar="IP", help="Address of the callers.")] = "",
    output: Annotated[Output, typer.Option("--output", "-o", help="How to write the answer.")] = Output.TEXT,
    platform_namespace: PlatformNamespace = PLATFORM_NAMESPACE,
    cluster_fact: ClusterFact = None,
) -> None:
    """List the consumers that are let in for a model, with method and route, and say how many are not.

    Every consumer is tried by every method that it has a credential for, on every route that serves the model.
    """
    folder = read_folder("who-can", [directory], platform_namespace, cluster_fact)
    try:
        now = read_time(at)
    except ValueError as error:
        refuse("who-can", str(error))
    started = time.perf_counter()
    with patience(f"trying {len(folder.runtime.consumers)} consumers", lengthy=len(folder.runtime.consumers) > _MANY):
        found = find(folder.runtime, model, operation, now=now, address=source_ip, host=host.lower())
    if output is Output.JSON:
        typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        typer.echo(as_text(found, time.perf_counter() - started))


def as_text(found: WhoCan, seconds: float) -> str:
    """A line for each consumer and route, and a summary."""
    if not found.routes:
        return f"nobody: no route serves {found.operation} of '{found.model}'"
    width = max((len(grant.consumer) for grant in found.granted), default=0)
    lines = []
    for grant in found.granted:
        host = f" on {grant.host}" if grant.host else ""
        rule = f", by {grant.rule}" if grant.rule else ""
        lines.append(f"{grant.consumer:<{width}}  {' or '.join(grant.methods)}  AIRoute {grant.route}{host}{rule}")
    if found.anonymous:
        lines.append("everyone, without any credential")
    granted = len({grant.consumer for grant in found.granted})
    routes = "1 route" if found.routes == 1 else f"{found.routes} routes"
    tail = f"{granted} let in, {found.refused} not; {routes} tried in {seconds:.2f} s"
    return "\n".join([*lines, "", tail] if lines else [tail])
