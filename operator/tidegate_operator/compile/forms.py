"""Which form of every object takes effect here: its present one, its last good one, or none."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tidegate_dataplane.snapshot.entries import (
    ApprovalEntry,
    BackendEntry,
    ConsumerEntry,
    PolicyEntry,
    QuotaEntry,
    RouteEntry,
    SubscriptionEntry,
    TargetRef,
)
from tidegate_operator.compile.accept import Judged
from tidegate_operator.compile.compiled import AnyEntry, Served
from tidegate_operator.compile.place import is_placed
from tidegate_operator.compile.resolve import Absence
from tidegate_operator.world import Facts, Kind, ObjectKey, World


class Past:
    """What the World and the snapshot in force say of an object's former form and age."""

    def __init__(self, world: World, facts: Facts, previous: Served) -> None:
        self._resources = world.resources
        self._cluster = facts.cluster
        self._entries = previous.entries

    def last_good(self, key: ObjectKey) -> AnyEntry | None:
        """The form in force of this very object; a recreated object (another uid) has none."""
        entry = self._entries.get(key)
        return entry if entry is not None and entry.source.uid == self._resources[key].uid else None

    def fallback(self, key: ObjectKey) -> AnyEntry | None:
        """The last good form, where it takes effect in this cluster and is of another generation than the present."""
        entry = self.last_good(key)
        if entry is None or entry.source.generation == self._resources[key].generation:
            return None
        return entry if self.placed(entry) else None

    def placed(self, entry: AnyEntry) -> bool:
        """Whether the entry takes effect in this cluster."""
        return is_placed(entry.placement, self._cluster)

    def created(self, key: ObjectKey) -> int:
        """Seconds since the epoch at which the object was created."""
        return self._resources[key].created


@dataclass(slots=True)
class Forms:
    """The content in force of every object that takes effect here, and what is known of those that do not.

    `gaps` are policies and quotas that were never valid, with what they seem to be attached to. `unplaced` are the
    objects that are not meant for this cluster.
    """

    backends: dict[ObjectKey, BackendEntry] = field(default_factory=dict)
    routes: dict[ObjectKey, RouteEntry] = field(default_factory=dict)
    policies: dict[ObjectKey, PolicyEntry] = field(default_factory=dict)
    quotas: dict[ObjectKey, QuotaEntry] = field(default_factory=dict)
    consumers: dict[ObjectKey, ConsumerEntry] = field(default_factory=dict)
    subscriptions: dict[ObjectKey, SubscriptionEntry] = field(default_factory=dict)
    approvals: dict[ObjectKey, ApprovalEntry] = field(default_factory=dict)
    gaps: dict[ObjectKey, tuple[TargetRef, ...]] = field(default_factory=dict)
    absent_backends: dict[ObjectKey, Absence] = field(default_factory=dict)
    unplaced: set[ObjectKey] = field(default_factory=set)


def choose_forms(judged: Mapping[ObjectKey, Judged], past: Past) -> Forms:
    """Sort every judged object into the forms in force."""
    forms = Forms()
    # The kind of a key says the type of its entry; a table is faster than five isinstance() for each object.
    take: dict[Kind, Callable[[ObjectKey, Any], None]] = {
        Kind.BACKEND: forms.backends.__setitem__,
        Kind.ROUTE: forms.routes.__setitem__,
        Kind.POLICY: forms.policies.__setitem__,
        Kind.QUOTA: forms.quotas.__setitem__,
        Kind.CONSUMER: forms.consumers.__setitem__,
        Kind.SUBSCRIPTION: forms.subscriptions.__setitem__,
        Kind.APPROVAL: forms.approvals.__setitem__,
    }
    for key, verdict in judged.items():
        if verdict.content is not None and verdict.placed:
            take[key.kind](key, verdict.content)
            continue
        former = past.last_good(key) if verdict.content is None else None
        if verdict.revoked and isinstance(former, ApprovalEntry) and not former.revoked:
            # Revoking works together with any mistake.
            former = msgspec.structs.replace(former, revoked=True)
        if former is not None and past.placed(former):
            take[key.kind](key, former)
        elif former is not None or not verdict.placed:
            _leave_out(forms, key)
        elif key.kind is Kind.BACKEND:
            forms.absent_backends[key] = Absence.INVALID
        elif verdict.refs:
            forms.gaps[key] = verdict.refs
    return forms


def _leave_out(forms: Forms, key: ObjectKey) -> None:
    forms.unplaced.add(key)
    if key.kind is Kind.BACKEND:
        forms.absent_backends[key] = Absence.UNPLACED
