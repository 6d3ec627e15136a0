"""`tidegate explain DIR`: what the gateway would decide about a call, why, and what would change it."""

from enum import StrEnum
from typing import Annotated

import msgspec
import typer

from tidegate_dataplane.engine.explain_text import render
from tidegate_dataplane.proxy.explain import ExplainQuestion, answer
from tidegate_dataplane.snapshot.entries import Method, Operation
from tidegate_operator.cli.cluster_fact import ClusterFact
from tidegate_operator.cli.loading import (
    PLATFORM_NAMESPACE,
    Directory,
    PlatformNamespace,
    full_name,
    pairs,
    read_folder,
    refuse,
)

_DENIED = 1


class Output(StrEnum):
    """How the answer is written."""

    TEXT = "text"
    JSON = "json"


def explain(
    directory: Directory,
    model: Annotated[str, typer.Option(help="The model that is asked for.")],
    consumer: Annotated[
        str, typer.Option("--as", metavar="[NS/]CONSUMER", help="Who calls; taken for granted, no key is needed.")
    ] = "",
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="'NAME: VALUE'", help="A header of the call (repeatable); an API key says who calls."),
    ] = None,
    operation: Annotated[Operation | None, typer.Option(help="What is asked of the model; Chat when absent.")] = None,
    path: Annotated[str, typer.Option(help="The path, such as /v1/embeddings, instead of --operation.")] = "",
    host: Annotated[str, typer.Option(help="The host that is called.")] = "",
    at: Annotated[str, typer.Option(metavar="TIME", help="When: RFC 3339, or now.")] = "now",
    source_ip: Annotated[str, typer.Option(metavar="IP", help="Address of the caller.")] = "",
    peer: Annotated[str, typer.Option(metavar="IP", help="Address of the connection, behind a proxy.")] = "",
    method: Annotated[
        str, typer.Option(metavar="APIKey,JWT,MTLS", help="How the caller has proved who it is; all of these.")
    ] = "",
    claim: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A claim of the caller's token (repeatable).")
    ] = None,
    body_bytes: Annotated[int, typer.Option(min=0, help="Size of the body.")] = 0,
    prompt_tokens: Annotated[int, typer.Option(min=0, help="Estimate of the prompt's tokens.")] = 1,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to write the answer.")] = Output.TEXT,
    platform_namespace: PlatformNamespace = PLATFORM_NAMESPACE,
    cluster_fact: ClusterFact = None,
) -> None:
    """Decide about a call as the gateway would, step by step, with file and line of every rule.

    Exit code 0: let in; 1: refused; 2: the arguments cannot be used.
    """
    folder = read_folder("explain", [directory], platform_namespace, cluster_fact)
    try:
        question = ExplainQuestion(
            model=model,
            consumer=full_name(consumer),
            methods=read_methods(method),
            claims=read_claims(claim),
            operation=operation,
            path=path,
            host=host,
            headers=pairs(header, ":", "--header"),
            address=source_ip,
            peer=peer,
            body_bytes=body_bytes,
            time=at,
            prompt_tokens=prompt_tokens,
        )
        explanation = answer(folder.runtime, question)
    except ValueError as error:
        refuse("explain", str(error))
    if output is Output.JSON:
        typer.echo(msgspec.json.format(msgspec.json.encode(explanation)).decode())
    else:
        typer.echo(render(explanation, folder.provenance.text))
    raise typer.Exit(0 if explanation.admitted else _DENIED)


def read_methods(text: str) -> tuple[Method, ...]:
    """Methods from `APIKey,MTLS`; raises ValueError."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in set(Method):
            raise ValueError(f"there is no method {name!r}; there are {', '.join(Method)}")
    return tuple(Method(name) for name in names)


def read_claims(options: list[str] | None) -> dict[str, object]:
    """Claims from `NAME=VALUE`; a value that is JSON (`["a", "b"]`, `3`, `true`) counts as that, else as text."""
    return {name: _json_or_text(value) for name, value in pairs(options, "=", "--claim").items()}


def _json_or_text(value: str) -> object:
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        return value
