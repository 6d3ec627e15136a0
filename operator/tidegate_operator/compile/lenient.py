"""Reads what it can of a spec that is not valid.

A policy that nobody can obey must still be felt where its author meant it: there the data planes answer 503. What
cannot be read is taken to mean the whole namespace, for that is the closed reading.
"""

from collections.abc import Mapping
from typing import Any

from tidegate_dataplane.snapshot.entries import TargetKind, TargetRef
from tidegate_operator.world import Facts, Resource

_NAMESPACE = TargetRef(kind=TargetKind.NAMESPACE)


def lenient_target_refs(resource: Resource, facts: Facts) -> tuple[TargetRef, ...]:
    """What an invalid policy or quota seems to be attached to; Gateway counts in the platform namespace only."""
    references = _get(resource.spec, "targetRefs")
    if not isinstance(references, list) or not references:
        return (_NAMESPACE,)
    found = {_target(reference) for reference in references}
    if resource.key.namespace != facts.platform_namespace:
        found.discard(TargetRef(kind=TargetKind.GATEWAY))
    return tuple(sorted(found, key=lambda target: (target.kind, target.name)))


def lenient_placement(spec: Any) -> dict[str, str]:
    """The cluster selector of an invalid spec; empty (every cluster) when it cannot be read."""
    labels = _get(_get(_get(spec, "placement"), "clusterSelector"), "matchLabels")
    if not isinstance(labels, Mapping):
        return {}
    if not all(isinstance(name, str) and isinstance(value, str) for name, value in labels.items()):
        return {}
    return dict(labels)


def lenient_revoked(spec: Any) -> bool:
    """Whether an invalid approval is meant to be revoked: whatever stands there but `false`. It never gives access."""
    return _get(spec, "revoked") not in (None, False)


def _target(reference: Any) -> TargetRef:
    name = _get(reference, "name")
    match _get(reference, "kind"):
        case TargetKind.GATEWAY:
            return TargetRef(kind=TargetKind.GATEWAY)
        case TargetKind.AI_ROUTE if isinstance(name, str) and name:
            return TargetRef(kind=TargetKind.AI_ROUTE, name=name)
        case _:
            return _NAMESPACE


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None
