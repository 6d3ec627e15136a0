"""The smallest changes that would let a refused call in, each of them tried out on the very engine. Pure.

Fewer changes come before more, then the caller's own before the consumer's, and those before the policies'.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from tidegate_dataplane.engine.remedies.advice import Advice, Remedy, Side
from tidegate_dataplane.engine.remedies.caller import changes_by_caller, other_routes, other_times
from tidegate_dataplane.engine.remedies.candidate import Candidate
from tidegate_dataplane.engine.remedies.edits import changes_of_consumer, changes_of_policies, without_sections
from tidegate_dataplane.engine.remedies.whatif import Situation, WhatIf
from tidegate_dataplane.engine.risk import UNSEEN, Observed
from tidegate_dataplane.runtime.build import Runtime
from tidegate_dataplane.snapshot.entries import Mode, SignalKind

MAX_REMEDIES: Final = 3
MAX_EVALUATIONS: Final = 600
MAX_CHANGES: Final = 3
_FRONTIER: Final = 12
_PER_WEEK: Final = 200
_SIDES: Final = tuple(Side)


class Found(Struct, frozen=True):
    """A remedy, and the situation in which the call is let in."""

    remedy: Remedy
    situation: Situation


class _Path(Struct, frozen=True):
    situation: Situation
    changes: tuple[Advice, ...]


def find_remedies(
    runtime: Runtime, situation: Situation, evaluations: int = MAX_EVALUATIONS, observed: Observed = UNSEEN
) -> tuple[Found, ...]:
    """At most MAX_REMEDIES, the smallest first; none for a call that is let in, or when nothing that was tried helps.

    `evaluations` bounds the work: about so many decisions are tried, twice (and one to four weeks of times besides).
    """
    whatif = WhatIf(runtime, observed)
    whatif.weeks = 1 + evaluations // _PER_WEEK
    first = whatif.decide(situation)
    if first.denial is None:
        return ()
    # To take away a whole section is no small change, even where it is one: it comes when nothing else helps.
    for blunt in (False, True):
        frontier = [_Path(situation, ())]
        for _ in range(MAX_CHANGES):
            found, frontier = _level(whatif, frontier, evaluations, blunt=blunt)
            if found:
                told = {str(one.remedy): one for one in sorted(found, key=_size, reverse=True)}
                return tuple(sorted(told.values(), key=_size)[:MAX_REMEDIES])
            if not frontier:
                break
        evaluations += whatif.evaluations
    return ()


def _level(whatif: WhatIf, frontier: list[_Path], evaluations: int, *, blunt: bool) -> tuple[list[Found], list[_Path]]:
    """One more change to each path: those that let the call in, and those that only got further."""
    found: list[Found] = []
    further: dict[tuple[object, ...], _Path] = {}
    for path in frontier:
        here = _reason(whatif, path.situation)
        later = _later(whatif, path, here)
        if isinstance(later, Found):
            found.append(later)
        elif later is not None:
            further.setdefault(_reason(whatif, later.situation), later)
        for candidate in _tries(whatif, path.situation, blunt=blunt):
            if whatif.evaluations > evaluations:
                return found, list(further.values())[:_FRONTIER]
            decision = whatif.decide(candidate.situation)
            changes = (*path.changes, candidate.advice)
            if decision.denial is None:
                found.append(Found(Remedy(changes), candidate.situation))
            elif (reason := _reason(whatif, candidate.situation)) != here:
                further.setdefault(reason, _Path(candidate.situation, changes))
    return found, list(further.values())[:_FRONTIER]


def _tries(whatif: WhatIf, situation: Situation, *, blunt: bool) -> Iterator[Candidate]:
    route = whatif.route_of(situation)
    if route is None:
        yield from other_routes(whatif, situation)
        yield from changes_of_consumer(whatif, situation, [])
        return
    policies = [one for one in whatif.policies_of(route, situation) if one.mode is Mode.ENFORCE]
    yield from changes_by_caller(whatif, situation, route, policies)
    yield from changes_of_consumer(whatif, situation, policies)
    yield from changes_of_policies(situation, route, policies)
    if blunt:
        yield from without_sections(situation, policies)


def _later(whatif: WhatIf, path: _Path, here: tuple[object, ...]) -> Found | _Path | None:
    """A time at which the call is let in, or at least gets further, where time matters.

    Counted by the week, for each try costs microseconds.
    """
    if not whatif.weeks or not _looks_at_time(whatif, path.situation):
        return None
    whatif.weeks -= 1
    before = whatif.evaluations
    further: _Path | None = None
    try:
        for candidate in other_times(path.situation):
            reason = _reason(whatif, candidate.situation)
            changes = (*path.changes, candidate.advice)
            if not reason:
                return Found(Remedy(changes), candidate.situation)
            if further is None and reason != here:
                further = _Path(candidate.situation, changes)
        return further
    finally:
        whatif.evaluations = before


def _looks_at_time(whatif: WhatIf, situation: Situation) -> bool:
    route = whatif.route_of(situation)
    policies = [] if route is None else whatif.policies_of(route, situation)
    return any("now" in rule.when for policy in policies for rule in policy.rules or ()) or any(
        "now" in signal.when or signal.kind is SignalKind.UNUSUAL_HOUR
        for policy in policies
        if policy.risk is not None
        for signal in policy.risk.signals
    )


def _reason(whatif: WhatIf, situation: Situation) -> tuple[object, ...]:
    """What refuses: when this is another than before, the call got further."""
    decision = whatif.decide(situation)
    denial, route = decision.denial, decision.route
    if denial is None:
        return ()
    return denial.status, denial.code, denial.rule, denial.message, None if route is None else route.key


def _size(found: Found) -> tuple[int, int]:
    changes = found.remedy.changes
    return len(changes), sum(_SIDES.index(change.side) for change in changes)
