"""A change to try, in words and applied."""

from msgspec import Struct

from tidegate_dataplane.engine.remedies.advice import Advice, Side
from tidegate_dataplane.engine.remedies.whatif import Changed, Situation, put
from tidegate_dataplane.snapshot.entries import ConsumerEntry, PolicyEntry, RouteEntry


class Candidate(Struct, frozen=True):
    """One change: what it says to people, and the situation that it makes."""

    advice: Advice
    situation: Situation


_KINDS: dict[type, str] = {ConsumerEntry: "AIConsumer", PolicyEntry: "AIPolicy", RouteEntry: "AIRoute"}


def by_caller(situation: Situation, text: str) -> Candidate:
    """A change that the caller alone makes."""
    return Candidate(Advice(Side.CALLER, text), situation)


def by_edit(situation: Situation, entry: Changed, text: str, rule: str = "") -> Candidate:
    """A change of one object: `entry` takes the place of the one with its key. `{object}` in the text is its name."""
    name = f"{_KINDS[type(entry)]} {entry.source.key}"
    side = Side.CONSUMER if isinstance(entry, ConsumerEntry) else Side.POLICY
    return Candidate(Advice(side, text.replace("{object}", name), name, rule), put(situation, entry))
