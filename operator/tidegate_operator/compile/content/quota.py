"""Own content of a Quota."""

from decimal import Decimal

from tidegate_crds.v1alpha1.quota import DefaultPrice as SpecDefaultPrice
from tidegate_crds.v1alpha1.quota import Grant, Limit, Notify, QuotaSpec, Window
from tidegate_dataplane.expressions.clock import time_zones
from tidegate_dataplane.snapshot.entries import (
    Accuracy,
    CalendarPeriod,
    DefaultPrice,
    ExtraAmount,
    FailureMode,
    KeyScope,
    LimitEntry,
    MidStream,
    NotifyEntry,
    OnExceed,
    QuotaEntry,
    QuotaScope,
    Unit,
    WindowEntry,
)
from tidegate_operator.compile.content.certificates import ca_bundle
from tidegate_operator.compile.content.endpoint import check_url
from tidegate_operator.compile.content.expression import check_key_expression, check_usage_expression
from tidegate_operator.compile.content.fields import (
    duration_within,
    moment,
    placement_of,
    secret_ref,
    source_of,
    target_refs,
)
from tidegate_operator.compile.durations import DAY, MINUTE, SECOND
from tidegate_operator.compile.problems import Problems
from tidegate_operator.world import Facts, Resource

_LONGEST_WINDOW = 366 * DAY
_LONGEST_WAIT = 5 * MINUTE
# What the shared store can add up exactly: its scripts count in doubles.
_MOST_SHARED = 9_000_000_000_000_000
# A 64-bit integer, which the data planes count in.
_MOST_LOCAL = 9_000_000_000_000_000_000
_MICRO = 1_000_000
_SCALE = {Unit.COST: _MICRO, Unit.COMPUTE_SECONDS: 1_000}


def quota_content(resource: Resource, spec: QuotaSpec, facts: Facts, problems: Problems) -> QuotaEntry:
    """Lower a valid spec for this cluster; notes problems of targets, amounts, windows, expressions, shares, grants and
    limits that would share a counter."""
    accuracy = Accuracy(spec.accuracy.value)
    limits = tuple(_limit(limit, position, accuracy, problems) for position, limit in enumerate(spec.limits))
    _check_repeated(limits, problems)
    grants = tuple(_grant(grant, position, problems) for position, grant in enumerate(spec.grants))
    _check_granted(limits, grants, accuracy, problems)
    if spec.parent == resource.key.name:
        problems.add("spec.parent", "is this quota itself: name another one, or leave it out")
    return QuotaEntry(
        source=source_of(resource),
        target_refs=target_refs(spec.target_refs, resource, facts, problems),
        per=QuotaScope(spec.per.value),
        limits=limits,
        tiers=tuple(sorted(spec.consumers.tiers)) if spec.consumers else (),
        teams=tuple(sorted(spec.consumers.teams)) if spec.consumers else (),
        placement=placement_of(spec.placement),
        accuracy=accuracy,
        failure_mode=FailureMode(spec.failure_mode.value),
        key=_key(spec, problems),
        parent=f"{resource.key.namespace}/{spec.parent}" if spec.parent else "",
        share=_share(spec.share, "spec.share", facts, problems),
        # Percents of what each cluster has for itself may be 100 everywhere; of what they share they may not.
        safe_share=_share(spec.safe_share, "spec.safeShare", facts, problems, of_own=bool(spec.share)),
        grants=grants,
        notify=_notify(spec.notify, problems) if spec.notify else None,
    )


def _limit(limit: Limit, position: int, accuracy: Accuracy, problems: Problems) -> LimitEntry:
    field = f"spec.limits[{position}]"
    unit = Unit(limit.unit.value)
    if limit.expression is not None:
        check_usage_expression(limit.expression, f"{field}.expression", problems)
    amounts = {
        tier: _amount(text, unit, accuracy, f"{field}.tierAmounts.{tier}", problems)
        for tier, text in sorted(limit.tier_amounts.items())
    }
    amount = _amount(limit.amount, unit, accuracy, f"{field}.amount", problems)
    return LimitEntry(
        unit=unit,
        amount=amount,
        window=_window(limit.window, f"{field}.window", problems) if limit.window else None,
        on_exceed=OnExceed(limit.on_exceed.value),
        tier_amounts=amounts,
        expression=limit.expression or "",
        overage_price=micro(limit.overage_price) if limit.overage_price else 0,
        queue_ms=_queue(limit, field, problems),
        alert_at=tuple(sorted(limit.alert_at)),
        mid_stream=MidStream(limit.mid_stream.value),
        default_price=_default_price(limit.default_price) if limit.default_price else None,
    )


def _amount(text: str, unit: Unit, accuracy: Accuracy, field: str, problems: Problems) -> int:
    """In the unit that is counted: micro-dollars of Cost, milliseconds of ComputeSeconds."""
    value = Decimal(text) * _SCALE.get(unit, 1)
    if value != int(value):
        problems.add(field, "has more digits than are counted: Cost has six after the point, ComputeSeconds three")
    if value > _most(accuracy):
        problems.add(field, f"is too much to be counted: {_most_text(unit, accuracy)}")
    return int(value)


