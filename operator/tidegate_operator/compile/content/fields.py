"""Readers of single fields that several kinds share."""

from tidegate_crds.v1alpha1.aipolicy import TargetKind as SpecTargetKind
from tidegate_crds.v1alpha1.aipolicy import TargetRef as SpecTargetRef
from tidegate_crds.v1alpha1.shapes import Placement, SecretKeyRef
from tidegate_dataplane.snapshot.entries import SecretRef, Source, TargetKind, TargetRef
from tidegate_operator.compile.durations import format_duration, parse_duration
from tidegate_operator.compile.problems import Problems
from tidegate_operator.compile.timestamps import parse_timestamp
from tidegate_operator.world import Facts, Resource


def source_of(resource: Resource) -> Source:
    """The provenance of an entry."""
    return Source(
        namespace=resource.key.namespace,
        name=resource.key.name,
        generation=resource.generation,
        uid=resource.uid,
        created=resource.created,
    )


def placement_of(placement: Placement | None) -> dict[str, str]:
    """The facts of a cluster that must hold; empty for every cluster."""
    return dict(placement.cluster_selector.match_labels) if placement else {}


def secret_ref(reference: SecretKeyRef) -> SecretRef:
    """A reference as the snapshot carries it."""
    return SecretRef(name=reference.name, key=reference.key)


def duration_within(text: str, field: str, problems: Problems, *, least: int, most: int) -> int:
    """Milliseconds of `text`; notes a problem when it is not between `least` and `most`."""
    try:
        value = parse_duration(text)
    except ValueError as error:
        problems.add(field, str(error))
        return least
    if not least <= value <= most:
        problems.add(field, f"must be between {format_duration(least)} and {format_duration(most)}")
    return value


def moment(text: str | None, field: str, problems: Problems) -> int | None:
    """Seconds since the epoch of an RFC 3339 time; notes a problem when it is none. None where nothing is written."""
    if text is None:
        return None
    try:
        return parse_timestamp(text)
    except ValueError as error:
        problems.add(field, str(error))
        return None


def target_refs(
    references: list[SpecTargetRef], resource: Resource, facts: Facts, problems: Problems
) -> tuple[TargetRef, ...]:
    """What a policy or quota is attached to, in the author's order; only the platform namespace reaches the gateway."""
    for position, reference in enumerate(references):
        if reference.kind is SpecTargetKind.GATEWAY and resource.key.namespace != facts.platform_namespace:
            problems.add(
                f"spec.targetRefs[{position}].kind",
                f"Gateway is open only to objects in the namespace {facts.platform_namespace}; "
                "use kind Namespace, which means this namespace, or AIRoute",
            )
    return tuple(TargetRef(kind=TargetKind(item.kind.value), name=item.name or "") for item in references)
