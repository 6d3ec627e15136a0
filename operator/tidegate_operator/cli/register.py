"""The table of subcommands. Nothing is imported until a command is called, so that `tidegate` starts at once."""

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Subcommand(NamedTuple):
    """Where a subcommand's function stands, and its line in `tidegate --help`."""

    module: str
    function: str
    summary: str


COMMANDS: dict[str, Subcommand] = {
    "access": Subcommand("access", "access", "List what a consumer can do."),
    "approve": Subcommand("approve", "approve", "Print the AIApproval that grants a subscription."),
    "audit": Subcommand("audit", "audit", "Check that an audit log is whole."),
    "check": Subcommand("check", "check", "Validate, test and lint a folder, in one verdict."),
    "compile": Subcommand("compile", "compile_folder", "Write the snapshot of a folder to a file."),
    "diff": Subcommand("diff", "diff", "Say what a change of manifests does, before it is merged."),
    "explain": Subcommand("explain", "explain", "Say what the gateway would decide about a call, and why."),
    "fleet": Subcommand("fleet", "fleet", "Show what several clusters run, and where they differ."),
    "freeze": Subcommand("freezing", "freeze", "Publish nothing new until `tidegate unfreeze`."),
    "keys": Subcommand("keys", "keys", "Make API keys, check them, and list their last use."),
    "lint": Subcommand("lint", "lint", "Find what is valid and probably not meant."),
    "operator": Subcommand("operator", "operator", "Publish a cluster's objects to its data planes."),
    "revisions": Subcommand("revisions", "revisions", "List what was published, and what data planes run."),
    "rollback": Subcommand("rollback", "rollback", "Publish an earlier revision until Git agrees with it."),
    "serve": Subcommand("serve", "serve", "Run the gateway on this machine from a folder, without a cluster."),
    "subscriptions": Subcommand("subscriptions", "subscriptions", "List the subscriptions that wait for an approval."),
    "test": Subcommand("policy_tests", "policy_tests", "Run the tests of policies (*.test.yaml) of a folder."),
    "unfreeze": Subcommand("freezing", "unfreeze", "Publish again what is declared."),
    "usage": Subcommand("usage", "usage", "Add up what was used and what it cost, from audit logs."),
    "validate": Subcommand("validate", "validate", "Judge manifests as a cluster would, without one."),
    "who-can": Subcommand("who_can", "who_can", "List the consumers that are let in for a model."),
}


def register(app: typer.Typer) -> None:
    """Give `app` every subcommand."""
    app.info.cls = LazyGroup
    app.callback()(_tidegate)


class LazyGroup(TyperGroup):
    """Lists commands from the table and imports only the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """What `--help` needs: the name and one line."""
        entry = COMMANDS.get(cmd_name)
        return TyperCommand(cmd_name, help=entry.summary) if entry else None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """The command that was called, with its own options."""
        name, stub, rest = super().resolve_command(ctx, args)
        return name, _load(name, COMMANDS[name]) if name in COMMANDS else stub, rest


def _load(name: str, entry: Subcommand) -> Any:
    function = getattr(import_module(f"tidegate_operator.cli.{entry.module}"), entry.function)
    if isinstance(function, typer.Typer):  # a group of commands
        command = typer.main.get_command(function)
        command.name = name
        return command
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name)(function)
    command = typer.main.get_command(single)
    command.name = name
    return command


def _tidegate() -> None:
    """An AI gateway declared as Kubernetes resources and delivered by Git."""
