"""Since which revision each object's served generation is published. Pure bookkeeping, no I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tidegate_operator.verdicts import Verdict
from tidegate_operator.world import ObjectKey


@dataclass(frozen=True, slots=True)
class _Since:
    uid: str
    generation: int
    revision: int


class Rollout:
    """The first revision with each object's served generation."""

    def __init__(self) -> None:
        self._since: dict[ObjectKey, _Since] = {}

    def first_revision(self, key: ObjectKey) -> int | None:
        """None when nothing of the object is published."""
        since = self._since.get(key)
        return since.revision if since else None

    def published(
        self,
        verdicts: Iterable[Verdict],
        uids: Mapping[ObjectKey, str],
        revision: int,
        *,
        earlier: Mapping[ObjectKey, int],
    ) -> set[ObjectKey]:
        """Take the verdicts that `revision` was published with; returns the objects whose first revision changed.

        `earlier` tells, for objects that are new to this bookkeeping, a lower revision that had them already.
        """
        changed = set()
        fresh: dict[ObjectKey, _Since] = {}
        for verdict in verdicts:
            if verdict.served_generation is None or not verdict.placed:
                continue
            key, uid = verdict.key, uids.get(verdict.key, "")
            old = self._since.get(key)
            if old is not None and old.uid == uid and old.generation == verdict.served_generation:
                fresh[key] = old
                continue
            first = revision if old is not None else min(revision, earlier.get(key, revision))
            fresh[key] = _Since(uid, verdict.served_generation, first)
            changed.add(key)
        self._since = fresh
        return changed

    def after(self, revision: int) -> list[ObjectKey]:
        """Objects that a data plane at `revision` does not have yet."""
        return [key for key, since in self._since.items() if since.revision > revision]
