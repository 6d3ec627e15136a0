"""`status.overrunBound`: by how much a counter can go beyond its amount in one window, at worst. Pure.

The cases are those of docs/reference/quotas-bounds.md, which says where each comes from.
"""

from tidegate_dataplane.snapshot.entries import Accuracy, FailureMode, LimitEntry, OnExceed, QuotaEntry, Unit
from tidegate_dataplane.snapshot.limit_label import limit_label
from tidegate_operator.quotas.amounts import shown_amount

# Of these a call's use is known before it is let pass; of the others only what it reserves is.
_KNOWN_BEFORE = (Unit.REQUESTS, Unit.CONCURRENT)
_NEVER_BLOCKS = (OnExceed.ALERT, OnExceed.CHARGE)
# A status is read in a terminal.
_MOST_LIMITS = 4


def overrun_bound(entry: QuotaEntry, data_planes: int) -> str:
    """Words and numbers for this cluster, where so many data planes serve (0: none is known)."""
    blocking = [limit for limit in entry.limits if limit.on_exceed not in _NEVER_BLOCKS]
    passing = [limit for limit in entry.limits if limit.on_exceed in _NEVER_BLOCKS]
    parts = []
    if blocking:
        parts.append(_counted(entry, blocking, data_planes))
        if any(limit.unit not in _KNOWN_BEFORE for limit in blocking):
            parts.append("plus what calls under way use beyond what they reserved")
        if any(limit.on_exceed is OnExceed.FALLBACK for limit in blocking):
            parts.append("calls that go to fallback targets are counted beyond it")
    if passing:
        words = sorted({limit.on_exceed.value for limit in passing})
        which = ", ".join(limit_label(entry, limit) for limit in passing[:_MOST_LIMITS])
        parts.append(f"unbounded for {which} (onExceed: {' and '.join(words)})")
    return "; ".join(parts)


def _counted(entry: QuotaEntry, limits: list[LimitEntry], data_planes: int) -> str:
    if entry.accuracy is Accuracy.LOCAL:
        return _by_each(entry, limits, data_planes)
    if entry.failure_mode is FailureMode.OPEN:
        return "0 while the store can be reached; unbounded while it cannot (failureMode: Open)"
    if entry.failure_mode is FailureMode.LOCAL:
        most = _numbers(entry, limits, entry.safe_share)
        return (
            f"0 while the store can be reached; at most {entry.safe_share} % of the amount{most} while it cannot"
            " (failureMode: Local), and one data plane's part again for each that starts meanwhile without its journal"
        )
    return "0 (failureMode: Closed); more only if the store and a data plane's journal are lost together"


def _by_each(entry: QuotaEntry, limits: list[LimitEntry], data_planes: int) -> str:
    if data_planes == 0:
        return "(data planes - 1) x amount: each counts by itself"
    once = _numbers(entry, limits, 100)
    if data_planes == 1:
        return f"0 with 1 data plane; 1 x amount{once} each time it restarts"
    more = _numbers(entry, limits, 100 * (data_planes - 1))
    return (
        f"({data_planes} - 1) x amount{more}: each of {data_planes} data planes counts by itself; once more each time"
        " one restarts"
    )


def _numbers(entry: QuotaEntry, limits: list[LimitEntry], percent: int) -> str:
    """The amounts times `percent`, where a limit has one amount for all."""
    if any(limit.tier_amounts for limit in limits) or len(limits) > _MOST_LIMITS:
        return ""
    return " = " + ", ".join(
        f"{shown_amount(limit.amount * entry.share * percent // 10_000, limit.unit.value)} {limit_label(entry, limit)}"
        for limit in limits
    )
