"""Which counters a call must pass: the rate limits and quotas of its route, for its caller."""

from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import Final

from tidegate_dataplane.ledger.demand import MEASURES, Demand, Measure
from tidegate_dataplane.runtime.build import Runtime
from tidegate_dataplane.runtime.lower import SEPARATOR
from tidegate_dataplane.runtime.objects import Bucket, Consumer, Plan, Quota, QuotaLimit, Route
from tidegate_dataplane.snapshot.entries import QuotaScope, RateLimitScope, Unit

# Plans are remembered by (route, consumer, team, tier); of too many all are forgotten, and worked out again.
MAX_PLANS: Final = 16_384


def demands(
    runtime: Runtime, route: Route, consumer: Consumer, address: str, subscribed: Plan | None = None
) -> tuple[Demand, ...]:
    """Enforced and shadow demands of a call, those of Shadow policies marked as such; `subscribed` adds its own."""
    plans = runtime.plans
    entry = consumer.entry
    # Team and tier decide which quotas concern it, and a token may say others than the last one of this consumer.
    name = SEPARATOR.join((route.key, consumer.key, entry.team, entry.tier))
    if subscribed is not None:
        name += SEPARATOR + subscribed.name
    plan = plans.get(name)
    if plan is None:
        if len(plans) >= MAX_PLANS:
            plans.clear()
        plan = plans[name] = _plan(route, consumer)
        if subscribed is not None and subscribed.bucket is not None:
            plan = plans[name] = (_bucket_demand(subscribed.bucket, consumer.key), *plan)
    by_address = _address_buckets(route)
    if not by_address:
        return plan
    scope = address_scope(address)
    return (*plan, *(_bucket_demand(bucket, scope) for bucket in by_address))


def _buckets(route: Route) -> tuple[Bucket, ...]:
    return route.guard.buckets if route.shadow is None else (*route.guard.buckets, *route.shadow.buckets)


def _address_buckets(route: Route) -> tuple[Bucket, ...]:
    if route.shadow is None:
        return route.guard.by_address
    return (*route.guard.by_address, *route.shadow.by_address)


def _plan(route: Route, consumer: Consumer) -> tuple[Demand, ...]:
    buckets = (
        _bucket_demand(bucket, _bucket_scope(bucket, route, consumer))
        for bucket in _buckets(route)
        if bucket.per is not RateLimitScope.ADDRESS
    )
    limits = (
        _quota_demand(limit, _quota_scope(quota, route, consumer))
        for quota in route.quotas
        if _concerns(quota, consumer)
        for limit in quota.limits
    )
    return (*buckets, *limits)


def _bucket_scope(bucket: Bucket, route: Route, consumer: Consumer) -> str:
    if bucket.per is RateLimitScope.CONSUMER:
        return consumer.key  # all anonymous callers share one bucket; per Address tells them apart
    return route.key if bucket.per is RateLimitScope.ROUTE else ""


def _bucket_demand(bucket: Bucket, scope: str) -> Demand:
    ref = bucket.ref
    return Demand(
        key=bucket.key + scope,
        kind=ref.kind,
        object=ref.key,
        generation=ref.generation,
        name=ref.rule,
        unit=Unit.REQUESTS,
        measure=Measure.REQUESTS,
        amount=bucket.burst,
        rate=bucket.rate,
        obeyed=not bucket.shadow,
        shadow=bucket.shadow,
    )


def _concerns(quota: Quota, consumer: Consumer) -> bool:
    return (not quota.tiers or consumer.tier in quota.tiers) and (not quota.teams or consumer.team in quota.teams)


def _quota_scope(quota: Quota, route: Route, consumer: Consumer) -> str:
    match quota.per:
        case QuotaScope.CONSUMER:
            return consumer.key
        case QuotaScope.TEAM:
            return f"{consumer.namespace}/{consumer.team}"  # a namespace is a tenant: teams of one name are two
        case QuotaScope.NAMESPACE:
            return consumer.namespace
        case QuotaScope.ROUTE:
            return route.key
        case QuotaScope.GATEWAY:
            return ""


def _quota_demand(limit: QuotaLimit, scope: str) -> Demand:
    ref = limit.ref
    return Demand(
        key=limit.key + scope,
        kind=ref.kind,
        object=ref.key,
        generation=ref.generation,
        name=ref.rule,
        unit=limit.unit,
        measure=MEASURES[limit.unit],
        amount=limit.amount,
        window=limit.window,
        obeyed=limit.blocks,
    )


@lru_cache(maxsize=4096)
def address_scope(address: str) -> str:
    """One caller's address: of IPv6 the /64, for a single host has all of it (RFC 6177, RFC 8981)."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except AddressValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> 64 << 64)) + "/64"
