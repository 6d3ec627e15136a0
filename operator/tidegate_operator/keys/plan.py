"""Which generated keys are due to be made, replaced or dropped. Pure; the clock comes in, randomness stays out.

All that is known of a key stands in its Secret (`compile.issued`), so the plan of a restarted operator, or of another
one, is the same. Times are seconds since the epoch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from tidegate_dataplane.snapshot.entries import ConsumerEntry, KeyEntry, Source
from tidegate_operator.compile.issued import IssuedKey, names_of, read_issued
from tidegate_operator.compile.timestamps import format_timestamp
from tidegate_operator.world import ConsumerKey, SecretKey

Secrets = Mapping[SecretKey, Mapping[str, bytes]]

# Clocks of machines differ by so much; a key from further in the future was dated by a clock that is wrong.
TOLERANCE_SECONDS = 300


class Step(StrEnum):
    """What is due for a key."""

    CREATE = "create"
    ROTATE = "rotate"
    DROP_PREVIOUS = "drop-previous"


class Place(NamedTuple):
    """Where a generated key is kept."""

    secret: SecretKey
    name: str

    def __str__(self) -> str:
        return f"key {self.name} of Secret {self.secret.namespace}/{self.secret.name}"


@dataclass(frozen=True, slots=True)
class Action:
    """A step that is due for a key of the consumer that `source` says."""

    step: Step
    key: ConsumerKey
    place: Place
    entry: KeyEntry
    source: Source


@dataclass(frozen=True, slots=True)
class Plan:
    """What is due now, when something will be due next (None: never), and what must wait for somebody, and why."""

    actions: tuple[Action, ...] = ()
    next_due: float | None = None
    faults: Mapping[ConsumerKey, str] = field(default_factory=dict)


class Due(NamedTuple):
    """The next step of one key, and from when on; `fault` says why there is none."""

    step: Step | None = None
    at: float = 0
    fault: str = ""


def make_plan(consumers: Iterable[ConsumerEntry], secrets: Secrets, now: float) -> Plan:
    """What is due for the keys of consumers in force.

    A place in a Secret belongs to the oldest consumer that names it; for others nothing is done.
    """
    actions: list[Action] = []
    faults: dict[ConsumerKey, str] = {}
    moments: list[float] = []
    taken: dict[Place, ConsumerKey] = {}
    for consumer in sorted(consumers, key=_age):
        for entry in consumer.keys:
            if entry.generate is None or entry.secret is None:
                continue
            key = ConsumerKey(consumer.source.namespace, consumer.source.name, entry.name)
            place = Place(SecretKey(key.namespace, entry.secret.name), entry.secret.key)
            owner = taken.get(place) or _take(place, key, taken)
            if owner is not None:
                faults[key] = f"{place} is generated for {owner} already: name another key, or another Secret"
                continue
            due = next_step(entry, read_issued(secrets.get(place.secret, {}), place.name), now)
            if due.fault:
                faults[key] = f"{place} {due.fault}"
            if due.step is not None and due.at <= now:
                actions.append(Action(due.step, key, place, entry, consumer.source))
            elif due.step is not None:
                moments.append(due.at)
    return Plan(tuple(actions), min(moments, default=None), faults)


def next_step(entry: KeyEntry, issued: IssuedKey, now: float) -> Due:
    """What comes next for one key. A clock that is set back puts everything off, and never brings anything forward."""
    generate = entry.generate
    if generate is None or issued.fault is not None or entry.revoked:
        return Due()
    if entry.not_after is not None and entry.not_after <= now:
        return Due()
    if issued.current is None:
        return Due(Step.CREATE)
    if issued.issued_at is None:
        return Due()
    if issued.issued_at > now + TOLERANCE_SECONDS:
        return Due(fault=_FUTURE.format(moment=format_timestamp(issued.issued_at)))
    steps = []
    if generate.rotate_ms:
        steps.append(Due(Step.ROTATE, issued.issued_at + generate.rotate_ms / 1000))
    if issued.previous is not None:
        steps.append(Due(Step.DROP_PREVIOUS, issued.issued_at + generate.overlap_ms / 1000))
    return min(steps, key=lambda due: due.at, default=Due())


_FUTURE = (
    "was made at {moment}, which is still to come, so nothing is replaced: correct the operator's clock, or that time "
    "in the Secret"
)


def data_after(action: Action, issued: IssuedKey, new_key: str, now: float) -> dict[str, bytes | None]:
    """What the step changes in the Secret's data; None removes."""
    current, previous, issued_at = names_of(action.place.name)
    generate = action.entry.generate
    if action.step is Step.DROP_PREVIOUS:
        return {previous: None}
    overlaps = action.step is Step.ROTATE and generate is not None and generate.overlap_ms > 0
    return {
        current: new_key.encode(),
        previous: issued.current if overlaps else None,
        issued_at: format_timestamp(int(now)).encode(),
    }


def _age(consumer: ConsumerEntry) -> tuple[int, str, str]:
    return consumer.source.created, consumer.source.namespace, consumer.source.name


def _take(place: Place, key: ConsumerKey, taken: dict[Place, ConsumerKey]) -> ConsumerKey | None:
    """Take all three names of a place; returns who has one of them already."""
    names = [Place(place.secret, name) for name in names_of(place.name)]
    owner = next((taken[name] for name in names if name in taken), None)
    if owner is None:
        taken.update(dict.fromkeys(names, key))
    return owner
