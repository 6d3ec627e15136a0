"""A fleet as a table for people and as JSON for programs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tidegate_dataplane.snapshot.entries import ClusterFacts
from tidegate_operator.fleet.cluster import ClusterView, FleetObject, GatewayView, GitSync, Leader, Read, Unreachable
from tidegate_operator.fleet.compare import (
    Comparison,
    Difference,
    commits_of,
    compare,
    count,
    placed_digest,
    problems,
    refusals,
    short,
)
from tidegate_operator.printable import printable

UNKNOWN = "unknown"
ALIKE, DIFFERENT, INCOMPLETE = 0, 1, 2
_MAX_LINE = 240
_HEADS = (
    "CLUSTER",
    "REVISION",
    "POLICY",
    "OBJECTS",
    "ACCEPTED",
    "PROGRAMMED",
    "REFUSED",
    "COMMIT",
    "DATA PLANES",
    "LEADER",
)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything that is shown. `lags` is how many commits each cluster is behind `head`, where that was asked for."""

    reads: Sequence[Read]
    comparison: Comparison
    head: str = ""
    lags: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def views(self) -> list[ClusterView]:
        return [read for read in self.reads if isinstance(read, ClusterView)]

    @property
    def unreachable(self) -> list[Unreachable]:
        return [read for read in self.reads if isinstance(read, Unreachable)]

    @property
    def exit_code(self) -> int:
        """INCOMPLETE when a cluster could not be read; else DIFFERENT when anything is wrong; else ALIKE."""
        if self.unreachable:
            return INCOMPLETE
        wrong = self.comparison.differences or any(
            problems(view) or refusals(view) or self.lags.get(view.name) for view in self.views
        )
        return DIFFERENT if wrong else ALIKE


def fleet_of(reads: Sequence[Read], *, head: str = "", lags: Mapping[str, int | None] | None = None) -> Fleet:
    """Compare what was read."""
    views = [read for read in reads if isinstance(read, ClusterView)]
    return Fleet(reads, compare(views), head, lags or {})


def as_table(fleet: Fleet, *, top: int, limit: int) -> str:
    """For people: a row for each cluster, what is wrong, `limit` lines of what differs, the `top` fullest quotas."""
    rows = [_row(fleet, read) for read in fleet.reads]
    parts = [_aligned([_HEADS, *rows]), _told(fleet), _differences(fleet, limit), _refusals(fleet, limit)]
    parts.append(_quotas(fleet.views, top))
    return "\n\n".join(part for part in parts if part)


def as_json(fleet: Fleet, *, top: int) -> str:
    """See docs/how-to/fleet.md for what stands where. Every difference is listed."""
    body = {
        "clusters": [_cluster_body(fleet, read, top) for read in fleet.reads],
        "differences": [_difference_body(found) for found in fleet.comparison.differences],
        "compared": list(fleet.comparison.compared),
        "sharedObjects": fleet.comparison.shared,
        "alikeObjects": fleet.comparison.alike,
        "head": fleet.head or None,
        "exitCode": fleet.exit_code,
    }
    return msgspec.json.format(msgspec.json.encode(body)).decode()


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
        facts = ", ".join(f"{name}={value}" for name, value in _facts_body(view.facts).items()) or "no facts"
        lines.append(f"{view.name}: {printable(facts)}")
        lines += [f"  ! {printable(problem)}" for problem in problems(view)]
        lines += [f"  ({printable(note)})" for note in view.notes]
        for gateway in view.gateways[1:]:
            lines.append(f"  gateway {gateway.name}: revision {gateway.revision}, {_planes(gateway)}")
        if not commits_of(view):
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
        f"  {view.name}: {_in_short(f'{found.key} {_why_refused(found)}')}"
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


def _why_refused(found: FleetObject) -> str:
    condition = next((each for each in found.conditions if each.type == "Accepted"), None)
    return f"({condition.reason}: {condition.message})" if condition is not None else ""


def _quotas(views: Iterable[ClusterView], top: int) -> str:
    listed = [(view.name, found) for view in views for found in _fullest(view)]
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


def _fullest(view: ClusterView) -> list[FleetObject]:
    return sorted(
        (found for found in view.objects.values() if found.quota is not None),
        key=lambda found: (-(found.quota.percent if found.quota else 0), found.key),
    )


def _cluster_body(fleet: Fleet, read: Read, top: int) -> dict[str, Any]:
    if isinstance(read, Unreachable):
        return {"name": read.name, "server": read.server, "reachable": False, "reason": read.reason}
    counts = count(read)
    return {
        "name": read.name,
        "server": read.server,
        "reachable": True,
        "facts": _facts_body(read.facts) if read.facts is not None else None,
        "placedDigest": placed_digest(read) or None,
        "gateways": [_gateway_body(gateway) for gateway in read.gateways],
        "objects": counts.objects,
        "placed": counts.placed,
        "accepted": counts.accepted,
        "programmed": counts.programmed,
        "refused": [
            {"object": str(found.key), "form": found.form, "message": _why_refused(found)} for found in refusals(read)
        ],
        "notJudged": counts.not_judged,
        "commits": list(commits_of(read)),
        "commitSource": "argocd" if read.applications else ("annotation" if commits_of(read) else UNKNOWN),
        "behind": fleet.lags.get(read.name),
        "applications": [_application_body(sync) for sync in read.applications],
        "quotas": [_quota_body(found) for found in _fullest(read)[:top]],
        "problems": problems(read),
        "notes": list(read.notes),
        "seconds": round(read.seconds, 3),
    }


def _gateway_body(gateway: GatewayView) -> dict[str, Any]:
    leader, planes = gateway.leader, gateway.planes
    return {
        "name": gateway.name,
        "revision": gateway.revision,
        "schemaVersion": gateway.schema_version,
        "leader": (
            {"identity": leader.identity, "ageSeconds": round(leader.age, 1) if leader.age != float("inf") else None}
            if leader is not None and leader.identity
            else None
        ),
        "dataPlanes": (
            {
                "ready": planes.ready,
                "revisions": planes.revisions,
                "notReady": planes.not_ready,
                "silent": planes.silent,
                "refusals": list(planes.refusals),
            }
            if planes is not None
            else None
        ),
    }


def _application_body(sync: GitSync) -> dict[str, Any]:
    return {
        "name": sync.application,
        "revision": sync.revision,
        "sync": sync.sync,
        "health": sync.health,
        "objects": sync.objects,
    }


def _quota_body(found: FleetObject) -> dict[str, Any]:
    use = found.quota
    body = {"name": f"{found.key.namespace}/{found.key.name}"}
    return body if use is None else {**body, **msgspec.to_builtins(use)}


def _difference_body(found: Difference) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "object": found.subject or None,
        "clusters": dict(found.clusters),
        "message": found.message,
    }


def _facts_body(facts: ClusterFacts | None) -> dict[str, str]:
    if facts is None:
        return {}
    named = {"name": facts.name, "cloud": facts.cloud, "region": facts.region, "jurisdiction": facts.jurisdiction}
    return {name: value for name, value in {**named, **facts.labels}.items() if value}


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their cells; a row of two cells (a cluster that cannot be read) does not widen any but one."""
    full = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(len(row[column]) for row in full) for column in range(len(rows[0]))]
    widths[0] = max(len(row[0]) for row in rows)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows
    )
