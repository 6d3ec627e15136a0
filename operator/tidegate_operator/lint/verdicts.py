"""What the compiler refuses, as lints: other lints judge the world without it."""

from collections.abc import Iterator

from tidegate_operator.lint.codes import Code
from tidegate_operator.lint.finding import Finding, View
from tidegate_operator.verdicts import Reason

_CODES = {
    Reason.CONFLICTED: Code.CONFLICTED_ROUTE,
    Reason.REF_NOT_PERMITTED: Code.REFERENCE_NOT_PERMITTED,
}


def verdicts(view: View) -> Iterator[Finding]:
    """Objects that are not accepted, and references that are not permitted."""
    for key, verdict in sorted(view.compiled.verdicts.items()):
        if not verdict.placed:
            continue
        for finding in verdict.errors:
            yield Finding(_CODES.get(finding.reason, Code.NOT_SERVED), key, finding.field, finding.message)
        for finding in verdict.unresolved:
            if finding.reason in _CODES:
                yield Finding(_CODES[finding.reason], key, finding.field, finding.message)
