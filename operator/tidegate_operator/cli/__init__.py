"""The command `tidegate`: one module a subcommand, imported only when it is called."""

import sys

import typer

app = typer.Typer(
    name="tidegate",
    help="An AI gateway declared as Kubernetes resources and delivered by Git.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line."""
    from tidegate_operator.cli import register

    register.register(app)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
