"""Many names in few words: `team-a/search-* (312 consumers)`."""

import re
from collections.abc import Collection, Iterable, Mapping

from tidegate_operator.difference.effect import Consumers

_FEW = 3
_SHORTEST = 3


class Naming:
    """Knows every consumer of both sides, so that it can say `every consumer of team-a`."""

    def __init__(self, names: Iterable[str]) -> None:
        self._all: dict[str, set[str]] = {}
        for name in names:
            if name:
                self._all.setdefault(name.partition("/")[0], set()).add(name)
        self._total = sum(map(len, self._all.values()))

    def consumers(self, names: Iterable[str]) -> Consumers:
        """These consumers; "" is a caller without a credential."""
        found = tuple(sorted(set(names)))
        return Consumers(self._label(found), len(found), found)

    def _label(self, names: tuple[str, ...]) -> str:
        nobody = ["callers without a credential"] if names[:1] == ("",) else []
        own = names[len(nobody) :]
        by_namespace: dict[str, list[str]] = {}
        for name in own:
            by_namespace.setdefault(name.partition("/")[0], []).append(name)
        if len(own) == self._total and len(own) > _FEW:
            return " and ".join([f"every consumer ({len(own)})", *nobody])
        if len(by_namespace) > _FEW:
            return " and ".join([f"{len(own)} consumers of {len(by_namespace)} namespaces", *nobody])
        groups = [self._of_namespace(namespace, found) for namespace, found in by_namespace.items()]
        return " and ".join([", ".join(groups), *nobody] if groups else nobody)

    def _of_namespace(self, namespace: str, names: list[str]) -> str:
        known = self._all.get(namespace, set())
        if len(names) <= _FEW:
            return ", ".join(names)
        if len(names) == len(known):
            return f"every consumer of {namespace} ({len(names)})"
        prefix = shared_prefix(names)
        if prefix:
            alike = sum(name.startswith(prefix) for name in known)
            count = f"{len(names)} of {alike}" if alike > len(names) else str(len(names))
            return f"{prefix}* ({count} consumers)"
        return f"{len(names)} of {len(known)} consumers of {namespace} ({names[0]} and others)"


def shared_prefix(names: Collection[str]) -> str:
    """`team-a/search-` of names that begin so; "" where they have too little in common."""
    first, last = min(names), max(names)
    same = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    common = first[:same]
    namespace, slash, name = common.partition("/")
    cut = re.match(r".*[-._]", name)
    stem = cut[0] if cut else name
    return f"{namespace}/{stem}" if slash and len(stem) >= _SHORTEST else ""


def few(names: Iterable[str], most: int = _FEW) -> str:
    """All of a few names; of more the first ones, and how many there are besides."""
    found = list(names)
    if len(found) <= most:
        return ", ".join(found)
    prefix = shared_prefix(found)
    if prefix:
        return f"{prefix}* ({len(found)})"
    return f"{', '.join(found[:most])} and {len(found) - most} more"


def by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The most frequent first."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
