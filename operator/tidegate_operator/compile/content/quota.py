"""Own content of a Quota."""

from functools import cache
from zoneinfo import available_timezones

from tidegate_crds.v1alpha1.quota import Limit, QuotaSpec, Window
from tidegate_dataplane.snapshot.entries import (
    CalendarPeriod,
    LimitEntry,
    OnExceed,
    QuotaEntry,
    QuotaScope,
    Unit,
    WindowEntry,
)
from tidegate_operator.compile.content.fields import duration_within, placement_of, source_of, target_refs
from tidegate_operator.compile.durations import DAY, SECOND
from tidegate_operator.compile.problems import Problems
from tidegate_operator.world import Facts, Resource

_LONGEST_WINDOW = 366 * DAY


def quota_content(resource: Resource, spec: QuotaSpec, facts: Facts, problems: Problems) -> QuotaEntry:
    """Lower a valid spec; notes problems of targets, windows and repeated limits."""
    limits = tuple(_limit(limit, position, problems) for position, limit in enumerate(spec.limits))
    _check_repeated(limits, problems)
    return QuotaEntry(
        source=source_of(resource),
        target_refs=target_refs(spec.target_refs, resource, facts, problems),
        per=QuotaScope(spec.per.value),
        limits=limits,
        tiers=tuple(sorted(spec.consumers.tiers)) if spec.consumers else (),
        teams=tuple(sorted(spec.consumers.teams)) if spec.consumers else (),
        placement=placement_of(spec.placement),
    )


def _limit(limit: Limit, position: int, problems: Problems) -> LimitEntry:
    return LimitEntry(
        unit=Unit(limit.unit.value),
        amount=int(limit.amount),
        window=_window(limit.window, f"spec.limits[{position}].window", problems),
        on_exceed=OnExceed(limit.on_exceed.value),
    )


def _window(window: Window, field: str, problems: Problems) -> WindowEntry:
    if window.sliding is not None:
        length = duration_within(window.sliding, f"{field}.sliding", problems, least=SECOND, most=_LONGEST_WINDOW)
        return WindowEntry(sliding_ms=length)
    zone = window.time_zone or "UTC"
    if zone not in _time_zones():
        problems.add(
            f"{field}.timeZone", "is no IANA time zone: write one such as Europe/Berlin, or leave it out for UTC"
        )
    calendar = CalendarPeriod(window.calendar.value) if window.calendar else None
    return WindowEntry(calendar=calendar, time_zone=zone)


def _check_repeated(limits: tuple[LimitEntry, ...], problems: Problems) -> None:
    # Two limits of one unit and window would share a counter, and only the smaller could ever matter.
    first: dict[tuple[Unit, WindowEntry], int] = {}
    for position, limit in enumerate(limits):
        earlier = first.setdefault((limit.unit, limit.window), position)
        if earlier != position:
            problems.add(f"spec.limits[{position}]", f"has the unit and window of limit {earlier}: remove one of them")


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())
