"""In which order the targets of a route are tried."""

from bisect import bisect_right

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


def _first(bounds: tuple[float, ...], pick: float) -> int:
    return min(bisect_right(bounds, pick), len(bounds) - 1)
