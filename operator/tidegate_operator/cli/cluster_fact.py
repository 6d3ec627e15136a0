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


Clusters = Annotated[
    list[str] | None,
    typer.Option(
        "--cluster",
        metavar="NAME=VALUE,...",
        help="Judge for this cluster: its facts, such as name=prod-eu,cloud=azure (repeatable).",
    ),
]


def read_clusters(options: list[str] | None) -> tuple[ClusterFacts, ...]:
    """The facts of each `--cluster NAME=VALUE,NAME=VALUE`; raises typer.BadParameter for anything else."""
    found: list[ClusterFacts] = []
    for option in options or ():
        try:
            found.append(read_facts([pair.strip() for pair in option.split(",")]))
        except typer.BadParameter:
            words = "write NAME=VALUE,..., such as name=prod-eu,cloud=azure"
            raise typer.BadParameter(words, param_hint="--cluster") from None
    return tuple(found)


def name_of(cluster: ClusterFacts) -> str:
    """What to call a cluster: its name, else all that is known of it."""
    if cluster.name:
        return cluster.name
    own = {"cloud": cluster.cloud, "region": cluster.region, "jurisdiction": cluster.jurisdiction, **cluster.labels}
    return ",".join(f"{name}={value}" for name, value in own.items() if value)
