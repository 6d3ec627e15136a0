"""Collects what is wrong with one object while its spec is read, instead of stopping at the first error."""

from tidegate_operator.verdicts import Finding, Reason


class Problems:
    """Findings of one object, in any order; `found` sorts them."""

    def __init__(self) -> None:
        self._findings: set[Finding] = set()

    def add(self, field: str, message: str, reason: Reason = Reason.INVALID) -> None:
        """Note one problem. `message` must never repeat a value: authors paste keys into the wrong field."""
        self._findings.add(Finding(reason, field, message))

    def found(self) -> tuple[Finding, ...]:
        """All findings, sorted by field, then reason, then message."""
        return sort_findings(self._findings)


def sort_findings(findings: set[Finding] | list[Finding]) -> tuple[Finding, ...]:
    """Findings in the one order in which they are reported."""
    return tuple(sorted(findings, key=lambda finding: (finding.field, finding.reason, finding.message)))
