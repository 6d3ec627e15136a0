"""The option `--cluster-fact NAME=VALUE` of every command that compiles for one cluster."""

from typing import Annotated

import typer

from tidegate_dataplane.snapshot.entries import ClusterFacts
from tidegate_operator.offline.validation import cluster_facts

ClusterFact = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="What holds of the cluster: name, cloud, region, jurisdiction or a label (repeatable).",
    ),
]


def read_facts(options: list[str] | None) -> ClusterFacts:
    """The facts of `NAME=VALUE` options; raises typer.BadParameter for anything else."""
    pairs: dict[str, str] = {}
    for option in options or ():
        name, equals, value = option.partition("=")
        if not (name and equals and value):
            raise typer.BadParameter("write NAME=VALUE, such as cloud=azure", param_hint="--cluster-fact")
        pairs[name] = value
    return cluster_facts(pairs)
