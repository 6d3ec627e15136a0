"""What is valid in a quota by itself, and perhaps not meant. Pure."""

from collections.abc import Iterator

from tidegate_dataplane.snapshot.entries import (
    Accuracy,
    FailureMode,
    LimitEntry,
    OnExceed,
    QuotaEntry,
    QuotaScope,
)
from tidegate_operator.compile.problems import sort_findings
from tidegate_operator.verdicts import Finding, Reason
from tidegate_operator.world import Facts

# Whose counters have the form namespace/name.
_KEYED = (QuotaScope.CONSUMER, QuotaScope.TEAM, QuotaScope.ROUTE, QuotaScope.BACKEND)
# Calls go on beyond these; Block then ends them.
_MILD = (OnExceed.FALLBACK, OnExceed.CHARGE)


def quota_notes(entry: QuotaEntry, facts: Facts) -> tuple[Finding, ...]:
    """All notes of one quota, sorted."""
    return sort_findings([*_shares(entry, facts), *_grants(entry), *_useless(entry), *_unreached(entry)])


def _shares(entry: QuotaEntry, facts: Facts) -> Iterator[Finding]:
    if entry.share == 0:
        name = facts.cluster.name
        where = f"this cluster, {name}," if name else "this cluster, which was given no name,"
        message = f"{where} has none of it, so all that this quota counts is used up here: name the cluster in it"
        yield Finding(Reason.NO_SHARE, "spec.share", message)
        return
    for position, limit in enumerate(entry.limits):
        if any(amount and not amount * entry.share // 100 for amount in (limit.amount, *limit.tier_amounts.values())):
            message = f"{entry.share} % of it, this cluster's share, is less than can be counted, so it is used up here"
            yield Finding(Reason.NO_SHARE, f"spec.limits[{position}]", message)


def _grants(entry: QuotaEntry) -> Iterator[Finding]:
    units = {limit.unit for limit in entry.limits}
    for position, grant in enumerate(entry.grants):
        if grant.unit not in units:
            message = "no limit of this quota has this unit, so the grant adds to nothing"
            yield Finding(Reason.GRANT_UNUSED, f"spec.grants[{position}].unit", message)
        if grant.scope and entry.per in _KEYED and "/" not in grant.scope:
            message = f"names no {entry.per} (namespace/name), so the grant adds to nothing"
            yield Finding(Reason.GRANT_UNUSED, f"spec.grants[{position}].for", message)
        elif grant.scope and entry.per is QuotaScope.GATEWAY:
            message = "names no counter, for per: Gateway has only one, so the grant adds to nothing: leave it out"
            yield Finding(Reason.GRANT_UNUSED, f"spec.grants[{position}].for", message)


def _useless(entry: QuotaEntry) -> Iterator[Finding]:
    if entry.accuracy is Accuracy.LOCAL and entry.failure_mode is not FailureMode.CLOSED:
        message = "has no effect with accuracy: Local, which needs no store: say Leased or Exact, or leave it out"
        yield Finding(Reason.WITHOUT_EFFECT, "spec.failureMode", message)
    elif entry.safe_share != 100 and entry.failure_mode is not FailureMode.LOCAL:
        message = "has no effect without failureMode: Local"
        yield Finding(Reason.WITHOUT_EFFECT, "spec.safeShare", message)
    if entry.notify is not None and not any(limit.alert_at for limit in entry.limits):
        message = "is never called: no limit of this quota has alertAt"
        yield Finding(Reason.WITHOUT_EFFECT, "spec.notify", message)


def _unreached(entry: QuotaEntry) -> Iterator[Finding]:
    """A limit that sends calls elsewhere, or charges them, above one that refuses them."""
    blocking = [limit for limit in entry.limits if limit.on_exceed is OnExceed.BLOCK]
    for position, limit in enumerate(entry.limits):
        if limit.on_exceed in _MILD and any(_covers(each, limit) for each in blocking):
            message = (
                f"{limit.on_exceed} is never reached: a limit of the same window blocks at no more than this amount"
            )
            yield Finding(Reason.WITHOUT_EFFECT, f"spec.limits[{position}].amount", message)


def _covers(blocking: LimitEntry, limit: LimitEntry) -> bool:
    same = (blocking.unit, blocking.window, blocking.expression) == (limit.unit, limit.window, limit.expression)
    return same and all(
        blocking.tier_amounts.get(tier, blocking.amount) <= limit.tier_amounts.get(tier, limit.amount)
        for tier in ("", *blocking.tier_amounts, *limit.tier_amounts)
    )
