"""Pass 'resolve': which of the named objects exist here and may be referred to.

A reference into another namespace that is not granted looks the same whether its target exists or not, and never
reaches the snapshot.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tidegate_dataplane.snapshot.entries import BackendEntry, RouteEntry, TargetEntry, TargetKind, TargetRef
from tidegate_operator.compile.problems import Problems
from tidegate_operator.verdicts import Finding, Reason
from tidegate_operator.world import Kind, ObjectKey


class Absence(StrEnum):
    """Why a declared backend cannot be used here."""

    INVALID = "is not valid: see its status"
    UNPLACED = "is not placed in this cluster"


# Every declared backend by "namespace/name": its content in force, or why there is none.
Backends = Mapping[str, BackendEntry | Absence]


@dataclass(frozen=True, slots=True)
class Resolution:
    """The targets of a route that may reach the snapshot, and what is wrong with the others."""

    targets: tuple[TargetEntry, ...]
    unresolved: tuple[Finding, ...]


def resolve_targets(route: RouteEntry, backends: Backends) -> Resolution:
    """Keep the targets that are permitted; a missing backend of the own namespace stays, so that it heals by itself."""
    problems = Problems()
    kept = tuple(
        target
        for position, target in enumerate(route.targets)
        if _permitted(route, target, backends.get(target.backend), f"spec.targets[{position}]", problems)
    )
    return Resolution(kept, problems.found())


def resolve_target_refs(
    references: tuple[TargetRef, ...], namespace: str, declared: Container[ObjectKey]
) -> tuple[Finding, ...]:
    """Findings for routes that a policy or quota names and nobody declared."""
    problems = Problems()
    for position, reference in enumerate(references):
        if reference.kind is not TargetKind.AI_ROUTE:
            continue
        if ObjectKey(Kind.ROUTE, namespace, reference.name) not in declared:
            problems.add(
                f"spec.targetRefs[{position}].name",
                f"AIRoute {namespace}/{reference.name} does not exist: create it, or correct the name",
                Reason.TARGET_NOT_FOUND,
            )
    return problems.found()


def _permitted(
    route: RouteEntry, target: TargetEntry, backend: BackendEntry | Absence | None, field: str, problems: Problems
) -> bool:
    namespace = route.source.namespace
    own = target.backend.startswith(f"{namespace}/")
    if not own and not _grants(backend, namespace):
        problems.add(
            f"{field}.backendRef",
            f"AIBackend {target.backend} is not available to namespace {namespace}: it does not exist there, "
            f"or its spec.allowedNamespaces does not list {namespace}",
            Reason.REF_NOT_PERMITTED,
        )
        return False
    if not isinstance(backend, BackendEntry):
        fault = backend or "does not exist: create it, or correct the name"
        problems.add(f"{field}.backendRef", f"AIBackend {target.backend} {fault}", Reason.BACKEND_NOT_FOUND)
        return True
    return _offered(route, target, backend, f"{field}.model", problems)


def _grants(backend: BackendEntry | Absence | None, namespace: str) -> bool:
    return isinstance(backend, BackendEntry) and (
        namespace in backend.allowed_namespaces or "*" in backend.allowed_namespaces
    )


def _offered(route: RouteEntry, target: TargetEntry, backend: BackendEntry, field: str, problems: Problems) -> bool:
    offered = backend.models
    if not offered:
        return True
    names = ", ".join(offered)
    if target.model:
        if target.model in offered:
            return True
        problems.add(
            field, f"AIBackend {target.backend} does not offer this model; it offers {names}", Reason.MODEL_NOT_OFFERED
        )
        return False
    # Without a model the caller's own name is passed on, so the names of the route must be offered themselves.
    missing = [pattern for pattern in route.models if not _matches_any(pattern, offered)]
    if missing:
        problems.add(
            field,
            f"is absent, so the caller's name is passed on, but AIBackend {target.backend} does not offer "
            f"{', '.join(missing)}; name one of {names}",
            Reason.MODEL_NOT_OFFERED,
        )
    return len(missing) < len(route.models)


def _matches_any(pattern: str, offered: tuple[str, ...]) -> bool:
    if pattern.endswith("*"):
        return any(name.startswith(pattern[:-1]) for name in offered)
    return pattern in offered
