"""Conflicts between consumers: a caller key identifies one consumer, the oldest that has it.

A key in conflict works for its first owner only; the other keys of the younger consumer go on working. Findings show
neither hashes nor, across namespaces, names.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from tidegate_dataplane.snapshot.entries import ConsumerEntry, KeyEntry
from tidegate_operator.compile.problems import Problems
from tidegate_operator.verdicts import Finding, Reason
from tidegate_operator.world import ObjectKey


class KeyClaims:
    """How many keys claim each hash: tells whether there are rivals without looking at every consumer."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._shared = 0

    @property
    def rivals(self) -> bool:
        """Whether any hash is claimed twice."""
        return self._shared > 0

    def replace(self, old: ConsumerEntry | None, new: ConsumerEntry | None) -> None:
        """A consumer came, went, or changed."""
        counts = self._counts
        for digest in _claimed(new):
            count = counts[digest] = counts.get(digest, 0) + 1
            self._shared += count == 2
        for digest in _claimed(old):
            count = counts[digest] = counts[digest] - 1
            self._shared -= count == 1
            if not count:
                del counts[digest]


def _claimed(entry: ConsumerEntry | None) -> Iterator[str]:
    for key in () if entry is None else entry.keys:
        yield from _digests(key)


@dataclass(frozen=True, slots=True)
class SettledConsumers:
    """The form in which each consumer is served, and what is in conflict."""

    entries: Mapping[ObjectKey, ConsumerEntry]
    errors: Mapping[ObjectKey, tuple[Finding, ...]]


def settle_consumers(
    candidates: Mapping[ObjectKey, ConsumerEntry],
    created: Callable[[ObjectKey], int],
    fallback: Callable[[ObjectKey], ConsumerEntry | None],
) -> SettledConsumers:
    """Give each key to its oldest consumer.

    A consumer that loses a key keeps its last good form (`fallback`, hashes filled in) where that has no conflict;
    else it is served with that key switched off.
    """
    owners: dict[str, tuple[ObjectKey, str]] = {}
    entries: dict[ObjectKey, ConsumerEntry] = {}
    errors: dict[ObjectKey, tuple[Finding, ...]] = {}
    for key in sorted(candidates, key=lambda key: (created(key), key.namespace, key.name)):
        entry = candidates[key]
        if lost := _lost(entry, owners):
            errors[key] = _explain(key, entry, lost, owners)
            former = fallback(key)
            entry = former if former is not None and not _lost(former, owners) else _without(entry, lost)
        entries[key] = entry
        owners.update({digest: (key, item.name) for item in entry.keys for digest in _digests(item)})
    return SettledConsumers(entries, errors)


def _digests(key: KeyEntry) -> tuple[str, ...]:
    """The hashes that a key claims: its own, and that of the key it replaced."""
    if key.previous:
        return (key.sha256, key.previous) if key.sha256 else (key.previous,)
    return (key.sha256,) if key.sha256 else ()


def _lost(entry: ConsumerEntry, owners: Mapping[str, tuple[ObjectKey, str]]) -> frozenset[int]:
    """Positions of the keys that belong to an older consumer or stand earlier in this one."""
    lost: set[int] = set()
    own: set[str] = set()
    for position, key in enumerate(entry.keys):
        digests = _digests(key)
        if any(digest in owners or digest in own for digest in digests):
            lost.add(position)
        own.update(digests)
    return frozenset(lost)


def _without(entry: ConsumerEntry, lost: frozenset[int]) -> ConsumerEntry:
    keys = tuple(
        msgspec.structs.replace(key, sha256="", previous="") if position in lost else key
        for position, key in enumerate(entry.keys)
    )
    return msgspec.structs.replace(entry, keys=keys)


def _explain(
    key: ObjectKey, entry: ConsumerEntry, lost: frozenset[int], owners: Mapping[str, tuple[ObjectKey, str]]
) -> tuple[Finding, ...]:
    problems = Problems()
    for position in lost:
        field = f"spec.credentials.apiKeys[{position}]"
        owner = next((owners[digest] for digest in _digests(entry.keys[position]) if digest in owners), None)
        problems.add(field, _message(key, owner), Reason.CONFLICTED)
    return problems.found()


def _message(key: ObjectKey, owner: tuple[ObjectKey, str] | None) -> str:
    advice = "it does not work here: generate a new key"
    if owner is None:
        return f"is the same key as another one of this consumer; {advice}, or remove it"
    if owner[0].namespace == key.namespace:
        return f"is the same key as {owner[1]} of AIConsumer {owner[0].namespace}/{owner[0].name}; {advice}"
    return f"is already in use by an older consumer; {advice}"
