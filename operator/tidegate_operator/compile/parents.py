"""Quotas under quotas: a parent's counters apply wherever those of its children do."""

from collections.abc import Iterator, Mapping

from tidegate_dataplane.snapshot.entries import QuotaEntry, TargetRef
from tidegate_operator.compile.forms import Forms
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


def gaps_with_children(forms: Forms) -> Mapping[ObjectKey, tuple[TargetRef, ...]]:
    """The gaps, each also where the children of a quota that was never valid are attached: they must not be served
    without the larger limit."""
    if not any(key.kind is Kind.QUOTA for key in forms.gaps):
        return forms.gaps
    gaps = dict(forms.gaps)
    for key, entry in forms.quotas.items():
        for ancestor in ancestors(key, forms.quotas):
            if ancestor in gaps:
                gaps[ancestor] = tuple(dict.fromkeys((*gaps[ancestor], *entry.target_refs)))
    return gaps
