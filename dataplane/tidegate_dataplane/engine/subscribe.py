"""Whether the caller has subscribed, on a route that asks for it."""

from datetime import UTC, datetime

from tidegate_dataplane.engine import denials
from tidegate_dataplane.engine.authorize import Subject
from tidegate_dataplane.engine.decision import Denial, Step, Verdict
from tidegate_dataplane.runtime.objects import NOBODY, Subscriber, Subscriptions


def live_subscription(subscriptions: Subscriptions, consumer: str, now: float) -> Subscriber | None:
    """The oldest subscription of a consumer (by its key) that has not ended."""
    found = subscriptions.by_consumer.get(consumer)
    while found is not None and now >= found.not_after:
        found = found.younger
    return found


def unsubscribed(subject: Subject, subscriptions: Subscriptions, trace: list[Step] | None) -> Denial | None:
    """Why the caller may not use the route without a subscription; else None, and the subject knows which it is."""
    found = live_subscription(subscriptions, subject.consumer.key, subject.now)
    for view in (subject, *subject.views):
        view.subscription = found
    if trace is not None:
        _note(subject, subscriptions, trace)
    if found is not None:
        return None
    if subject.identity is NOBODY:
        return denials.NO_KEY
    ended = subscriptions.by_consumer.get(subject.consumer.key)
    return denials.subscription_required(subject.route, subscriptions, ended)


def _note(subject: Subject, subscriptions: Subscriptions, trace: list[Step]) -> None:
    route, found = subject.route.ref, subject.subscription
    if found is not None:
        until = "without end" if found.not_after == float("inf") else f"until {_time(found.not_after)}"
        saw = f"approved on {route} for plan {found.plan.name}, {until}"
        trace.append(Step("subscription", f"AISubscription {found.subscription}", 0, "", saw, Verdict.ACCEPTED))
        return
    ended = subscriptions.by_consumer.get(subject.consumer.key)
    saw = f"asks for a subscription to one of {', '.join(subscriptions.plans)}; "
    if ended is not None:
        saw += f"AISubscription {ended.subscription} ended at {_time(ended.not_after)}"
    elif subject.identity is NOBODY:
        saw += "nobody in particular can have one"
    else:
        saw += f"AIConsumer {subject.consumer.key} has none that is approved"
    trace.append(Step("subscription", str(route), route.generation, "", saw, Verdict.DENIED))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
