"""What the commands about revisions share: how the cluster is reached, and how a revision is shown."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from kubernetes.aio.config import ConfigException

from tidegate_operator.kube import API_FAILURES, Api, ApiError
from tidegate_operator.outputs import Gateway
from tidegate_operator.release.remote import connect

FAILED = 2
T = TypeVar("T")

KubeconfigOption = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="Default: KUBECONFIG, then ~/.kube/config.")
]
ContextOption = Annotated[str | None, typer.Option(help="Context of the kubeconfig. Default: the current one.")]
NamespaceOption = Annotated[str, typer.Option(help="Where the operator publishes.")]
GatewayOption = Annotated[str, typer.Option(help="Name of the gateway.")]
ByOption = Annotated[str | None, typer.Option(help="Who wishes so. Default: your user name on this machine.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it is shown at every object that waits.")]


def at_the_api(kubeconfig: Path | None, context: str | None, command: str, work: Callable[[Api], Awaitable[T]]) -> T:
    """Do `work`; says what went wrong and exits otherwise."""

    async def run() -> T:
        api = await connect(kubeconfig, context)
        try:
            return await work(api)
        finally:
            await api.close()

    try:
        return asyncio.run(run())
    except ConfigException as error:
        message = f"{error}; give --kubeconfig or --context"
    except ApiError as error:
        hint = " (charts/tidegate/rbac/people.yaml has the role tidegate-releaser)" if error.status == 403 else ""
        message = f"{error}{hint}"
    except API_FAILURES as error:
        message = f"the API server does not answer: {error or type(error).__name__}"
    typer.echo(f"tidegate {command}: {message}", err=True)
    raise typer.Exit(FAILED)


def gateway_of(gateway: str, namespace: str) -> Gateway:
    return Gateway(gateway, namespace)


def whoever(by: str | None) -> str:
    """A name for who wishes something."""
    if by is not None:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
