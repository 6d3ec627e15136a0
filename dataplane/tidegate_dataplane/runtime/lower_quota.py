"""A quota's entry in, its compiled form out; see `lower`."""

from hashlib import blake2b
from typing import Final

from tidegate_dataplane.alerts.rule import alert_rule
from tidegate_dataplane.expressions import ExpressionError, KeyProgram, MeasureProgram, compile_key, compile_measure
from tidegate_dataplane.expressions.clock import time_zone
from tidegate_dataplane.expressions.environment import USAGE
from tidegate_dataplane.ledger.demand import MEASURES, Terms, Window
from tidegate_dataplane.pricing.price import PriceSource, lower_price
from tidegate_dataplane.runtime.build_error import BuildError
from tidegate_dataplane.runtime.lower import MOST_BY_CALL, SEPARATOR, reference
from tidegate_dataplane.runtime.objects import Extra, Quota, QuotaLimit
from tidegate_dataplane.snapshot.entries import (
    ExtraAmount,
    LimitEntry,
    OnExceed,
    PriceEntry,
    QuotaEntry,
    Source,
    Unit,
    WindowEntry,
)
from tidegate_dataplane.snapshot.limit_label import limit_label

_PASSING: Final = frozenset({OnExceed.ALERT, OnExceed.CHARGE})


def lower_quota(entry: QuotaEntry) -> Quota:
    """Raises BuildError for an unknown time zone or an empty window."""
    seen: dict[tuple[str, str], int] = {}
    return Quota(
        ref=reference("Quota", entry.source),
        per=entry.per,
        tiers=frozenset(entry.tiers),
        teams=frozenset(entry.teams),
        limits=tuple(_limit(entry, limit, seen) for limit in entry.limits),
        entry=entry,
        program=_key_program(entry),
    )


def _key_program(entry: QuotaEntry) -> KeyProgram | None:
    if entry.key is None:
        return None
    try:
        return compile_key(entry.key.expression)
    except ExpressionError as error:
        raise BuildError(f"Quota {entry.source.key} key: {error}") from error


def _counted(entry: LimitEntry) -> str:
    """What a limit counts. Another expression is another unit: what was counted of one says nothing of the other."""
    if not entry.expression:
        return entry.unit
    return f"{entry.unit}:{blake2b(entry.expression.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"


def _limit(quota: QuotaEntry, entry: LimitEntry, seen: dict[tuple[str, str], int]) -> QuotaLimit:
    window = None if entry.window is None else _window(quota.source, entry.window)
    label = "" if window is None else window.label
    # Two limits of one unit and window (say Alert at 80, Block at 100) count in counters of their own.
    what = _counted(entry)
    repeat = seen.get((what, label), 0)
    seen[what, label] = repeat + 1
    ref = reference("Quota", quota.source, entry.unit)
    key = SEPARATOR.join(("quota", quota.source.key, what, label, str(repeat) if repeat else "", quota.per, ""))
    terms = Terms(
        kind=ref.kind,
        object=ref.key,
        generation=ref.generation,
        name=ref.rule,
        unit=entry.unit,
        measure=MEASURES[entry.unit],
        key=key,
        label=limit_label(quota, entry),
        window=window,
        accuracy=quota.accuracy,
        failure=quota.failure_mode,
        on_exceed=entry.on_exceed,
        program=_measure(quota.source, entry),
        alert=alert_rule(quota, entry, key),
        mid_stream=entry.mid_stream,
        overage_price=entry.overage_price,
        queue=entry.queue_ms / 1000,
        safe_share=quota.safe_share,
        most_values=_most_values(quota),
    )
    price, program = entry.default_price, terms.program
    return QuotaLimit(
        terms=terms,
        amount=_shared(entry.amount, quota),
        tier_amounts={tier: _shared(amount, quota) for tier, amount in entry.tier_amounts.items()},
        extras=tuple(_extra(grant, quota) for grant in quota.grants if grant.unit is entry.unit),
        blocks=entry.on_exceed not in _PASSING,
        default_price=None
        if price is None
        else lower_price(PriceEntry(input=price.input, output=price.output), PriceSource.DEFAULT),
        priced=entry.unit is Unit.COST or (program is not None and program.reads(USAGE, "cost")),
    )


def _shared(amount: int, quota: QuotaEntry) -> int:
    """This cluster's part of an amount; what does not divide is nobody's, so that the parts never add up to more."""
    return amount * quota.share // 100


def _extra(grant: ExtraAmount, quota: QuotaEntry) -> Extra:
    begins = float("-inf") if grant.not_before is None else grant.not_before
    return Extra(_shared(grant.amount, quota), begins, grant.not_after, grant.scope)


def _measure(source: Source, entry: LimitEntry) -> MeasureProgram | None:
    if not entry.expression:
        return None
    try:
        return compile_measure(entry.expression)
    except ExpressionError as error:
        raise BuildError(f"Quota {source.key} expression: {error}") from error


def _most_values(quota: QuotaEntry) -> int:
    if quota.key is not None:
        return quota.key.max_values
    return MOST_BY_CALL.get(quota.per, 0)


def _window(source: Source, entry: WindowEntry) -> Window:
    if entry.calendar is None:
        if entry.sliding_ms <= 0:
            raise BuildError(f"Quota {source.key}: a window is neither a calendar period nor a length of time")
        return Window(None, "UTC", entry.sliding_ms / 1000, f"sliding:{entry.sliding_ms}ms")
    try:
        time_zone(entry.time_zone)
    except ValueError as error:
        raise BuildError(f"Quota {source.key}: {error}") from error
    return Window(entry.calendar, entry.time_zone, 0.0, f"{entry.calendar}@{entry.time_zone}")
