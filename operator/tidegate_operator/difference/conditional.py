"""Changed rules that decide by what no manifest tells: the time, and what callers send."""

from collections.abc import Iterator

from tidegate_dataplane.snapshot.entries import PolicyEntry
from tidegate_operator.difference.effect import Conditional
from tidegate_operator.difference.profile import depends_on
from tidegate_operator.difference.sides import Side, Sides


def conditional_changes(sides: Sides) -> tuple[Conditional, ...]:
    """Rules, signals and network sections that differ and look at the time, headers, addresses or tokens."""
    old, new = (dict(_rules(side)) for side in (sides.old, sides.new))
    found: list[Conditional] = []
    for name in sorted({*old, *new}):
        before, after = old.get(name, ""), new.get(name, "")
        if before != after:
            reads = _reads(before, after)
            if reads:
                found.append(Conditional(*name, reads, before, after))
    return tuple(found)


def _reads(before: str, after: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(read for text in (before, after) if text for read in depends_on(text)))


def _rules(side: Side) -> Iterator[tuple[tuple[str, str], str]]:
    for key, entry in side.compiled.served.entries.items():
        if isinstance(entry, PolicyEntry):
            for rule in entry.rules or ():
                if rule.when:
                    yield (str(key), f"rule {rule.name}"), rule.when
            for signal in entry.risk.signals if entry.risk is not None else ():
                if signal.when:
                    yield (str(key), f"risk signal {signal.name}"), signal.when
