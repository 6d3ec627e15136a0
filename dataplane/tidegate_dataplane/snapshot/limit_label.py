"""What people call a limit of a quota: in alerts, in `/-/quotas`, in statuses and Events."""

from tidegate_dataplane.snapshot.entries import LimitEntry, WindowEntry


def limit_label(limit: LimitEntry) -> str:
    """Such as "Tokens per Month", "Cost in 1d" or "Concurrent"; distinct within a quota, but for time zones."""
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
