"""References to lists, as every section of a policy carries them."""

from collections.abc import Sequence

from tidegate_crds.v1alpha1.lists import ListRef as SpecListRef
from tidegate_dataplane.snapshot.entries import ListKind, ListRef


def list_refs(references: Sequence[SpecListRef] | None, kind: ListKind) -> tuple[ListRef, ...]:
    """In a fixed order, each once."""
    found = set()
    for reference in references or ():
        if reference.config_map_ref is not None:
            found.add((reference.config_map_ref.name, False))
        elif reference.secret_ref is not None:
            found.add((reference.secret_ref.name, True))
    return tuple(ListRef(kind=kind, name=name, secret=secret) for name, secret in sorted(found))
