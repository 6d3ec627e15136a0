"""Pass 'place': does an object take effect in this cluster?"""

from collections.abc import Mapping

from tidegate_dataplane.snapshot.entries import ClusterFacts


def is_placed(selector: Mapping[str, str], cluster: ClusterFacts) -> bool:
    """Whether every fact that the selector names holds. A fact that the operator was not told never holds."""
    return not selector or all(_fact(cluster, name) == value for name, value in selector.items())


def _fact(cluster: ClusterFacts, name: str) -> str | None:
    match name:
        case "name":
            known = cluster.name
        case "cloud":
            known = cluster.cloud
        case "region":
            known = cluster.region
        case "jurisdiction":
            known = cluster.jurisdiction
        case _:
            return cluster.labels.get(name)
    return known or None
