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
    seconds, rest = divmod(window.sliding_ms, 1000)
    if rest:
        return f" in {window.sliding_ms}ms"
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds % size == 0:
            return f" in {seconds // size}{name}"
    return f" in {seconds}s"
