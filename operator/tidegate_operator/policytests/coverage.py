"""Which rules, gates, networks and limits no test touched. Pure: read from the steps that explanations hold.

Nothing here knows which stages there are: what can be touched is read from the entries of the snapshot, and what was
touched from the steps that the engine took.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

from msgspec import Struct

from tidegate_dataplane.engine.decision import Verdict
from tidegate_dataplane.runtime import Runtime
from tidegate_dataplane.snapshot.entries import PolicyEntry, QuotaEntry, RouteEntry
from tidegate_operator.inquiry.provenance import Provenance
from tidegate_operator.policytests.running import Result
from tidegate_operator.policytests.sections import sections_of

_DECIDED: Final = frozenset({Verdict.ACCEPTED, Verdict.DENIED, Verdict.LEFT_OUT})


class Touch(StrEnum):
    """How much of an item the tests have seen."""

    DECIDED = "Decided"
    EVALUATED = "Evaluated"
    NEVER = "Never"


class Item(Struct, frozen=True):
    """A rule (or section, limit, route) of an object, and where it stands."""

    object: str
    rule: str
    place: str
    touch: Touch

    def __str__(self) -> str:
        what = f"{self.object} {self.rule}".rstrip()
        state = "never matched" if self.touch is Touch.EVALUATED else "never evaluated"
        return f"{self.place}: {what}: {state}" if self.place else f"{what}: {state}"


class Coverage(Struct, frozen=True):
    """All items of the worlds under test, sorted by where they stand."""

    items: tuple[Item, ...]

    @property
    def untouched(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.touch is not Touch.DECIDED)

    @property
    def percent(self) -> float:
        return 100.0 if not self.items else 100 * (len(self.items) - len(self.untouched)) / len(self.items)


def coverage(worlds: Iterable[tuple[Runtime, Provenance, Iterable[Result]]]) -> Coverage:
    """What the results of each world touched; an item that several worlds share counts once."""
    known: dict[tuple[str, str, str], Touch] = {}
    for runtime, provenance, results in worlds:
        decided, evaluated = _touched(results)
        for object, rule in _items(runtime):
            touch = Touch.DECIDED if (object, rule) in decided else Touch.NEVER
            if touch is Touch.NEVER and (object, rule) in evaluated:
                touch = Touch.EVALUATED
            key = (object, rule, provenance.text(object, rule))
            known[key] = min(known.get(key, touch), touch, key=list(Touch).index)
    items = [Item(object, rule, place, touch) for (object, rule, place), touch in known.items()]
    return Coverage(tuple(sorted(items, key=_order)))


def _order(item: Item) -> tuple[str, int, str, str]:
    file, _, line = item.place.rpartition(":")
    return file, int(line or 0), item.object, item.rule


def _items(runtime: Runtime) -> Iterator[tuple[str, str]]:
    for shard in runtime.shards.values():
        for policy in shard.policies:
            yield from _of_policy(policy)
        for quota in shard.quotas:
            yield from _of_quota(quota)
        for route in shard.routes:
            yield _name("AIRoute", route), ""


def _of_policy(policy: PolicyEntry) -> Iterator[tuple[str, str]]:
    name = _name("AIPolicy", policy)
    for section, value in sections_of(policy):
        parts = [part.name for part in value] if isinstance(value, tuple) else [section]
        for part in parts:
            yield name, part


def _of_quota(quota: QuotaEntry) -> Iterator[tuple[str, str]]:
    for limit in quota.limits:
        yield _name("Quota", quota), limit.unit


def _name(kind: str, entry: PolicyEntry | QuotaEntry | RouteEntry) -> str:
    return f"{kind} {entry.source.key}"


def _touched(results: Iterable[Result]) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """What decided, and what was at least looked at. A limit decides when it counts a call that is let in."""
    decided: set[tuple[str, str]] = set()
    evaluated: set[tuple[str, str]] = set()
    for result in results:
        if result.explanation is None:
            continue
        for step in result.explanation.steps:
            touched = decided if step.verdict in _DECIDED else evaluated
            touched |= {(step.object, step.rule), (step.object, step.stage)}
            if step.object.startswith("AIRoute"):
                touched.add((step.object, ""))
        decided |= {(limit.object, limit.name) for limit in result.explanation.limits}
    return decided, evaluated
