"""Conflicts between routes: each claim has one owner, the oldest route that makes it (DESIGN section 3, rule 3)."""

from collections.abc import Callable, Collection, Mapping
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


def settle_routes(
    contents: Mapping[ObjectKey, RouteEntry],
    claims: Mapping[ObjectKey, RouteClaim],
    created: Callable[[ObjectKey], int],
    fallback: Callable[[ObjectKey], RouteEntry | None],
) -> SettledRoutes:
    """Give each claim to its oldest route; a route that loses keeps its last good form (`fallback`) where that is free.

    `claims` are those of `contents`; `created` is the age of an object in seconds since the epoch.
    """
    if not _any_rivals(claims.values()):
        return SettledRoutes(contents, {})
    owners: dict[str, ObjectKey] = {}
    served: dict[ObjectKey, RouteEntry] = {}
    errors: dict[ObjectKey, tuple[Finding, ...]] = {}
    for key in sorted(contents, key=lambda key: (created(key), key.namespace, key.name)):
        form: RouteEntry | None = contents[key]
        claim = claims[key]
        if lost := _lost(claim, owners):
            errors[key] = _explain(key, lost)
            form = fallback(key)
            claim = claim_of(form) if form is not None else ()
        if form is not None and owners.keys().isdisjoint(claim):
            served[key] = form
            owners.update(dict.fromkeys(claim, key))
    return SettledRoutes(served, errors)


def _any_rivals(claims: Collection[RouteClaim]) -> bool:
    distinct: set[str] = set()
    for claim in claims:
        distinct.update(claim)
    return len(distinct) != sum(map(len, claims))


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
