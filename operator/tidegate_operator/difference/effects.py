"""The effect of a change in one cluster, put together."""

from tidegate_operator.difference.access import Progress, access_changes
from tidegate_operator.difference.conditional import conditional_changes
from tidegate_operator.difference.effect import Effect, Refusal, Replay
from tidegate_operator.difference.grouping import access_groups, limit_groups, move_groups
from tidegate_operator.difference.naming import Naming
from tidegate_operator.difference.objects import object_changes
from tidegate_operator.difference.refused import accepted_again, refusals
from tidegate_operator.difference.sides import Sides


def effect_of(
    sides: Sides,
    *,
    cluster: str,
    now: float,
    address: str | None = None,
    unreadable: tuple[Refusal, ...] = (),
    replay: Replay | None = None,
    progress: Progress | None = None,
) -> Effect:
    """Everything that changes. `unreadable` are files of NEW that nothing was read from."""
    found = access_changes(sides, now=now, address=address, progress=progress)
    naming = Naming((*sides.old.runtime.consumers, *sides.new.runtime.consumers))
    return Effect(
        cluster=cluster,
        access=access_groups(found.changes, sides, naming),
        limits=limit_groups(found.changes, naming),
        moves=move_groups(found.moves, sides),
        objects=object_changes(sides),
        refused=(*unreadable, *refusals(sides)),
        accepted=accepted_again(sides),
        conditional=conditional_changes(sides),
        tried=found.tried,
        replay=replay,
    )
