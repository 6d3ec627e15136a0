"""The subscribers of a route, found by their consumer in one lookup."""

from tidegate_dataplane.runtime.build_error import BuildError
from tidegate_dataplane.runtime.lower import SEPARATOR, lower_bucket, reference
from tidegate_dataplane.runtime.objects import Plan, Route, Subscriber, Subscriptions
from tidegate_dataplane.snapshot.entries import PlanEntry, RateLimitScope, RouteEntry


def lower_subscriptions(entry: RouteEntry, former: Route | None = None) -> Subscriptions | None:
    """None where the route asks for no subscription. What `former`, the route before, had is kept if it is the same.

    Raises BuildError for a plan whose limit can never be met.
    """
    if entry.plans is None:
        return None
    if former is not None and _same(former.entry, entry):
        return former.subscriptions
    plans = {plan.name: _plan(entry, plan) for plan in entry.plans}
    by_consumer: dict[str, Subscriber] = {}
    # From the last to the first: the older of two of one consumer stand first, and keep the younger behind them.
    for subscriber in reversed(entry.subscribers):
        plan = plans.get(subscriber.plan)
        if plan is not None:
            by_consumer[subscriber.consumer] = Subscriber(
                subscriber.subscription,
                plan,
                float("inf") if subscriber.not_after is None else subscriber.not_after,
                by_consumer.get(subscriber.consumer),
            )
    return Subscriptions(tuple(plans), by_consumer)


def _same(former: RouteEntry, entry: RouteEntry) -> bool:
    return former.source == entry.source and former.plans == entry.plans and former.subscribers == entry.subscribers


def _plan(route: RouteEntry, plan: PlanEntry) -> Plan:
    if not plan.requests:
        return Plan(plan.name, None)
    if plan.requests < 0 or plan.period_ms <= 0 or plan.burst <= 0:
        raise BuildError(f"AIRoute {route.source.key} plan {plan.name}: requests, period and burst must be above zero")
    ref = reference("AIRoute", route.source, f"plan {plan.name}")
    key = SEPARATOR.join(("plan", route.source.key, plan.name, ""))
    return Plan(plan.name, lower_bucket(ref, key, RateLimitScope.CONSUMER, plan.requests, plan.period_ms, plan.burst))
