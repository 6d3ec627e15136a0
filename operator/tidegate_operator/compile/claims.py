"""Conflicts between routes: each claim has one owner, the oldest route that makes it (DESIGN section 3, rule 3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from tidegate_dataplane.snapshot.entries import RouteEntry
from tidegate_operator.compile.problems import sort_findings
from tidegate_operator.verdicts import Finding, Reason
from tidegate_operator.world import ObjectKey

# One claim is hostname, path prefix, operation, model pattern and header set in one string: Python keeps the hash of
# a string, so that thousands of routes are compared in milliseconds. None of the parts can hold these separators.
RouteClaim = tuple[str, ...]
_PART = "\x1f"
_HEADER = "\x1e"


@dataclass(frozen=True, slots=True)
class RouteCandidate:
    """A route that asks to be served. `fallback` is its last good form, tried when `content` is in conflict."""

    content: RouteEntry
    claim: RouteClaim
    created: int
    fallback: RouteEntry | None = None


@dataclass(frozen=True, slots=True)
class SettledRoutes:
    """Which form of each route is served, and what is in conflict."""

    contents: Mapping[ObjectKey, RouteEntry]
    errors: Mapping[ObjectKey, tuple[Finding, ...]]


def claim_of(route: RouteEntry) -> RouteClaim:
    """Everything that a route claims for itself alone."""
    headers = _HEADER.join(f"{name}={value}" for name, value in route.headers)
    combinations = product(route.hostnames or ("",), route.operations, route.models)
    return tuple(
        _PART.join((hostname, route.path_prefix, operation, model, headers))
        for hostname, operation, model in combinations
    )


def settle_routes(candidates: Mapping[ObjectKey, RouteCandidate]) -> SettledRoutes:
    """Give each claim to its oldest route; a route that loses keeps its last good form where that is free."""
    if not _any_rivals(candidates):
        return SettledRoutes({key: candidate.content for key, candidate in candidates.items()}, {})
    owners: dict[str, ObjectKey] = {}
    contents: dict[ObjectKey, RouteEntry] = {}
    errors: dict[ObjectKey, tuple[Finding, ...]] = {}
    for key in sorted(candidates, key=lambda key: (candidates[key].created, key.namespace, key.name)):
        candidate = candidates[key]
        form, claim = candidate.content, candidate.claim
        if lost := _lost(claim, owners):
            errors[key] = _explain(key, lost)
            if candidate.fallback is None:
                continue
            form = candidate.fallback
            claim = claim_of(form)
            if _lost(claim, owners):
                continue
        contents[key] = form
        owners.update(dict.fromkeys(claim, key))
    return SettledRoutes(contents, errors)


def _any_rivals(candidates: Mapping[ObjectKey, RouteCandidate]) -> bool:
    claims: set[str] = set()
    expected = 0
    for candidate in candidates.values():
        claims.update(candidate.claim)
        expected += len(candidate.claim)
    return len(claims) != expected


def _lost(claim: RouteClaim, owners: Mapping[str, ObjectKey]) -> dict[ObjectKey, str]:
    """The owners of what `claim` asks for, each with the first thing that it owns."""
    lost: dict[ObjectKey, str] = {}
    for part in sorted(part for part in claim if part in owners):
        lost.setdefault(owners[part], part)
    return lost


def _explain(key: ObjectKey, lost: Mapping[ObjectKey, str]) -> tuple[Finding, ...]:
    findings: set[Finding] = set()
    strangers = sorted(part for owner, part in lost.items() if owner.namespace != key.namespace)
    for owner, part in lost.items():
        if owner.namespace == key.namespace:
            findings.add(_finding(f"AIRoute {owner.namespace}/{owner.name}, which comes first,", part))
    if strangers:
        findings.add(_finding("an older route of another namespace", strangers[0]))
    return sort_findings(findings)


def _finding(winner: str, part: str) -> Finding:
    hostname, prefix, operation, model, headers = part.split(_PART)
    where = f"on {hostname}" if hostname else "on every host name"
    condition = " with the same headers" if headers else ""
    return Finding(
        Reason.CONFLICTED,
        "spec.models",
        f"{winner} already answers {operation} for model {model} {where} under {prefix}{condition}; "
        "change models, operations, hostnames, pathPrefix or match.headers",
    )
