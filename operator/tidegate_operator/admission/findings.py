"""What can be said of a change, and what follows from it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tidegate_operator.world import ObjectKey, Resource


class Topic(StrEnum):
    """What a finding is about; whether it denies is chosen for each."""

    CONFLICT = "conflict"
    """A route claims what another one answers."""
    REFERENCE = "reference"
    """Something that the object names is not there, or does not permit it."""
    DANGLING = "dangling"
    """Other objects would name in vain what the change takes away."""
    LOCKOUT = "lockout"
    """Somebody could call a route, and nobody could any more."""
    CYCLE = "cycle"
    """Parents of quotas lead back to where they began."""
    INVALID = "invalid"
    """The compiler would refuse the object; the form in force would stay."""
    NOTE = "note"
    """Valid, and perhaps not meant."""


DEFAULT_DENIED = frozenset({Topic.LOCKOUT})


class Operation(StrEnum):
    """Of AdmissionReview."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one object. `before` is None where it is created, `after` where it is deleted.

    `insists`: its author has seen the warnings and wants it all the same (see ANNOTATION).
    """

    operation: Operation
    key: ObjectKey
    before: Resource | None
    after: Resource | None
    insists: bool = False


ANNOTATION = "tidegate.dev/admission"
"""With the value `Warn` nothing is denied, only said."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say of a change; `old`: it was so before, and the change does not mend it."""

    topic: Topic
    message: str
    old: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server is told."""

    allowed: bool
    warnings: tuple[str, ...] = ()
    message: str = ""
    topics: tuple[Topic, ...] = ()


MOST_WARNINGS = 8
# The API server cuts what is longer when all together is more than 4096 characters.
_LONGEST = 400


def answer(change: Change, found: Iterable[Finding], denied: frozenset[Topic]) -> Answer:
    """Denies where a topic of `denied` is found. A deletion is never denied: a namespace that is deleted, or a folder
    that is pruned, goes in any order."""
    findings = tuple(found)
    topics = tuple(sorted({one.topic for one in findings}))
    may_deny = change.operation is not Operation.DELETE and not change.insists
    grave = [one for one in findings if may_deny and one.topic in denied and not one.old]
    if grave:
        told = "; ".join(_cut(one.message) for one in grave[:MOST_WARNINGS])
        hint = f"to do it all the same, set the annotation {ANNOTATION}: Warn"
        return Answer(False, _listed(one for one in findings if one not in grave), f"{told}; {hint}", topics)
    return Answer(True, _listed(findings), topics=topics)


def _listed(findings: Iterable[Finding]) -> tuple[str, ...]:
    messages = list(dict.fromkeys(_cut(one.message) for one in findings))
    more = len(messages) - MOST_WARNINGS
    rest = (f"and {more} more: `tidegate validate` tells all",) if more > 0 else ()
    return (*messages[:MOST_WARNINGS], *rest)


def _cut(message: str) -> str:
    # RFC 7234 warn-text, in which warnings travel, has no line breaks.
    plain = " ".join(message.split())
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"
