"""From the API server's JSON to what a fleet view keeps. Pure; whatever is malformed counts as absent."""

import hashlib
import sys
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from tidegate_dataplane.snapshot.bundle import INDEX_KEY
from tidegate_dataplane.snapshot.entries import ClusterFacts
from tidegate_operator.compile.lenient import lenient_placement
from tidegate_operator.conditions import Condition, ObjectStatus, parse_status
from tidegate_operator.fleet.cluster import FleetObject, GatewayView, GitSync, Leader, QuotaUse
from tidegate_operator.ingest import COMMIT_ANNOTATION, ConfigMapObject, CustomObject
from tidegate_operator.leadership import LeaseObject
from tidegate_operator.plane_summary import PLANES_ANNOTATION, parse_summary
from tidegate_operator.resources import GROUP
from tidegate_operator.world import Kind, ObjectKey

_encode = msgspec.json.Encoder(order="deterministic").encode
_PLACEMENT = "placement"


class _Facts(msgspec.Struct):
    """ClusterFacts, as far as they are known here: a newer operator may write more."""

    name: str = ""
    cloud: str = ""
    region: str = ""
    jurisdiction: str = ""
    labels: dict[str, str] = {}


class _Index(msgspec.Struct):
    """The published index, as far as it is read: of any schema version, so that skew is seen and not refused."""

    schema_version: int = 0
    revision: int = 0
    gateway: str = ""
    cluster: _Facts = msgspec.field(default_factory=_Facts)


def fleet_object(kind: Kind, item: CustomObject) -> FleetObject:
    """What is kept of an object."""
    spec = {name: value for name, value in item.spec.items() if name != _PLACEMENT}
    parts = {sys.intern(name): zlib.crc32(_encode(value)) for name, value in spec.items()}
    status = parse_status(item.status)
    annotations = item.metadata.annotations or {}
    return FleetObject(
        key=ObjectKey(kind, item.metadata.namespace, item.metadata.name),
        digest=hashlib.sha256(_encode(spec)).hexdigest()[:16],
        generation=item.metadata.generation,
        parts=parts,
        selector=lenient_placement(item.spec),
        observed=status.observed_generation,
        served=status.served_generation,
        conditions=tuple(map(_interned, status.conditions)),
        commit=sys.intern(annotations.get(COMMIT_ANNOTATION, "")),
        quota=_quota_use(status, item.status) if kind is Kind.QUOTA else None,
    )


def gateway_view(config_map: ConfigMapObject, lease: LeaseObject | None, now: datetime | None) -> GatewayView | None:
    """A gateway by its index and its Lease; None when that is no readable index. `now` is the API server's clock."""
    try:
        index = msgspec.json.decode((config_map.data or {}).get(INDEX_KEY, ""), type=_Index)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    annotations = (lease.metadata.annotations or {}) if lease is not None else {}
    return GatewayView(
        name=index.gateway,
        revision=index.revision,
        schema_version=index.schema_version,
        facts=ClusterFacts(**msgspec.structs.asdict(index.cluster)),
        leader=_leader(lease, now),
        planes=parse_summary(annotations.get(PLANES_ANNOTATION, "")),
    )


def git_sync(item: Mapping[str, Any]) -> GitSync | None:
    """An Argo CD Application (argoproj.io/v1alpha1); None when it delivers nothing of Tidegate's kinds."""
    metadata, spec, status = (_mapping(item.get(part)) for part in ("metadata", "spec", "status"))
    listed = status.get("resources")
    ours = [entry for entry in (listed if isinstance(listed, list) else ()) if _mapping(entry).get("group") == GROUP]
    if not ours:
        return None
    sync, destination = _mapping(status.get("sync")), _mapping(spec.get("destination"))
    state, target = str(sync.get("status") or "Unknown"), _commits(sync)
    return GitSync(
        application=f"{metadata.get('namespace', '')}/{metadata.get('name', '')}",
        # `sync.revision` is what Argo CD has compared the cluster with, applied or not.
        revision=target if state == "Synced" else _last_applied(status),
        target=target,
        sync=state,
        health=str(_mapping(status.get("health")).get("status") or "Unknown"),
        destination_server=str(destination.get("server") or ""),
        destination_name=str(destination.get("name") or ""),
        objects=len(ours),
    )


def _last_applied(status: Mapping[str, Any]) -> str:
    """What the last sync that succeeded applied; "" before the first."""
    history = status.get("history")
    return _commits(_mapping(history[-1])) if isinstance(history, list) and history else ""


def _commits(entry: Mapping[str, Any]) -> str:
    """An Application of one source has a revision, one of several has revisions."""
    several = entry.get("revisions")
    return "+".join(map(str, several)) if isinstance(several, list) and several else str(entry.get("revision") or "")


def _leader(lease: LeaseObject | None, now: datetime | None) -> Leader | None:
    if lease is None:
        return None
    try:
        renewed = datetime.fromisoformat(lease.spec.renew_time or "")
    except ValueError:
        return Leader(lease.spec.holder_identity, float("inf"))
    # Dates of HTTP have whole seconds: a Lease may seem to be renewed in the future.
    age = max(0.0, (now - renewed).total_seconds()) if now is not None else float("inf")
    return Leader(lease.spec.holder_identity, age)


def _quota_use(status: ObjectStatus, raw: Mapping[str, Any] | None) -> QuotaUse | None:
    figures = status.quota
    if figures is None or not figures.top:
        return None
    first = figures.top[0]
    fullest = str((raw or {}).get("fullest") or first.limit)
    return QuotaUse(first.percent, first.used, first.amount, fullest, first.resets)


def _interned(condition: Condition) -> Condition:
    """Thousands of objects say the same: keep each word once."""
    return Condition(
        type=sys.intern(condition.type),
        status=sys.intern(condition.status),
        generation=condition.generation,
        reason=sys.intern(condition.reason),
        message=sys.intern(condition.message),
        transition="",
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
