"""What the passes hand to the compiler: entries in force, with what was found on the way."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tidegate_dataplane.snapshot.entries import ConsumerEntry, ListPart
from tidegate_dataplane.snapshot.list_key import ListKey
from tidegate_operator.compile.accept import Judged
from tidegate_operator.compile.compiled import AnyEntry
from tidegate_operator.verdicts import Approval, Finding
from tidegate_operator.world import ObjectKey


@dataclass(slots=True)
class Lowered:
    """The output as it grows. `errors` make Accepted False, `unresolved` make ResolvedRefs False, `notes` nothing."""

    entries: dict[ObjectKey, AnyEntry] = field(default_factory=dict)
    lists: dict[ListKey, tuple[ListPart, ...]] = field(default_factory=dict, repr=False)
    errors: dict[ObjectKey, tuple[Finding, ...]] = field(default_factory=dict)
    unresolved: dict[ObjectKey, tuple[Finding, ...]] = field(default_factory=dict)
    notes: dict[ObjectKey, tuple[Finding, ...]] = field(default_factory=dict)
    approvals: dict[ObjectKey, Approval] = field(default_factory=dict)
    credentials: dict[str, bytes] = field(default_factory=dict, repr=False)
    generating: tuple[ConsumerEntry, ...] = field(default=(), repr=False)

    def note_conflicts(
        self, conflicts: Mapping[ObjectKey, tuple[Finding, ...]], judged: Mapping[ObjectKey, Judged]
    ) -> None:
        """Take over the conflicts of valid specs.

        An object whose spec is not valid is told that alone: what its last good form loses now it will not have next
        time, and a status must not change by itself.
        """
        self.errors.update({key: found for key, found in conflicts.items() if judged[key].content is not None})
