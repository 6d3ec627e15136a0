"""The part of a Quota's status that tells what is used: from what all data planes say to what people read. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tidegate_dataplane.snapshot.entries import Accuracy, QuotaEntry
from tidegate_dataplane.snapshot.limit_label import limit_label
from tidegate_operator.compile.timestamps import format_timestamp
from tidegate_operator.quotas.amounts import shown_amount
from tidegate_operator.quotas.bounds import overrun_bound
from tidegate_operator.quotas.pages import LimitPage, Row, StorePage

TOP = 5
CONNECTED = "Connected"
UNAVAILABLE = "Unavailable"
# So many of the fullest counters of each limit are asked for: where each data plane counts by itself, the same counter
# must be among the fullest on all of them for its sum to be right.
ASKED = 20


@dataclass(frozen=True, slots=True)
class FullCounter:
    """One of the fullest counters, as in a status."""

    limit: str
    scope: str
    used: str
    amount: str
    percent: int
    resets: str = ""


@dataclass(frozen=True, slots=True)
class QuotaFigures:
    """The figures of a Quota's status; `top` begins with the fullest counter. "" for what is not known."""

    counters: int = 0
    top: tuple[FullCounter, ...] = ()
    overrun_bound: str = ""
    store: str = ""

    def looks_like(self, other: "QuotaFigures") -> bool:
        """Whether nothing is told that a reader would notice: amounts used and the ends of sliding
        windows move with every call, percents seldom."""
        return replace(self, top=_seldom_moved(self.top)) == replace(other, top=_seldom_moved(other.top))


@dataclass(frozen=True, slots=True)
class Told:
    """What all data planes say that concerns one quota: its limits, from each of them, and how their stores fare.

    `data_planes` serve; of those, `heard` have said anything at all.
    """

    limits: tuple[LimitPage, ...] = ()
    stores: tuple[StorePage, ...] = ()
    data_planes: int = 0
    heard: int = 0


def quota_figures(entry: QuotaEntry, told: Told) -> QuotaFigures:
    """What is to be told of a quota in force."""
    rows = [row for label in sorted({limit.limit for limit in told.limits}) for row in _merged(label, told.limits)]
    rows.sort(key=lambda found: (-found.percent, found.limit, found.scope))
    return QuotaFigures(
        counters=max((limit.counters for limit in told.limits), default=0),
        top=tuple(rows[:TOP]) or ((_untouched(entry),) if told.heard else ()),
        overrun_bound=overrun_bound(entry, told.data_planes),
        store="NotUsed" if entry.accuracy is Accuracy.LOCAL else store_state(told.stores, told.heard),
    )


def store_state(stores: Iterable[StorePage], heard: int) -> str:
    """Whether so many data planes reach the shared store; those that have only just started do not count."""
    told = list(stores)
    without = heard - len(told)
    if without:
        return f"Missing: {without}/{heard} data planes were started without --store, so failureMode holds there"
    known = [store for store in told if store.reason != "starting"]
    lost = [store for store in known if not store.connected]
    if lost:
        reasons = ", ".join(sorted({store.reason or "unknown" for store in lost}))
        return f"{UNAVAILABLE}: {reasons} on {len(lost)}/{len(known)} data planes"
    return CONNECTED if known else "Unknown"


def _merged(label: str, limits: Iterable[LimitPage]) -> Iterable[FullCounter]:
    """The counters of one limit: of a shared one each data plane knows the total, or an older one; else they add up."""
    rows: dict[str, Row] = {}
    unit = ""
    for limit in limits:
        if limit.limit != label:
            continue
        unit = limit.unit
        shared = limit.accuracy != Accuracy.LOCAL.value
        for row in limit.top:
            known = rows.get(row.scope)
            rows[row.scope] = row if known is None else _both(known, row, shared=shared, sliding=_slides(label))
    return (
        FullCounter(
            limit=label,
            scope=row.scope,
            used=shown_amount(row.used, unit),
            amount=shown_amount(row.amount, unit),
            percent=row.used * 100 // row.amount if row.amount > 0 else (100 if row.used else 0),
            resets=format_timestamp(row.resets) if row.resets else "",
        )
        for row in rows.values()
    )


def _both(one: Row, other: Row, *, shared: bool, sliding: bool) -> Row:
    """What two data planes say of one counter. Of two windows the newer one counts; amounts differ during a reload."""
    if one.resets != other.resets and not sliding:
        return max(one, other, key=lambda row: row.resets)
    used = max(one.used, other.used) if shared else one.used + other.used
    return Row(one.scope, used, max(one.amount, other.amount), max(one.resets, other.resets))


def _slides(label: str) -> bool:
    """Whether the window of a limit, by what `limit_label` calls it, ends with each use a little later."""
    return " in " in label


def _untouched(entry: QuotaEntry) -> FullCounter:
    """What is told of a quota of which nothing is used."""
    limit = entry.limits[0]
    amount = shown_amount(limit.amount * entry.share // 100, limit.unit.value)
    return FullCounter(limit_label(entry, limit), "", "0", amount, 0)


def _seldom_moved(top: tuple[FullCounter, ...]) -> tuple[FullCounter, ...]:
    return tuple(replace(counter, used="", resets="" if _slides(counter.limit) else counter.resets) for counter in top)
