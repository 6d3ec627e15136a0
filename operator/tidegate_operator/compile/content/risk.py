"""The risk section of an AIPolicy."""

from tidegate_crds.v1alpha1.risk import Risk, Signal
from tidegate_dataplane.expressions.clock import time_zone
from tidegate_dataplane.snapshot.entries import ListKind, RiskEntry, SignalEntry, SignalKind
from tidegate_operator.compile.content.expression import check_expression
from tidegate_operator.compile.content.fields import duration_within
from tidegate_operator.compile.content.lists import list_refs
from tidegate_operator.compile.durations import DAY, SECOND
from tidegate_operator.compile.problems import Problems

_FIELD = "spec.risk"


def risk_content(risk: Risk, problems: Problems) -> RiskEntry:
    """Lower a valid section; notes problems of expressions, time zones and durations."""
    thresholds, step_up = risk.thresholds, risk.step_up
    max_age = step_up.max_age if step_up else None
    return RiskEntry(
        signals=tuple(_signal(signal, f"{_FIELD}.signals[{at}]", problems) for at, signal in enumerate(risk.signals)),
        step_up=thresholds.step_up,
        approval=thresholds.approval,
        deny=thresholds.deny,
        acr_values=tuple(sorted(step_up.acr_values or ())) if step_up else (),
        max_age_ms=(
            duration_within(max_age, f"{_FIELD}.stepUp.maxAge", problems, least=SECOND, most=30 * DAY) if max_age else 0
        ),
    )


def _signal(signal: Signal, field: str, problems: Problems) -> SignalEntry:
    if signal.when is not None:
        check_expression(signal.when, f"{field}.when", problems)
    if signal.time_zone is not None:
        try:
            time_zone(signal.time_zone)
        except ValueError as error:
            problems.add(f"{field}.timeZone", str(error))
    return SignalEntry(
        name=signal.name,
        kind=SignalKind(signal.type.value),
        weight=signal.weight,
        header=signal.header or "",
        time_zone=signal.time_zone or "UTC",
        count=signal.count or 0,
        period_ms=(
            duration_within(signal.period, f"{field}.period", problems, least=SECOND, most=DAY) if signal.period else 0
        ),
        after=signal.after,
        lists=list_refs(signal.lists, ListKind.ADDRESSES),
        when=signal.when or "",
    )
