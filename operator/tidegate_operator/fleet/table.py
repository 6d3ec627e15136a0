"""A fleet as a table for people."""

from collections.abc import Iterable, Sequence

from tidegate_operator.fleet.cluster import ClusterView, GatewayView, Leader, Read, Unreachable
from tidegate_operator.fleet.compare import Difference, commits_of, count, placed_digest, problems, refusals, short
from tidegate_operator.fleet.view import UNKNOWN, Fleet, facts_of, fullest, why_refused
from tidegate_operator.printable import printable

_MAX_LINE = 240
_HEADS = (
    *("CLUSTER", "REVISION", "POLICY", "OBJECTS", "ACCEPTED", "PROGRAMMED", "REFUSED"),
    *("COMMIT", "DATA PLANES", "LEADER"),
)


def as_table(fleet: Fleet, *, top: int, limit: int) -> str:
    """For people: a row for each cluster, what is wrong, `limit` lines of what differs, the `top` fullest quotas."""
    rows = [_row(fleet, read) for read in fleet.reads]
    parts = [_aligned([_HEADS, *rows]), _told(fleet), _differences(fleet, limit), _refusals(fleet, limit)]
    parts.append(_quotas(fleet.views, top))
    return "\n\n".join(part for part in parts if part)


def _row(fleet: Fleet, read: Read) -> tuple[str, ...]:
    if isinstance(read, Unreachable):
        return (read.name, f"unreachable: {printable(read.reason)}")
    counts = count(read)
    published = read.gateways[0] if read.gateways else None
    return (
        read.name,
        str(published.revision) if published else "-",
        placed_digest(read) or "-",
        str(counts.objects) if counts.placed == counts.objects else f"{counts.placed} of {counts.objects}",
        str(counts.accepted),
        str(counts.programmed),
        str(counts.refused),
        _commit(fleet, read),
        _planes(published),
        _leader(published.leader if published else None),
    )


def _commit(fleet: Fleet, view: ClusterView) -> str:
    commits = commits_of(view)
    if not commits:
        return UNKNOWN
    text = ",".join(map(short, commits[:2])) + (f" and {len(commits) - 2} more" if len(commits) > 2 else "")
    states = sorted({f"{sync.sync}/{sync.health}" for sync in view.applications})
    lag = fleet.lags.get(view.name)
    behind = f", {lag} behind" if lag else ""
    return printable(f"{text} {' '.join(states)}".rstrip() + behind)


def _planes(gateway: GatewayView | None) -> str:
    planes = gateway.planes if gateway is not None else None
    if planes is None:
        return UNKNOWN
    counted = [f"{number} on {revision}" for revision, number in planes.revisions.items()]
    counted += [f"{planes.not_ready} not ready"] if planes.not_ready else []
    counted += [f"{planes.silent} silent"] if planes.silent else []
    return ", ".join(counted) or "none"


def _leader(leader: Leader | None) -> str:
    if leader is None or not leader.identity:
        return "none"
    return printable(f"{leader.identity} {leader.age:.0f} s ago")


def _told(fleet: Fleet) -> str:
    lines = []
    for view in fleet.views:
        facts = ", ".join(f"{name}={value}" for name, value in facts_of(view.facts).items()) or "no facts"
        lines.append(f"{view.name}: {printable(facts)}")
        lines += [f"  ! {printable(problem)}" for problem in problems(view)]
        lines += [f"  ({printable(note)})" for note in view.notes]
        for gateway in view.gateways[1:]:
            lines.append(f"  gateway {gateway.name}: revision {gateway.revision}, {_planes(gateway)}")
        if not commits_of(view) and not view.applications:
            lines.append(
                "  (commit unknown: no Argo CD Application delivers here, no object carries tidegate.dev/commit)"
            )
    return "\n".join(lines)


def _differences(fleet: Fleet, limit: int) -> str:
    comparison = fleet.comparison
    found = comparison.differences
    if not found:
        if len(comparison.compared) < 2:
            return ""
        return f"No difference that placement does not explain ({comparison.shared} objects are placed in each)."
    lines = [f"Differences that placement does not explain: {len(found)}"]
    lines += [_line(difference) for difference in found[:limit]]
    if len(found) > limit:
        lines.append(f"  and {len(found) - limit} more (--limit, or --output json for all)")
    return "\n".join(lines)


def _line(difference: Difference) -> str:
    return f"  {difference.kind:<9}  {_in_short(f'{difference.subject} {difference.message}'.strip())}"


def _refusals(fleet: Fleet, limit: int) -> str:
    lines = [
        f"  {view.name}: {_in_short(f'{found.key} {why_refused(found)}')}"
        for view in fleet.views
        for found in refusals(view)
    ]
    if not lines:
        return ""
    more = [f"  and {len(lines) - limit} more"] if len(lines) > limit else []
    return "\n".join([f"Refused: {len(lines)}", *lines[:limit], *more])


def _in_short(text: str) -> str:
    """What others wrote, in one line of a terminal; JSON has it whole."""
    line = printable(text)
    return line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]}…"


def _quotas(views: Iterable[ClusterView], top: int) -> str:
    listed = [(view.name, found) for view in views for found in fullest(view)]
    listed.sort(key=lambda pair: -(pair[1].quota.percent if pair[1].quota else 0))
    rows = [
        (
            name,
            f"{found.key.namespace}/{found.key.name}",
            f"{found.quota.percent} %",
            f"{found.quota.used} of {found.quota.limit}",
            found.quota.fullest,
            found.quota.resets,
        )
        for name, found in listed[:top]
        if found.quota is not None and found.quota.percent > 0
    ]
    if not rows:
        return ""
    return _aligned(
        [("CLUSTER", "QUOTA", "USED", "", "FULLEST", "RESETS"), *(tuple(map(printable, row)) for row in rows)]
    )


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their cells; a row of two cells (a cluster that cannot be read) does not widen any but one."""
    full = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(len(row[column]) for row in full) for column in range(len(rows[0]))]
    widths[0] = max(len(row[0]) for row in rows)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows
    )
