"""Snapshot to Runtime, the whole of it or only what changed. Pure; the result is swapped in as one attribute."""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from tidegate_dataplane.ledger.demand import Demands
from tidegate_dataplane.pricing.lookup import NO_PRICES, Prices, gathered
from tidegate_dataplane.pricing.override import overrides
from tidegate_dataplane.runtime import credentials as credential_table
from tidegate_dataplane.runtime import lists as list_table
from tidegate_dataplane.runtime import matches as match_table
from tidegate_dataplane.runtime import providers as provider_table
from tidegate_dataplane.runtime import table as route_table
from tidegate_dataplane.runtime.build_error import BuildError
from tidegate_dataplane.runtime.changes import Change, Changes, E, changes
from tidegate_dataplane.runtime.lists import NO_LISTS, Lists
from tidegate_dataplane.runtime.lower import lower_consumer, lower_policy
from tidegate_dataplane.runtime.lower_quota import lower_quota
from tidegate_dataplane.runtime.matches import Matches
from tidegate_dataplane.runtime.objects import Backend, Consumer, Credential, Policy, Quota, Route
from tidegate_dataplane.runtime.providers import Providers
from tidegate_dataplane.runtime.routes import RouteBuilder
from tidegate_dataplane.runtime.table import Table
from tidegate_dataplane.snapshot.entries import BackendEntry, ClusterFacts, Index, RouteEntry, Shard

T = TypeVar("T")

_NO_CLUSTER: Final = ClusterFacts()


class Runtime(Struct, frozen=True, eq=False):
    """Everything a data plane needs to decide.

    Immutable, but for `plans`, `listings` and `prices`, where the engine remembers what it worked out from the rest.
    Maps are by object key ("namespace/name"), `credentials` by `credentials.slot` of the SHA-256 of the API key.
    """

    index: Index
    shards: Mapping[str, Shard]
    backends: dict[str, Backend]
    policies: dict[str, Policy]
    quotas: dict[str, Quota]
    consumers: dict[str, Consumer]
    credentials: dict[bytes, Credential]
    matches: Matches
    providers: Providers
    routes: dict[str, Route]
    table: Table
    plans: dict[str, Demands]
    listings: dict[str, tuple[Route, ...]]
    lists: Lists = NO_LISTS
    prices: Prices = NO_PRICES

    @property
    def revision(self) -> int:
        return self.index.revision

    @property
    def gateway(self) -> str:
        return self.index.gateway

    @property
    def cluster(self) -> ClusterFacts:
        return self.index.cluster


EMPTY: Final = Runtime(
    index=Index(1, 0, "", _NO_CLUSTER, ()),
    shards={},
    backends={},
    policies={},
    quotas={},
    consumers={},
    credentials={},
    matches=match_table.EMPTY,
    providers=provider_table.EMPTY,
    routes={},
    table=route_table.EMPTY,
    plans={},
    listings={},
)


def build(index: Index, shards: Mapping[str, Shard], previous: Runtime | None = None) -> Runtime:
    """Compile a snapshot; what is the same as in `previous` is kept.

    `shards` maps names to decoded shards; those whose digest is the one in `previous` need not be there.
    Raises BuildError; then the caller keeps `previous`.
    """
    base = previous or EMPTY
    taken = _shards(index, shards, base)
    gone = [shard for name, shard in base.shards.items() if taken.get(name) is not shard]
    come = [shard for name, shard in taken.items() if base.shards.get(name) is not shard]
    difference = changes(gone, come)
    backends = _patched(base.backends, difference.backends, _lower_backend)
    policies = _patched(base.policies, difference.policies, lower_policy)
    quotas = _patched(base.quotas, difference.quotas, lower_quota)
    consumers = _patched(base.consumers, difference.consumers, lower_consumer)
    return Runtime(
        index=index,
        shards=taken,
        backends=backends,
        policies=policies,
        quotas=quotas,
        consumers=consumers,
        credentials=_credentials(base, consumers, difference),
        matches=match_table.patched(
            base.matches,
            (base.consumers[key] for key in difference.consumers.removed),
            (consumers[key] for key in difference.consumers.added),
        ),
        providers=provider_table.gathered(base.providers, policies) if difference.policies else base.providers,
        routes=_routes(base, RouteBuilder(policies, quotas, backends), difference),
        table=_table(base.table, difference.routes),
        plans={},
        listings={},
        lists=list_table.patched(base.lists, taken, list_table.changed_lists(gone, come)),
        prices=_prices(base.prices, taken, difference, gone, come),
    )


