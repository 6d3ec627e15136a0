"""A problem in a file: what `tidegate validate` prints and `tidegate serve` reports."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """Whether a cluster would refuse it, or a reader should merely know."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong at one place.

    `file` is the path as the user gave it; `line` and `column` count from 1. `object` is `Kind namespace/name`, empty
    when the file could not be read that far. `field` is a path such as `spec.targets[0].weight`. `message` says what is
    wrong, `expected` what would be right. Neither ever repeats a value: authors paste keys into the wrong field.
    """

    file: str
    line: int
    message: str
    field: str = ""
    expected: str = ""
    object: str = ""
    reason: str = "Invalid"
    severity: Severity = Severity.ERROR
    column: int | None = None

    def __str__(self) -> str:
        """`FILE:LINE: Kind ns/name: field: message; expected`."""
        parts = (f"{self.file}:{self.line}", self.object, self.field, self.text)
        return ": ".join(part for part in parts if part)

    @property
    def text(self) -> str:
        """Message and expectation in one sentence."""
        return f"{self.message}; {self.expected}" if self.expected else self.message
