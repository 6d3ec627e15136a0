"""`tidegate access CONSUMER DIR`: everything that one consumer may and may not do."""

from typing import Annotated

import msgspec
import typer

from tidegate_dataplane.proxy.explain import read_time
from tidegate_operator.cli.cluster_fact import ClusterFact
from tidegate_operator.cli.explain import Output
from tidegate_operator.cli.loading import (
    PLATFORM_NAMESPACE,
    Directory,
    PlatformNamespace,
    full_name,
    read_folder,
    refuse,
)
from tidegate_operator.inquiry.access import Access
from tidegate_operator.inquiry.access import access as find


def access(
    consumer: Annotated[str, typer.Argument(metavar="[NS/]CONSUMER", help="Whose access.")],
    directory: Directory,
    at: Annotated[str, typer.Option(metavar="TIME", help="When: RFC 3339, or now.")] = "now",
    source_ip: Annotated[str, typer.Option(metavar="IP", help="Address of the caller.")] = "",
    output: Annotated[Output, typer.Option("--output", "-o", help="How to write the answer.")] = Output.TEXT,
    platform_namespace: PlatformNamespace = PLATFORM_NAMESPACE,
    cluster_fact: ClusterFact = None,
) -> None:
    """List every route, model and operation that a consumer can use, with its limits, and why it cannot use others."""
    folder = read_folder("access", [directory], platform_namespace, cluster_fact)
    name = full_name(consumer)
    known = folder.runtime.consumers.get(name)
    if known is None:
        refuse("access", f"there is no AIConsumer {name}; write NAMESPACE/NAME")
    try:
        now = read_time(at)
    except ValueError as error:
        refuse("access", str(error))
    found = find(folder.runtime, known, now=now, address=source_ip)
    if output is Output.JSON:
        typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        typer.echo(as_text(found))


def as_text(found: Access) -> str:
    """What is allowed, with its limits, then what is not, with the reason."""
    lines = [
        f"AIConsumer {found.consumer} can use:" if found.allowed else f"AIConsumer {found.consumer} can use nothing"
    ]
    for use in found.allowed:
        lines.append(f"  AIRoute {use.route}  {use.operation}  {', '.join(use.models)}  by {' or '.join(use.methods)}")
        lines += [f"      {limit}" for limit in use.limits]
    if found.refused:
        lines += ["", "cannot use:"]
    for closed in found.refused:
        lines.append(f"  AIRoute {closed.route}  {closed.operation}  {', '.join(closed.models)}")
        lines.append(f"      {closed.reason}")
    return "\n".join(lines)
