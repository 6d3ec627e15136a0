"""Consumers that cannot call, or that nothing counts."""

from collections.abc import Iterator

from tidegate_dataplane.runtime.objects import Consumer, Quota, Route
from tidegate_operator.lint.codes import Code
from tidegate_operator.lint.finding import Finding, View
from tidegate_operator.world import ObjectKey


def consumers(view: View) -> Iterator[Finding]:
    """Without a credential, without a route that may let it in, without a quota on any such route."""
    for key in view.consumers:
        consumer = view.runtime.consumers.get(f"{key.namespace}/{key.name}")
        if consumer is not None and not consumer.entry.suspended:
            yield from _judge(view, key, consumer)


def _judge(view: View, key: ObjectKey, consumer: Consumer) -> Iterator[Finding]:
    if not view.reach.methods(consumer):
        message = "it has no credential that works now or later"
        yield Finding(Code.CONSUMER_WITHOUT_CREDENTIAL, key, "spec.credentials", message)
        return
    entered = False
    for route in view.reach.routes_for(consumer):
        entered = True
        if any(_concerns(quota, consumer, route) for quota in _quotas(route)):
            return
    if entered:
        yield Finding(Code.UNLIMITED_CONSUMER, key, "", "no Quota counts it on any route that it can call")
    else:
        yield Finding(Code.UNUSED_CONSUMER, key, "", _why_unused(view, consumer))


def _why_unused(view: View, consumer: Consumer) -> str:
    known = len(view.reach.admitting(consumer.namespace))
    if not known:
        return f"no route admits consumers of its namespace, {consumer.namespace}"
    routes = "the one route that admits" if known == 1 else f"none of the {known} routes that admit"
    return f"{routes} its namespace {'does not let' if known == 1 else 'lets'} it in, by method, role or subscription"


def _quotas(route: Route) -> Iterator[Quota]:
    yield from route.quotas
    yield from route.per_call
    yield from route.per_backend


def _concerns(quota: Quota, consumer: Consumer, route: Route) -> bool:
    # A mapping may read tier and team from a token where the AIConsumer is silent.
    mapped = bool(route.guard.mappings)
    by_tier = not quota.tiers or consumer.tier in quota.tiers or (mapped and not consumer.tier)
    by_team = not quota.teams or consumer.team in quota.teams or (mapped and not consumer.team)
    return by_tier and by_team
