"""In which order the targets of a route are tried."""

from bisect import bisect_right

from msgspec.structs import replace

from tidegate_dataplane.engine.authorize import subject_of
from tidegate_dataplane.engine.by_target import authorize_targets
from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.decision import Decision
from tidegate_dataplane.runtime.build import Runtime
from tidegate_dataplane.runtime.objects import Route, Target, Tier


def attempts(route: Route, pick: float, left: tuple[Tier, ...] | None = None) -> tuple[Target, ...]:
    """All usable targets in the order of trying: tier by tier, in each a weighted choice and then the others.

    `pick` is a random number in [0, 1): equal picks give equal orders. `left` are the targets that rules leave for this
    call, if they leave out some. Empty when the route has no usable target.
    """
    tiers = route.tiers if left is None else left
    if len(tiers) == 1:
        tier = tiers[0]
        orders = tier.orders
        return orders[0] if len(orders) == 1 else orders[_first(tier.bounds, pick)]
    return tuple(target for tier in tiers for target in tier.orders[_first(tier.bounds, pick)])


def fallbacks(runtime: Runtime, decision: Decision, call: Call, now: float, pick: float) -> tuple[Target, ...]:
    """The route's fallback targets in the order of trying, as far as the rules leave them for this call."""
    route, identity = decision.route, decision.identity
    if route is None or identity is None:
        return ()
    instead = replace(route, tiers=route.fallbacks)
    left: tuple[Tier, ...] | None = None
    if route.guard.by_target:
        subject = subject_of(runtime, call, instead, identity, now)
        if authorize_targets(route.guard, subject).refused is not None:
            return ()
        left = subject.tiers
    return attempts(instead, pick, left)


def _first(bounds: tuple[float, ...], pick: float) -> int:
    return min(bisect_right(bounds, pick), len(bounds) - 1)
