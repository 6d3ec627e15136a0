"""What people call a limit of a quota: in alerts, in `/-/quotas`, in statuses and Events."""

from tidegate_dataplane.snapshot.entries import LimitEntry, QuotaEntry, WindowEntry


def limit_label(quota: QuotaEntry, limit: LimitEntry) -> str:
    """Such as "Tokens per Month", "Cost in 1d" or "Concurrent". Where several limits of the quota would be called the
    same, they are told apart by their place, such as "Cost per Month (limits[1])"."""
    name = _name(limit)
    alike = [place for place, each in enumerate(quota.limits) if _name(each) == name]
    if len(alike) < 2:
        return name
    return f"{name} (limits[{next(place for place in alike if quota.limits[place] is limit)}])"


def _name(limit: LimitEntry) -> str:
    return f"{limit.unit.value}{_window_label(limit.window)}"


def _window_label(window: WindowEntry | None) -> str:
    if window is None:
        return ""
    if window.calendar is not None:
        return f" per {window.calendar.value}"
    return f" in {length_label(window.sliding_ms)}"


def length_label(milliseconds: int) -> str:
    """Such as 1d, 90m or 250ms: in the largest unit that leaves a whole number."""
    for size, name in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")):
        if milliseconds % size == 0:
            return f"{milliseconds // size}{name}"
    return f"{milliseconds}ms"
