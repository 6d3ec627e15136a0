"""What has ended, or ends soon: keys, subscriptions, approvals, grants."""

from collections.abc import Iterator

from tidegate_dataplane.snapshot.entries import ConsumerEntry
from tidegate_operator.compile.timestamps import format_timestamp
from tidegate_operator.lint.codes import Code
from tidegate_operator.lint.finding import Finding, View
from tidegate_operator.world import ObjectKey

_DAY = 86_400


def expiry(view: View) -> Iterator[Finding]:
    """By the time of the view; revoked keys and suspended consumers have ended on purpose."""
    for key, consumer in view.consumers.items():
        if not consumer.suspended:
            yield from _keys(view, key, consumer)
    for key, subscription in view.subscriptions.items():
        if _ended(subscription.not_after, view.now):
            yield Finding(Code.SUBSCRIPTION_ENDED, key, "spec.notAfter", f"it ended at {_time(subscription.not_after)}")
    for key, approval in view.approvals.items():
        if _ended(approval.not_after, view.now) and not approval.revoked:
            yield Finding(Code.GRANT_ENDED, key, "spec.notAfter", f"the approval ended at {_time(approval.not_after)}")
    for key, quota in view.quotas.items():
        for grant in quota.grants:
            if _ended(grant.not_after, view.now):
                field = view.item(key, "spec.grants", grant.name)
                yield Finding(Code.GRANT_ENDED, key, field, f"the grant ended at {_time(grant.not_after)}")


def _keys(view: View, object: ObjectKey, consumer: ConsumerEntry) -> Iterator[Finding]:
    for key in consumer.keys:
        if key.revoked or key.not_after is None:
            continue
        field = f"{view.item(object, 'spec.credentials.apiKeys', key.name)}.notAfter"
        left = key.not_after - view.now
        if left <= 0:
            message = f"key {key.name} expired at {_time(key.not_after)}"
            yield Finding(Code.KEY_EXPIRED, object, field, message)
        elif left <= view.within:
            message = f"key {key.name} expires at {_time(key.not_after)}, in {_days(left)}"
            yield Finding(Code.KEY_EXPIRES_SOON, object, field, message)


def _ended(end: int | None, now: float) -> bool:
    return end is not None and end <= now


def _time(seconds: int | None) -> str:
    return "" if seconds is None else format_timestamp(seconds)


def _days(seconds: float) -> str:
    days = int(seconds // _DAY)
    return "less than a day" if days == 0 else "1 day" if days == 1 else f"{days} days"
