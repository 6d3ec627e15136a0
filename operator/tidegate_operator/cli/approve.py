"""`tidegate approve NAMESPACE/SUBSCRIPTION`: the AIApproval to apply or to commit."""

import asyncio
import os
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
import yaml
from kubernetes.aio.config import ConfigException

from tidegate_dataplane.snapshot.entries import SubscriptionEntry
from tidegate_operator.approving import approval_for, end_of
from tidegate_operator.compile.accept import Judged, judge
from tidegate_operator.conditions import ConditionStatus, ConditionType, parse_status
from tidegate_operator.ingest import CustomObject, seen_object
from tidegate_operator.kube import API_FAILURES, Api, ApiError
from tidegate_operator.manifests import load_paths, to_world
from tidegate_operator.printable import printable
from tidegate_operator.resources import RESOURCES
from tidegate_operator.world import Facts, Kind, ObjectKey, Resource

_UNUSABLE = 2


def approve(
    subscription: Annotated[
        str, typer.Argument(metavar="NAMESPACE/SUBSCRIPTION", help="The AISubscription to approve.")
    ],
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="When access ends: 2027-01-31T00:00:00Z, or 90d from now.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="Read the subscription from this folder or file.")
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Read it from this cluster; default: $KUBECONFIG, ~/.kube/config."),
    ] = None,
) -> None:
    """Print the AIApproval that grants a subscription exactly what it asks for now.

    `tidegate approve team-a/search-chat | kubectl apply -f -` approves with your own rights; with --dir the output is a
    file to commit. What is granted is said on stderr: read it.
    """
    namespace, slash, name = subscription.partition("/")
    if not (namespace and slash and name):
        _refuse("write NAMESPACE/SUBSCRIPTION, such as team-a/search-chat")
    if directory is not None and kubeconfig is not None:
        _refuse("give --dir or --kubeconfig, not both")
    try:
        not_after = None if until is None else end_of(until, time.time())
    except ValueError as error:
        _refuse(f"--until: {error}")
    key = ObjectKey(Kind.SUBSCRIPTION, namespace, name)
    if directory is not None:
        resource = _from_folder(key, directory)
    else:
        file = kubeconfig or _default_kubeconfig()
        if not file.is_file():
            _refuse(f"there is no {file}: give --kubeconfig, or --dir for a folder")
        resource, doubt = asyncio.run(_from_cluster(key, file))
        if doubt:
            typer.echo(f"warning: {printable(doubt)}", err=True)
    content = _content(judge(resource, Facts()))
    reason = printable(str(resource.spec.get("reason", "")))
    typer.echo(
        f"{key}: AIConsumer {content.consumer} asks for plan {content.plan} of AIRoute {content.route}: {reason}",
        err=True,
    )
    typer.echo(yaml.safe_dump(approval_for(content, not_after), sort_keys=False), nl=False)


def _from_folder(key: ObjectKey, directory: Path) -> Resource:
    try:
        world = to_world(load_paths([directory]))
    except FileNotFoundError as error:
        _refuse(str(error))
    resource = world.resources.get(key)
    if resource is None:
        declared = sorted(f"{one.namespace}/{one.name}" for one in world.resources if one.kind is Kind.SUBSCRIPTION)
        _refuse(f"{key} is not in {directory}; there are: {', '.join(declared) or 'none'}")
    return resource


async def _from_cluster(key: ObjectKey, kubeconfig: Path) -> tuple[Resource, str]:
    """The subscription, and what the operator has against it."""
    try:
        api = await Api.connect(kubeconfig)
    except (ConfigException, OSError) as error:
        _refuse(f"{kubeconfig}: {error}")
    try:
        found = await api.get(RESOURCES[key.kind].path(key.namespace, key.name), CustomObject)
    except ApiError as error:
        _refuse(f"{key} does not exist" if error.missing else str(error))
    except API_FAILURES as error:
        _refuse(f"the API server does not answer: {error or type(error).__name__}")
    finally:
        await api.close()
    condition = parse_status(found.status).condition(ConditionType.RESOLVED_REFS)
    doubtful = condition is not None and condition.status == ConditionStatus.FALSE
    return seen_object(key.kind, found).resource, condition.message if condition is not None and doubtful else ""


def _content(judged: Judged) -> SubscriptionEntry:
    if not isinstance(judged.content, SubscriptionEntry):
        said = "; ".join(f"{finding.field}: {finding.message}" for finding in judged.errors)
        typer.echo(f"tidegate approve: {judged.resource.key} is not valid: {said}", err=True)
        raise typer.Exit(1)
    return judged.content


def _default_kubeconfig() -> Path:
    named = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(named) if named else Path.home() / ".kube" / "config"


def _refuse(message: str) -> NoReturn:
    typer.echo(f"tidegate approve: {message}", err=True)
    raise typer.Exit(_UNUSABLE)
