"""A fleet as JSON for programs."""

from typing import Any

import msgspec

from tidegate_operator.fleet.cluster import FleetObject, GatewayView, GitSync, Read, Unreachable
from tidegate_operator.fleet.compare import Difference, commits_of, count, placed_digest, problems, refusals
from tidegate_operator.fleet.view import UNKNOWN, Fleet, facts_of, fullest, why_refused


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


def _cluster_body(fleet: Fleet, read: Read, top: int) -> dict[str, Any]:
    if isinstance(read, Unreachable):
        return {"name": read.name, "server": read.server, "reachable": False, "reason": read.reason}
    counts = count(read)
    return {
        "name": read.name,
        "server": read.server,
        "reachable": True,
        "facts": facts_of(read.facts) if read.facts is not None else None,
        "placedDigest": placed_digest(read) or None,
        "gateways": [_gateway_body(gateway) for gateway in read.gateways],
        "objects": counts.objects,
        "placed": counts.placed,
        "accepted": counts.accepted,
        "programmed": counts.programmed,
        "refused": [
            {"object": str(found.key), "form": found.form, "message": why_refused(found)} for found in refusals(read)
        ],
        "notJudged": counts.not_judged,
        "commits": list(commits_of(read)),
        "commitSource": "argocd" if read.applications else ("annotation" if commits_of(read) else UNKNOWN),
        "behind": fleet.lags.get(read.name),
        "applications": [_application_body(sync) for sync in read.applications],
        "quotas": [_quota_body(found) for found in fullest(read)[:top]],
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
        "target": sync.target,
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
