"""What to publish in place of what was compiled, and what to say of the objects that wait. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tidegate_operator.compile.compiled import Compiled
from tidegate_operator.compile.secret_values import Secrets
from tidegate_operator.compile.timestamps import format_timestamp
from tidegate_operator.conditions import Held, ProgrammedReason
from tidegate_operator.release.changes import differing
from tidegate_operator.release.content import Content, compiled_content, same_words
from tidegate_operator.release.credentials import credentials_of
from tidegate_operator.release.history import Why
from tidegate_operator.release.hold import Freeze, Rollback
from tidegate_operator.release.stage import NO_STAGE, Stage
from tidegate_operator.world import ObjectKey


@dataclass(frozen=True, slots=True)
class Staged:
    """A content that some data planes try, by their instances. `trial` is the number of the trial, 0 for a new one."""

    content: Content
    planes: tuple[str, ...]
    trial: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to publish: `compiled` is the compilation, with another content where it is held back.

    `held` says of each object that differs why. `staged` is what some data planes try beside it, `stage` what is said
    where nothing is tried. `why`, `of`, `reason`, `by` and `hold` are for the record.
    """

    compiled: Compiled
    content: Content
    held: Mapping[ObjectKey, Held] = field(default_factory=dict)
    why: Why = Why.CHANGE
    of: int = 0
    reason: str = ""
    by: str = ""
    hold: str = ""
    staged: Staged | None = None
    stage: Stage = NO_STAGE


def as_compiled(compiled: Compiled) -> Plan:
    """Publish what was compiled."""
    return Plan(compiled, compiled_content(compiled))


def rolled_back(compiled: Compiled, content: Content, wish: Rollback, secrets: Secrets) -> Plan:
    """Publish an old content in its place."""
    held = waiting(compiled, content, Held(ProgrammedReason.PINNED_TO_REVISION, rollback_message(wish)))
    plan = held_back(compiled, content, held, secrets)
    return replace(plan, why=Why.ROLLBACK, of=wish.revision, reason=wish.reason, by=wish.by, hold=wish.id)


def frozen(compiled: Compiled, content: Content, wish: Freeze, secrets: Secrets) -> Plan:
    """Publish what is published already, as far as the present still allows it."""
    held = waiting(compiled, content, Held(ProgrammedReason.FROZEN, freeze_message(wish)))
    plan = held_back(compiled, content, held, secrets)
    return replace(plan, why=Why.CLOSING, reason=wish.reason, by=wish.by)


def held_back(compiled: Compiled, content: Content, held: Mapping[ObjectKey, Held], secrets: Secrets) -> Plan:
    """Publish `content`, and say `held` of the objects that wait."""
    served = content.served.entries
    verdicts = dict(compiled.verdicts)
    for key in held:
        entry = served.get(key)
        generation = None if entry is None else entry.source.generation
        if (verdict := verdicts.get(key)) is not None and verdict.served_generation != generation:
            verdicts[key] = replace(verdict, served_generation=generation)
    changed = replace(
        compiled,
        shards=content.shards,
        served=content.served,
        verdicts=verdicts,
        credentials=credentials_of(content.served, secrets),
    )
    return Plan(changed, content, held)


def waiting(compiled: Compiled, content: Content, held: Held) -> dict[ObjectKey, Held]:
    """`held` of each declared object of which `content` says something else than was compiled."""
    wanted, there = compiled.served.entries, content.served.entries
    return {
        key: held
        for key in differing(content.served, compiled.served)
        if key in compiled.verdicts and not same_words(wanted.get(key), there.get(key))
    }


def rollback_message(wish: Rollback) -> str:
    """What objects say that are not in force because of a rollback."""
    return (
        f"Rolled back to revision {wish.revision}{_by(wish.by, wish.reason)}. What is declared here waits until Git "
        f"agrees with revision {wish.revision}, or until `tidegate rollback --release`."
    )


def freeze_message(wish: Freeze) -> str:
    """What objects say that are not in force because of a freeze."""
    until = f" until {format_timestamp(wish.until)}" if wish.until is not None else ""
    return (
        f"Frozen{until}{_by(wish.by, wish.reason)}. What is declared here waits; `tidegate unfreeze` lets it through."
    )


def _by(by: str, reason: str) -> str:
    who = f" by {by}" if by else ""
    return f"{who}: {reason}" if reason else who