def _shards(index: Index, shards: Mapping[str, Shard], base: Runtime) -> dict[str, Shard]:
    known = {ref.name: ref.sha256 for ref in base.index.shards}
    taken: dict[str, Shard] = {}
    for ref in index.shards:
        if known.get(ref.name) == ref.sha256:
            taken[ref.name] = base.shards[ref.name]
        elif ref.name in shards:
            taken[ref.name] = _read_here(shards[ref.name])
        else:
            raise BuildError(f"shard {ref.name} of revision {index.revision} is missing")
    return taken


def _read_here(shard: Shard) -> Shard:
    """Without what is carried for the operator alone: of thousands of subscribers it is most of the memory."""
    return replace(shard, subscriptions=(), approvals=()) if shard.subscriptions or shard.approvals else shard


def _lower_backend(entry: BackendEntry) -> Backend:
    return Backend(entry.source.key, entry, overrides(entry))


def _prices(base: Prices, taken: dict[str, Shard], difference: Changes, gone: list[Shard], come: list[Shard]) -> Prices:
    """What was remembered of a backend holds no longer when it or a table changed."""
    if not difference.backends and not any(shard.prices for shard in (*gone, *come)):
        return base
    return gathered(base, (table for shard in taken.values() for table in shard.prices))


def _patched(table: dict[str, T], change: Change[E], lower: Callable[[E], T]) -> dict[str, T]:
    if not change:
        return table
    result = dict(table)
    for key in change.removed:
        del result[key]
    for key, entry in change.added.items():
        result[key] = lower(entry)
    return result


def _credentials(base: Runtime, consumers: dict[str, Consumer], difference: Changes) -> dict[bytes, Credential]:
    change = difference.consumers
    if not change:
        return base.credentials
    return credential_table.patched(
        base.credentials, (base.consumers[key] for key in change.removed), (consumers[key] for key in change.added)
    )


def _routes(base: Runtime, builder: RouteBuilder, difference: Changes) -> dict[str, Route]:
    """Routes that changed, and those that name something that changed, are joined anew."""
    change = difference.routes
    policies, backends = difference.policies.keys, difference.backends.keys
    quotas = _with_children(difference.quotas.keys, builder.quotas)
    if not (change or policies or quotas or backends):
        return base.routes
    result = dict(base.routes)
    for key in change.removed:
        del result[key]
    if policies or quotas or backends:
        for key, route in result.items():
            if _touched(route.entry, policies, quotas, backends):
                result[key] = builder.build(route.entry, route)
    for key, entry in change.added.items():
        result[key] = builder.build(entry, base.routes.get(key))
    return result


def _with_children(changed: frozenset[str], quotas: Mapping[str, Quota]) -> frozenset[str]:
    """Changed quotas, and all whose parents they are."""
    if not changed:
        return changed
    found = set(changed)
    while more := {key for key, quota in quotas.items() if quota.entry.parent in found} - found:
        found |= more
    return frozenset(found)


def _touched(entry: RouteEntry, policies: frozenset[str], quotas: frozenset[str], backends: frozenset[str]) -> bool:
    return (
        (bool(policies) and any(attachment.policy in policies for attachment in entry.policies))
        or not quotas.isdisjoint(entry.quotas)
        or (bool(backends) and any(target.backend in backends for target in entry.targets))
    )


def _table(table: Table, change: Change[RouteEntry]) -> Table:
    """Most edits of a route leave its claims as they were, and then so is the table."""
    same = {
        key
        for key, entry in change.added.items()
        if key in change.removed and route_table.same_claims(entry, change.removed[key])
    }
    removed = [entry for key, entry in change.removed.items() if key not in same]
    added = [entry for key, entry in change.added.items() if key not in same]
    return route_table.patched(table, removed, added) if removed or added else table
