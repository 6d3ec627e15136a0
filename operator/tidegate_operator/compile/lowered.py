"""What the passes hand to the compiler: entries in force, with what was found on the way."""

from dataclasses import dataclass, field

from tidegate_operator.compile.compiled import AnyEntry
from tidegate_operator.verdicts import Finding
from tidegate_operator.world import ObjectKey


@dataclass(slots=True)
class Lowered:
    """The output as it grows. `errors` make Accepted False, `unresolved` make ResolvedRefs False."""

    entries: dict[ObjectKey, AnyEntry] = field(default_factory=dict)
    errors: dict[ObjectKey, tuple[Finding, ...]] = field(default_factory=dict)
    unresolved: dict[ObjectKey, tuple[Finding, ...]] = field(default_factory=dict)
    credentials: dict[str, bytes] = field(default_factory=dict, repr=False)
