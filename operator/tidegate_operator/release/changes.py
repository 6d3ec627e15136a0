"""Which objects differ between two contents. Pure."""

import msgspec

from tidegate_operator.compile.compiled import Served
from tidegate_operator.world import Kind, ObjectKey


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """An object that differs. `old` and `new` are generations, None where there is none: then it came, or went.

    Equal generations mean that what follows from its neighbours changed. Of a list (kind "List") nothing but the name
    is known.
    """

    kind: str
    namespace: str
    name: str
    old: int | None = None
    new: int | None = None

    def __str__(self) -> str:
        what = f"{self.kind} {self.namespace}/{self.name}"
        if self.kind == "List":
            return what
        if self.old is None:
            return f"{what} (new)"
        if self.new is None:
            return f"{what} (gone)"
        return (
            f"{what} ({self.old} to {self.new})" if self.old != self.new else f"{what} ({self.new}, by its neighbours)"
        )


def differing(before: Served, after: Served) -> set[ObjectKey]:
    """Objects whose entries are not the same."""
    old, new = before.entries, after.entries
    if old is new:
        return set()
    if len(old) == len(new):
        # After an edit both have the same keys in the same order: to walk them side by side needs no lookup.
        edited = set()
        for (key, before_it), (other, entry) in zip(old.items(), new.items(), strict=True):
            if key is not other and key != other:
                break
            if before_it is not entry and before_it != entry:
                edited.add(key)
        else:
            return edited
    found = {key for key, entry in new.items() if (former := old.get(key)) is not entry and former != entry}
    return found | (old.keys() - new.keys())


def changes(before: Served, after: Served) -> list[Change]:
    """What differs, objects that were edited themselves first."""
    found = [
        Change(key.kind.value, key.namespace, key.name, _generation(before, key), _generation(after, key))
        for key in differing(before, after)
    ]
    lists = {
        Change("List", key.namespace, key.name)
        for key in before.lists.keys() | after.lists.keys()
        if before.lists.get(key) != after.lists.get(key)
    }
    return sorted([*found, *lists], key=lambda each: (each.old == each.new, each.kind, each.namespace, each.name))


def key_of_change(change: Change) -> ObjectKey | None:
    """The object; None for a list."""
    return None if change.kind == "List" else ObjectKey(Kind(change.kind), change.namespace, change.name)


def _generation(served: Served, key: ObjectKey) -> int | None:
    entry = served.entries.get(key)
    return None if entry is None else entry.source.generation
