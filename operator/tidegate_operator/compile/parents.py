"""Quotas under quotas: a parent's counters apply wherever those of its children do."""

from collections.abc import Iterator, Mapping

from tidegate_dataplane.snapshot.entries import QuotaEntry, RouteEntry
from tidegate_operator.world import Kind, ObjectKey

Quotas = Mapping[ObjectKey, QuotaEntry]


def parent_of(key: ObjectKey, quotas: Quotas) -> ObjectKey | None:
    """The parent that a quota in force names, whether that exists or not."""
    entry = quotas.get(key)
    if entry is None or not entry.parent:
        return None
    return ObjectKey(Kind.QUOTA, *entry.parent.split("/", 1))


def ancestors(key: ObjectKey, quotas: Quotas) -> Iterator[ObjectKey]:
    """Parent, grandparent and so on, each once; the last one may be no quota in force, or `key` itself in a cycle."""
    seen: set[ObjectKey] = set()
    parent = parent_of(key, quotas)
    while parent is not None and parent not in seen:
        yield parent
        seen.add(parent)
        parent = parent_of(parent, quotas)


def applying(route: RouteEntry, quotas: Quotas) -> set[ObjectKey]:
    """The quotas attached to a route, and all above them."""
    attached = {ObjectKey(Kind.QUOTA, *key.split("/", 1)) for key in route.quotas}
    return attached.union(*(ancestors(key, quotas) for key in attached))
