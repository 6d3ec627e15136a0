"""Quotas and limits that never count or never refuse."""

from collections.abc import Iterator

from tidegate_dataplane.runtime.objects import Quota, Route
from tidegate_dataplane.snapshot.entries import CalendarPeriod, LimitEntry, OnExceed, QuotaEntry, WindowEntry
from tidegate_operator.lint.codes import Code
from tidegate_operator.lint.finding import Finding, View
from tidegate_operator.world import ObjectKey

# Which calendar windows lie wholly within which longer ones of the same time zone. Weeks lie across months and years.
_LADDER = (
    CalendarPeriod.SECOND,
    CalendarPeriod.MINUTE,
    CalendarPeriod.HOUR,
    CalendarPeriod.DAY,
    CalendarPeriod.MONTH,
    CalendarPeriod.YEAR,
)
_REFUSING = frozenset({OnExceed.BLOCK, OnExceed.QUEUE})


def quotas(view: View) -> Iterator[Finding]:
    """Without a route, without a consumer that they are for, and limits behind tighter ones."""
    places: dict[str, list[Route]] = {}
    for _, route in sorted(view.runtime.routes.items()):
        for quota in (*route.quotas, *route.per_call, *route.per_backend):
            places.setdefault(quota.ref.key, []).append(route)
    for key, entry in view.quotas.items():
        name = f"{key.namespace}/{key.name}"
        routes = places.get(name, [])
        if not routes:
            yield Finding(Code.QUOTA_WITHOUT_ROUTE, key, "spec.targetRefs", "none of its targets is a served route")
        elif not any(_concerned(view, view.runtime.quotas[name], route) for route in routes):
            message = "no consumer that its routes admit has one of its tiers and teams"
            yield Finding(Code.QUOTA_WITHOUT_CONSUMER, key, "spec.consumers", message)
        yield from _limits(key, entry)


def _concerned(view: View, quota: Quota, route: Route) -> bool:
    if (not quota.tiers and not quota.teams) or route.guard.mappings:
        return True
    return any(
        (not quota.tiers or consumer.tier in quota.tiers) and (not quota.teams or consumer.team in quota.teams)
        for consumer in view.runtime.consumers.values()
        if route.admits is None or consumer.namespace in route.admits
    )


def _limits(key: ObjectKey, entry: QuotaEntry) -> Iterator[Finding]:
    for index, limit in enumerate(entry.limits):
        for other_index, other in enumerate(entry.limits):
            if other_index != index and _always_first(entry, other, limit, earlier=other_index < index):
                message = f"limits[{other_index}] allows no more in a window that is at least as long"
                yield Finding(Code.LIMIT_UNREACHABLE, key, f"spec.limits[{index}]", message)
                break


def _always_first(entry: QuotaEntry, tight: LimitEntry, limit: LimitEntry, *, earlier: bool) -> bool:
    """Whether `tight` is used up before, or together with, `limit`."""
    counted = [(one.unit, one.expression, one.default_price) for one in (tight, limit)]
    if counted[0] != counted[1]:
        return False
    if tight.on_exceed not in _REFUSING or limit.on_exceed is not tight.on_exceed or limit.alert_at or limit.queue_ms:
        return False
    # What has amounts of its own for tiers, or is added to by grants, is not compared.
    if tight.tier_amounts or limit.tier_amounts or any(grant.unit is limit.unit for grant in entry.grants):
        return False
    if tight.amount > limit.amount or not _within(limit.window, tight.window):
        return False
    equal = tight.amount == limit.amount and _within(tight.window, limit.window)
    return earlier or not equal


def _within(short: WindowEntry | None, long: WindowEntry | None) -> bool:
    """Whether every window of `short` lies within one of `long`."""
    if short is None or long is None:
        return short is long
    if short.calendar is None and long.calendar is None:
        return 0 < short.sliding_ms <= long.sliding_ms
    if short.calendar is None or long.calendar is None or short.time_zone != long.time_zone:
        return False
    if short.calendar is long.calendar:
        return True
    if CalendarPeriod.WEEK in (short.calendar, long.calendar):
        day = _LADDER.index(CalendarPeriod.DAY)
        return long.calendar is CalendarPeriod.WEEK and _LADDER.index(short.calendar) <= day
    return _LADDER.index(short.calendar) < _LADDER.index(long.calendar)
