"""The wish to hold back what is declared: roll back to a revision, or freeze. Read from a ConfigMap. Pure.

    data:
      rollback: |
        revision: 41
        reason: the new guard refuses everybody
      freeze: |
        reason: Black Friday
        until: 2026-11-28T00:00:00Z

Each part is judged by itself: what is wrong is told and changes nothing.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec
import yaml

from tidegate_operator.compile.timestamps import parse_timestamp

ROLLBACK_KEY = "rollback"
FREEZE_KEY = "freeze"
MAX_BYTES = 4096
MAX_TEXT = 500


@dataclass(frozen=True, slots=True)
class Rollback:
    """Publish the content of `revision` until Git agrees. `id` tells one wish from another for the same revision."""

    revision: int
    reason: str = ""
    by: str = ""
    at: str = ""

    @property
    def id(self) -> str:
        text = msgspec.json.encode([self.revision, self.reason, self.by, self.at])
        return hashlib.sha256(text).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Freeze:
    """Publish nothing new, until `until` (seconds since the epoch; None: until it is taken away)."""

    reason: str = ""
    by: str = ""
    at: str = ""
    until: int | None = None

    def holds(self, now: float) -> bool:
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class Hold:
    """What is wished. `faults` say what could not be read."""

    rollback: Rollback | None = None
    freeze: Freeze | None = None
    faults: tuple[str, ...] = ()


NO_HOLD = Hold()


def hold_name(gateway: str) -> str:
    """Name of the ConfigMap."""
    return f"tidegate-{gateway}-hold"


def read_hold(data: Mapping[str, str] | None, former: Hold = NO_HOLD) -> Hold:
    """Read the ConfigMap's data (None: there is none). A part that is wrong stays as it was in `former`."""
    found = Hold()
    if data is None:
        return found
    faults = [f"key {key!r} is not known: it is rollback or freeze" for key in sorted(set(data) - _KEYS)]
    if (text := data.get(ROLLBACK_KEY, "").strip()) != "":
        try:
            found = replace(found, rollback=_rollback(_fields(text, _ROLLBACK_FIELDS)))
        except ValueError as error:
            faults.append(f"rollback: {error}")
            found = replace(found, rollback=former.rollback)
    if (text := data.get(FREEZE_KEY, "").strip()) != "":
        try:
            found = replace(found, freeze=_freeze(_fields(text, _FREEZE_FIELDS)))
        except ValueError as error:
            faults.append(f"freeze: {error}")
            found = replace(found, freeze=former.freeze)
    return replace(found, faults=tuple(faults))


def written(values: Mapping[str, object]) -> str:
    """A part as it stands in the ConfigMap; empty values are left out."""
    named = {name: value for name, value in values.items() if value not in ("", None)}
    return yaml.safe_dump(named, sort_keys=False, allow_unicode=True)


_KEYS = {ROLLBACK_KEY, FREEZE_KEY}
_ROLLBACK_FIELDS = frozenset({"revision", "reason", "by", "at"})
_FREEZE_FIELDS = frozenset({"reason", "by", "at", "until"})


def _fields(text: str, allowed: frozenset[str]) -> dict[str, str]:
    if len(text.encode()) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    try:
        # Every scalar as the author wrote it: no number, date or boolean is made of a reason.
        found = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - BaseLoader makes strings, lists and maps only
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError("it is not YAML") from error
    if not isinstance(found, dict):
        raise ValueError("it must be a mapping, such as 'reason: Black Friday'")
    for name, value in found.items():
        if name not in allowed:
            raise ValueError(f"field {name!r} is not known: there are {', '.join(sorted(allowed))}")
        if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
            raise ValueError(f"{name} must be one line of text, at most {MAX_TEXT} characters")
    return dict(found)


def _rollback(fields: Mapping[str, str]) -> Rollback:
    revision = fields.get("revision", "")
    if not revision.isdecimal() or not 0 < len(revision) <= 18 or int(revision) == 0:
        raise ValueError("revision must be the number of a kept revision, see `tidegate revisions`")
    return Rollback(int(revision), fields.get("reason", ""), fields.get("by", ""), fields.get("at", ""))


def _freeze(fields: Mapping[str, str]) -> Freeze:
    until = fields.get("until", "")
    try:
        end = parse_timestamp(until) if until else None
    except ValueError as error:
        raise ValueError(f"until: {error}") from None
    return Freeze(fields.get("reason", ""), fields.get("by", ""), fields.get("at", ""), end)
