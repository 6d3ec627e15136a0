"""Which routes claim a call: lookups by hash, so that the cost of a call does not grow with the number of routes.

host -> path prefix -> operation -> model -> claims. The order of preference is fixed by the API: hostname exact, then
the longest wildcard, then none; the longest path prefix; model exact, then the longest glob; more headers; the older
route; namespace/name. Tables are immutable: `patched` copies only what changes.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from tidegate_dataplane.snapshot.entries import Operation, RouteEntry

ANY_HOST: Final = ""
MAX_MODEL_LENGTH: Final = 256


class Claim(Struct, frozen=True, gc=False):
    """A route's claim on a (host, prefix, operation, model): how it ranks among equals, and what else it asks."""

    route: str
    headers: tuple[tuple[str, str], ...]
    rank: tuple[int, int, str]

    def holds(self, headers: Mapping[str, str]) -> bool:
        return all(headers.get(name) == value for name, value in self.headers)


class Models(Struct, frozen=True, gc=False):
    """Claims by model. `globs` are keyed by what stands before the `*`; `lengths` are theirs, longest first."""

    exact: dict[str, tuple[Claim, ...]]
    globs: dict[str, tuple[Claim, ...]]
    lengths: tuple[int, ...]


class Place(NamedTuple):
    """One slot of the table; `model` as written in the route."""

    host: str
    prefix: str
    operation: Operation
    model: str


Prefixes = dict[str, dict[Operation, Models]]
Hosts = dict[str, Prefixes]


class Table(Struct, frozen=True, gc=False):
    """The whole table. `wildcards` tells whether any host begins with `*.`."""

    hosts: Hosts
    wildcards: bool

    def find(
        self, host: str, base: str, operation: Operation, model: str, headers: Mapping[str, str]
    ) -> tuple[str, str] | None:
        """Key of the preferred route and the model pattern by which it claims the call, or None."""
        if len(model) > MAX_MODEL_LENGTH:
            return None
        hosts = self.hosts
        for name in (host, *_wildcards(host), ANY_HOST) if self.wildcards else (host, ANY_HOST):
            prefixes = hosts.get(name)
            if prefixes is None:
                continue
            prefix = base
            while True:
                operations = prefixes.get(prefix)
                if operations is not None:
                    models = operations.get(operation)
                    if models is not None:
                        found = _among(models, model, headers)
                        if found is not None:
                            return found
                if len(prefix) <= 1:
                    break
                prefix = prefix.rpartition("/")[0] or "/"
        return None


def _wildcards(host: str) -> Iterator[str]:
    place = host.find(".")
    while place >= 0:
        yield "*" + host[place:]
        place = host.find(".", place + 1)


def _among(models: Models, model: str, headers: Mapping[str, str]) -> tuple[str, str] | None:
    claims = models.exact.get(model)
    if claims is not None:
        for claim in claims:
            if not claim.headers or claim.holds(headers):
                return claim.route, model
    for length in models.lengths:
        stem = model[:length]
        claims = models.globs.get(stem)
        if claims is not None and len(stem) == length:
            for claim in claims:
                if not claim.headers or claim.holds(headers):
                    return claim.route, stem + "*"
    return None


EMPTY: Final = Table({}, False)


def places(entry: RouteEntry) -> Iterator[Place]:
    """Every slot that a route claims."""
    prefix = entry.path_prefix.rstrip("/") or "/"
    for host in entry.hostnames or (ANY_HOST,):
        for operation in entry.operations:
            for model in entry.models:
                yield Place(host.lower(), prefix, operation, model)


def claim_of(entry: RouteEntry) -> Claim:
    """How the route ranks: more headers first, then older, then by key."""
    key = entry.source.key
    return Claim(key, entry.headers, (-len(entry.headers), entry.source.created, key))


def same_claims(one: RouteEntry, other: RouteEntry) -> bool:
    """Whether two generations of a route claim the same calls with the same rank."""
    return (
        one.models == other.models
        and one.operations == other.operations
        and one.hostnames == other.hostnames
        and one.path_prefix == other.path_prefix
        and one.headers == other.headers
        and one.source.created == other.source.created
    )


def patched(table: Table, removed: Iterable[RouteEntry], added: Iterable[RouteEntry]) -> Table:
    """A table without the claims of `removed` and with those of `added`; shares what did not change."""
    edit = _Edit(table.hosts)
    for entry in removed:
        key = entry.source.key
        for place in places(entry):
            edit.set(place, tuple(claim for claim in edit.get(place) if claim.route != key))
    for entry in added:
        claim = claim_of(entry)
        for place in places(entry):
            present = edit.get(place)
            if not present:
                edit.set(place, (claim,))
            elif claim not in present:
                edit.set(place, tuple(sorted((*present, claim), key=_rank)))
    hosts = edit.finish()
    return Table(hosts, any(host.startswith("*.") for host in hosts))


def _rank(claim: Claim) -> tuple[int, int, str]:
    return claim.rank


class _Edit:
    """Copies each part of the table at its first change."""

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = dict(hosts)
        self._own_hosts: set[str] = set()
        self._own_prefixes: set[tuple[str, str]] = set()
        self._open: dict[tuple[str, str, Operation], tuple[dict[str, tuple[Claim, ...]], ...]] = {}

    def get(self, place: Place) -> tuple[Claim, ...]:
        exact, globs = self._leaf(place)
        return globs.get(place.model[:-1], ()) if place.model.endswith("*") else exact.get(place.model, ())

    def set(self, place: Place, claims: tuple[Claim, ...]) -> None:
        exact, globs = self._leaf(place)
        part, name = (globs, place.model[:-1]) if place.model.endswith("*") else (exact, place.model)
        if claims:
            part[name] = claims
        else:
            part.pop(name, None)

    def _leaf(self, place: Place) -> tuple[dict[str, tuple[Claim, ...]], ...]:
        at = (place.host, place.prefix, place.operation)
        leaf = self._open.get(at)
        if leaf is None:
            models = self._hosts.get(place.host, {}).get(place.prefix, {}).get(place.operation)
            leaf = ({}, {}) if models is None else (dict(models.exact), dict(models.globs))
            self._open[at] = leaf
        return leaf

    def finish(self) -> Hosts:
        for (host, prefix, operation), (exact, globs) in self._open.items():
            operations = self._operations(host, prefix)
            if exact or globs:
                operations[operation] = Models(exact, globs, tuple(sorted({len(stem) for stem in globs}, reverse=True)))
            else:
                operations.pop(operation, None)
        for host, prefix in self._own_prefixes:
            if not self._hosts[host][prefix]:
                del self._hosts[host][prefix]
        for host in self._own_hosts:
            if not self._hosts[host]:
                del self._hosts[host]
        return self._hosts

    def _operations(self, host: str, prefix: str) -> dict[Operation, Models]:
        if host not in self._own_hosts:
            self._own_hosts.add(host)
            self._hosts[host] = dict(self._hosts.get(host, {}))
        if (host, prefix) not in self._own_prefixes:
            self._own_prefixes.add((host, prefix))
            self._hosts[host][prefix] = dict(self._hosts[host].get(prefix, {}))
        return self._hosts[host][prefix]
