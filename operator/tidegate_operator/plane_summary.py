"""Which revision how many data planes run, in a few bytes beside the operator's Lease. Pure.

The Lease is renewed every two seconds anyhow, so that this costs no further write, and whoever may read Leases knows
the state of a cluster's data planes without reaching any of them.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from tidegate_operator.conditions import PlaneReport

PLANES_ANNOTATION = "tidegate.dev/data-planes"
MAX_REVISIONS = 16
MAX_REFUSALS = 4
_MAX_MESSAGE = 300


class PlaneSummary(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What the leading operator knows of its data planes.

    `published` is the revision that they should run, `revisions` how many ready ones run which (the highest
    MAX_REVISIONS), `not_ready` how many answer but serve nothing, `silent` how many do not answer; `refusals` is what
    some have against a newer revision, in their own words.
    """

    published: int = 0
    revisions: dict[str, int] = {}
    not_ready: int = 0
    silent: int = 0
    refusals: tuple[str, ...] = ()

    @property
    def ready(self) -> int:
        return sum(self.revisions.values())

    @property
    def behind(self) -> int:
        """How many ready data planes run an older revision than the published one."""
        return sum(count for revision, count in self.revisions.items() if int(revision) < self.published)


def summarise(reports: Iterable[PlaneReport], *, published: int, silent: int) -> PlaneSummary:
    """Count the reports."""
    listed = tuple(reports)
    counted = Counter(report.revision for report in listed if report.ready)
    refusals = [f"{report.name}: {report.refusal}"[:_MAX_MESSAGE] for report in listed if report.refusal]
    return PlaneSummary(
        published=published,
        revisions={str(revision): counted[revision] for revision in sorted(counted, reverse=True)[:MAX_REVISIONS]},
        not_ready=sum(not report.ready for report in listed),
        silent=silent,
        refusals=tuple(refusals[:MAX_REFUSALS]),
    )


def encode_summary(summary: PlaneSummary) -> str:
    """The annotation's value."""
    return msgspec.json.encode(summary).decode()


def parse_summary(text: str) -> PlaneSummary | None:
    """Read it back; None for what cannot be read, such as the word of a newer operator."""
    try:
        summary = msgspec.json.decode(text, type=PlaneSummary)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return summary if all(revision.isdecimal() for revision in summary.revisions) else None