def _most(accuracy: Accuracy) -> int:
    return _MOST_LOCAL if accuracy is Accuracy.LOCAL else _MOST_SHARED


def _most_text(unit: Unit, accuracy: Accuracy) -> str:
    return f"with accuracy {accuracy} at most {_most(accuracy) // _SCALE.get(unit, 1)}"


def _check_granted(
    limits: tuple[LimitEntry, ...], grants: tuple[ExtraAmount, ...], accuracy: Accuracy, problems: Problems
) -> None:
    """Grants may all be in force at once, and then a limit must still be one that can be counted."""
    for unit in sorted({grant.unit for grant in grants}):
        granted = sum(grant.amount for grant in grants if grant.unit is unit)
        amounts = [max(limit.amount, *limit.tier_amounts.values(), 0) for limit in limits if limit.unit is unit]
        if granted + max(amounts, default=0) > _most(accuracy):
            problems.add("spec.grants", f"comes to too much {unit} with the amount: {_most_text(unit, accuracy)}")


def micro(text: str) -> int:
    """Micro-dollars of a decimal number of dollars; of a price per million tokens, per million tokens."""
    return int(Decimal(text) * _MICRO)


def _queue(limit: Limit, field: str, problems: Problems) -> int:
    if limit.on_exceed.value != OnExceed.QUEUE:
        return 0
    timeout = limit.queue.timeout if limit.queue else "10s"
    return duration_within(timeout, f"{field}.queue.timeout", problems, least=1, most=_LONGEST_WAIT)


def _default_price(price: SpecDefaultPrice) -> DefaultPrice:
    return DefaultPrice(input=micro(price.input), output=micro(price.output))


def _key(spec: QuotaSpec, problems: Problems) -> KeyScope | None:
    if spec.key is None:
        return None
    check_key_expression(spec.key.expression, "spec.key.expression", problems)
    return KeyScope(expression=spec.key.expression, max_values=spec.key.max_values)


def _share(shares: dict[str, int], field: str, facts: Facts, problems: Problems, *, of_own: bool = False) -> int:
    """This cluster's percent; all of it where nothing is split."""
    if not shares:
        return 100
    if sum(shares.values()) > 100 and not of_own:
        problems.add(field, f"adds up to {sum(shares.values())} percent: lower some, the sum is at most 100")
    return shares.get(facts.cluster.name, 0)


def _grant(grant: Grant, position: int, problems: Problems) -> ExtraAmount:
    field = f"spec.grants[{position}]"
    unit = Unit(grant.unit.value)
    begins = moment(grant.not_before, f"{field}.notBefore", problems)
    ends = moment(grant.not_after, f"{field}.notAfter", problems) or 0
    if begins is not None and begins >= ends:
        problems.add(f"{field}.notAfter", "must be later than notBefore")
    return ExtraAmount(
        name=grant.name,
        unit=unit,
        amount=_amount(grant.amount, unit, Accuracy.LOCAL, f"{field}.amount", problems),
        not_after=ends,
        not_before=begins,
        scope=grant.scope or "",
        reason=grant.reason,
    )


def _notify(notify: Notify, problems: Problems) -> NotifyEntry:
    check_url(notify.url, "spec.notify.url", problems)
    return NotifyEntry(
        url=notify.url,
        secret=secret_ref(notify.secret_ref) if notify.secret_ref else None,
        ca_bundle=ca_bundle(notify.tls.ca_bundle, "spec.notify.tls.caBundle", problems) if notify.tls else "",
    )


def _window(window: Window, field: str, problems: Problems) -> WindowEntry:
    if window.sliding is not None:
        length = duration_within(window.sliding, f"{field}.sliding", problems, least=SECOND, most=_LONGEST_WINDOW)
        return WindowEntry(sliding_ms=length)
    zone = window.time_zone or "UTC"
    if zone not in time_zones():
        problems.add(
            f"{field}.timeZone", "is no IANA time zone: write one such as Europe/Berlin, or leave it out for UTC"
        )
    calendar = CalendarPeriod(window.calendar.value) if window.calendar else None
    return WindowEntry(calendar=calendar, time_zone=zone)


def _check_repeated(limits: tuple[LimitEntry, ...], problems: Problems) -> None:
    # Of two limits that count the same and do the same, only the smaller could ever matter. What they do may differ:
    # fall back at 8 dollars, block at 10.
    first: dict[tuple[Unit, WindowEntry | None, str, OnExceed], int] = {}
    for position, limit in enumerate(limits):
        earlier = first.setdefault((limit.unit, limit.window, limit.expression, limit.on_exceed), position)
        if earlier != position:
            problems.add(
                f"spec.limits[{position}]", f"has the unit, window and onExceed of limit {earlier}: remove one of them"
            )
