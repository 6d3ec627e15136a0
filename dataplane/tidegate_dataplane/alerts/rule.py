"""From which use on somebody wants to hear of a counter. Pure."""

from math import floor
from typing import Final

from msgspec import Struct

from tidegate_dataplane.snapshot.entries import Accuracy, LimitEntry, NotifyEntry, QuotaEntry
from tidegate_dataplane.snapshot.limit_label import limit_label

# No counter gets there: what `note` returns when there is nothing more to tell in a window.
NEVER: Final = 2**63 - 1


class AlertRule(Struct, frozen=True, gc=False):
    """The thresholds of one limit of a quota, and who is told.

    `counter` names the limit and the same limit everywhere (the key of its counters without the scope's value), `quota`
    is "namespace/name", `limit` what people call it, such as "Tokens per Month". `percents` of the amount rise.
    `shared` tells that all data planes count together, in whatever cluster; without it each cluster's alerts are its
    own. `notify` is the webhook, if one is called.
    """

    counter: str
    quota: str
    limit: str
    unit: str
    percents: tuple[int, ...]
    shared: bool = False
    notify: NotifyEntry | None = None


def alert_rule(entry: QuotaEntry, limit: LimitEntry, counter: str) -> AlertRule | None:
    """What to tell of one limit of a quota; None when it has no thresholds. `counter` as in AlertRule."""
    if not limit.alert_at:
        return None
    return AlertRule(
        counter=counter,
        quota=entry.source.key,
        limit=limit_label(entry, limit),
        unit=limit.unit.value,
        percents=limit.alert_at,
        # A cluster that has a share of its own counts by itself.
        shared=entry.accuracy is not Accuracy.LOCAL and entry.share == 100,
        notify=entry.notify,
    )


def threshold(amount: int, percent: int) -> int:
    """The least use that is at least `percent` of `amount`; never 0, for what is not used crosses nothing."""
    return max(1, -(-amount * percent // 100))


def aligned_window(seconds: float, now: float) -> tuple[float, float]:
    """The stretch in which a sliding window of `seconds` alerts once: whole multiples of its length since the epoch.

    A sliding window has no beginning, so that without this a use that swings about a threshold would alert for ever.
    """
    start = floor(now / seconds) * seconds
    return start, start + seconds
