"""A rule, and how its findings are written: one about a value, one about each item of a list."""

from dataclasses import dataclass
from enum import StrEnum

from tidegate_crds.admission.cel import quoted

PLATFORM_NAMESPACE = "__PLATFORM_NAMESPACE__"
"""Stands in texts for the name of the platform namespace."""


class Severity(StrEnum):
    """How bad a finding is; what the API server then does is chosen for each."""

    ERROR = "error"
    CREDENTIAL = "credential"
    WARNING = "warning"
    PRIVILEGE = "privilege"


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that is looked at. `findings` is CEL: a list of texts `field: message`, empty when all is well.

    `message` stands for them where they cannot be told: a message may not depend on the authorizer.
    """

    kind: str
    name: str
    findings: str
    severity: Severity = Severity.ERROR
    message: str = ""


def about(path: str, message: str, *, field: str | None = None, absent: str = "''") -> str:
    """Findings about one value; `path` is CEL after `object.`, with `?` where a field may be absent."""
    label = quoted((field or path.replace("?", "")) + ": ")
    # Steps before the last one that may be absent make every step after them optional.
    return f"[object.{path}.orValue({absent})].map(x, {message}).filter(m, m != '').map(m, {label} + m)"


def about_each(path: str, pick: str, message: str, suffix: str = "") -> str:
    """Findings about each item of a list; `pick` is CEL over `i`, the item, and yields what `message` judges."""
    field = path.replace("?", "")
    return (
        f"object.{path}.orValue([]).map(i, {pick}).map(x, {message})"
        f".transformList(n, m, m != '', {quoted(field + '[')} + string(n) + {quoted(']' + suffix + ': ')} + m)"
    )
