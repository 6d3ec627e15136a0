"""What would let a refused call in, in words and by object."""

from enum import StrEnum

from msgspec import Struct


class Side(StrEnum):
    """Who has to change something. Nearer to the caller is smaller: it concerns nobody else."""

    CALLER = "Caller"
    CONSUMER = "Consumer"
    POLICY = "Policy"


class Advice(Struct, frozen=True):
    """One change. `object` is `AIPolicy team-a/chat`, "" where the caller alone acts; `rule` is what of it changes."""

    side: Side
    text: str
    object: str = ""
    rule: str = ""


class Remedy(Struct, frozen=True):
    """Changes that together let the call in; most often it is one."""

    changes: tuple[Advice, ...]

    def __str__(self) -> str:
        return ", and ".join(change.text for change in self.changes)
